//! What the server offers in its reply to EHLO or LHLO.

/// The extensions that the server offers (RFC 5321 section 4.1.1.1), as far as this crate knows
/// them.
///
/// After HELO there are none. After STARTTLS they are learned anew (RFC 3207 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// The number of bytes that SIZE names. `None`: there is no fixed limit.
    pub max_size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// CHUNKING (RFC 3030): BDAT.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// AUTH (RFC 4954), with those mechanisms that this crate knows.
    pub auth: Mechanisms,
    /// LIMITS (RFC 9422).
    pub limits: Limits,
}

/// Mechanisms of AUTH that this crate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Mechanisms {
    /// SCRAM-SHA-256 (RFC 7677): the password is not sent, and the server has to know it too.
    pub scram_sha_256: bool,
    /// PLAIN (RFC 4616).
    pub plain: bool,
    /// LOGIN, which has no RFC.
    pub login: bool,
}

/// What LIMITS says (RFC 9422). `None`: it says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Limits {
    /// MAILMAX: messages on one connection.
    pub mail: Option<u32>,
    /// RCPTMAX: recipients of one message.
    pub rcpt: Option<u32>,
    /// RCPTDOMAINMAX: domains of the recipients of one message.
    pub rcpt_domains: Option<u32>,
}

/// An extension, where an error names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// STARTTLS.
    StartTls,
    /// SMTPUTF8.
    SmtpUtf8,
    /// CHUNKING.
    Chunking,
    /// BINARYMIME.
    BinaryMime,
    /// REQUIRETLS.
    RequireTls,
    /// AUTH, with a mechanism that can be used.
    Auth,
}

impl Extensions {
    /// Takes one line of the reply. The first, which names the server, is not for here.
    pub(crate) fn learn(&mut self, line: &[u8]) {
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { return };
        let is = |name: &str| keyword.eq_ignore_ascii_case(name.as_bytes());
        // "AUTH=LOGIN" is how servers spoke before RFC 2554, and some still say it beside "AUTH
        // LOGIN".
        let old_auth = keyword
            .split_at_checked(5)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"AUTH="));
        if is("SIZE") {
            self.size = true;
            // RFC 1870 section 4: zero is no limit either.
            self.max_size = words.next().and_then(number).filter(|size| *size > 0);
        } else if is("AUTH") {
            words.for_each(|word| self.auth.learn(word));
        } else if let Some((_, first)) = old_auth {
            self.auth.learn(first);
            words.for_each(|word| self.auth.learn(word));
        } else if is("LIMITS") {
            words.for_each(|word| self.limits.learn(word));
        } else {
            self.learn_keyword(is);
        }
    }

    /// Those that have no parameter that matters.
    fn learn_keyword(&mut self, is: impl Fn(&str) -> bool) {
        for (name, offered) in [
            ("PIPELINING", &mut self.pipelining),
            ("8BITMIME", &mut self.eight_bit_mime),
            ("SMTPUTF8", &mut self.smtp_utf8),
            ("CHUNKING", &mut self.chunking),
            ("BINARYMIME", &mut self.binary_mime),
            ("DSN", &mut self.dsn),
            ("STARTTLS", &mut self.start_tls),
            ("REQUIRETLS", &mut self.require_tls),
            ("ENHANCEDSTATUSCODES", &mut self.enhanced_status_codes),
        ] {
            *offered |= is(name);
        }
    }
}

impl Mechanisms {
    fn learn(&mut self, word: &[u8]) {
        self.scram_sha_256 |= word.eq_ignore_ascii_case(b"SCRAM-SHA-256");
        self.plain |= word.eq_ignore_ascii_case(b"PLAIN");
        self.login |= word.eq_ignore_ascii_case(b"LOGIN");
    }
}

impl Limits {
    fn learn(&mut self, word: &[u8]) {
        let mut parts = word.splitn(2, |byte| *byte == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next().and_then(number)) else {
            return;
        };
        // RFC 9422 section 3: values have at most six digits and are not zero.
        let Some(value) = u32::try_from(value).ok().filter(|value| *value > 0) else {
            return;
        };
        for (limit, place) in [
            ("MAILMAX", &mut self.mail),
            ("RCPTMAX", &mut self.rcpt),
            ("RCPTDOMAINMAX", &mut self.rcpt_domains),
        ] {
            if name.eq_ignore_ascii_case(limit.as_bytes()) {
                *place = Some(value);
            }
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(lines: &[&str]) -> Extensions {
        let mut extensions = Extensions::default();
        lines
            .iter()
            .for_each(|line| extensions.learn(line.as_bytes()));
        extensions
    }

    #[test]
    fn keywords_are_known_in_any_case_and_only_whole() {
        let all = learned(&[
            "pipelining",
            "Size 1000",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "BINARYMIME",
            "DSN",
            "STARTTLS",
            "REQUIRETLS",
            "ENHANCEDSTATUSCODES",
            "AUTH  SCRAM-SHA-256 plain CRAM-MD5",
            "LIMITS RCPTMAX=20 mailmax=5 RCPTDOMAINMAX=1 OTHER=9",
        ]);
        let expected = Extensions {
            pipelining: true,
            size: true,
            max_size: Some(1000),
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            binary_mime: true,
            dsn: true,
            start_tls: true,
            require_tls: true,
            enhanced_status_codes: true,
            auth: Mechanisms {
                scram_sha_256: true,
                plain: true,
                login: false,
            },
            limits: Limits {
                mail: Some(5),
                rcpt: Some(20),
                rcpt_domains: Some(1),
            },
        };
        assert_eq!(all, expected);
        let none = learned(&["PIPELININGX", "XSIZE", "", " ", "AUTHPLAIN", "8BITMIME2"]);
        assert_eq!(none, Extensions::default());
    }

    #[test]
    fn values_that_are_none_are_no_limit() {
        for line in [
            "SIZE",
            "SIZE 0",
            "SIZE x",
            "SIZE -1",
            "SIZE 99999999999999999999999",
        ] {
            let extensions = learned(&[line]);
            assert_eq!(
                (extensions.size, extensions.max_size),
                (true, None),
                "{line}"
            );
        }
        for line in [
            "LIMITS RCPTMAX",
            "LIMITS RCPTMAX=",
            "LIMITS RCPTMAX=0",
            "LIMITS RCPTMAX=+1",
        ] {
            assert_eq!(learned(&[line]), Extensions::default(), "{line}");
        }
    }

    #[test]
    fn the_old_form_of_auth_is_known() {
        let auth = learned(&["AUTH=LOGIN PLAIN"]).auth;
        assert_eq!((auth.login, auth.plain), (true, true));
    }
}
