//! OAUTHBEARER (RFC 7628) and XOAUTH2, its forerunner: a token in place of a password.
//!
//! A token that is refused is answered with a challenge in JSON, which the client answers in turn
//! (with `^A`, or with an empty line) before it hears that the login failed.

use std::fmt;

use zeroize::Zeroizing;

use super::{Fault, decode_saslname};

/// Tokens of large providers have up to 4 KiB.
const MAX_TOKEN: usize = 8 * 1024;
/// What stands between the parts of a message.
const SEPARATOR: char = '\u{1}';

/// What a client says: its token, and perhaps who it wants to be.
pub struct Bearer {
    user: Option<String>,
    token: Zeroizing<String>,
}

impl Bearer {
    /// Reads the message of OAUTHBEARER:
    ///
    /// ```text
    /// n,a=ann@example.com,^Ahost=mail.example.com^Aport=587^Aauth=Bearer TOKEN^A^A
    /// ```
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_oauthbearer(message: &[u8]) -> Result<Self, Fault> {
        let message = str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (header, pairs) = message.split_once(SEPARATOR).ok_or(Fault::Malformed)?;
        // `y` says that the client could bind and we could not, which is true of this mechanism.
        let header = header.strip_prefix("n,").or(header.strip_prefix("y,"));
        let user = header
            .and_then(|header| header.strip_suffix(','))
            .ok_or(Fault::Malformed)?;
        let user = match user.strip_prefix("a=") {
            Some(user) if !user.contains(',') => Some(decode_saslname(user)?),
            None if user.is_empty() => None,
            _ => return Err(Fault::Malformed),
        };
        Self::new(user, pairs, "auth=")
    }

    /// Reads the message of XOAUTH2:
    ///
    /// ```text
    /// user=ann@example.com^Aauth=Bearer TOKEN^A^A
    /// ```
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_xoauth2(message: &[u8]) -> Result<Self, Fault> {
        let message = str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (user, pairs) = message
            .strip_prefix("user=")
            .and_then(|message| message.split_once(SEPARATOR))
            .ok_or(Fault::Malformed)?;
        Self::new(Some(user.to_owned()), pairs, "auth=")
    }

    fn new(user: Option<String>, pairs: &str, key: &str) -> Result<Self, Fault> {
        // `*kvpair kvsep`, where each pair ends with a separator: two of them are the end.
        let pairs = pairs
            .strip_suffix("\u{1}\u{1}")
            .ok_or(Fault::Malformed)?
            .split(SEPARATOR);
        let mut values = pairs.filter_map(|pair| pair.strip_prefix(key));
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Fault::Malformed);
        };
        let user = user.filter(|user| !user.is_empty());
        if user.as_ref().is_some_and(|user| user.contains('\0')) {
            return Err(Fault::Malformed);
        }
        // RFC 7628 section 4.3: without a value the client asks what it needs to get a token.
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            None if value.is_empty() => "",
            _ => return Err(Fault::Malformed),
        };
        if !is_token(token) {
            return Err(Fault::Malformed);
        }
        Ok(Self {
            user,
            token: Zeroizing::new(token.to_owned()),
        })
    }

    /// Whom the client wants to be. `None`: whoever the token names.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The token. Empty where the client only asks what it would need.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Bearer {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// `b64token` (RFC 6750 section 2.1), or nothing.
fn is_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    token.len() <= MAX_TOKEN
        && (token.is_empty() || !body.is_empty())
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// What OAUTHBEARER answers a refused token with (RFC 7628 section 3.2.2). `configuration` is where
/// the provider describes itself: the URL of OIDC discovery.
#[must_use]
pub fn oauthbearer_failure(configuration: Option<&str>) -> Vec<u8> {
    let mut failure = serde_json::json!({ "status": "invalid_token" });
    if let (Some(url), Some(object)) = (configuration, failure.as_object_mut()) {
        object.insert("openid-configuration".to_owned(), url.into());
    }
    failure.to_string().into_bytes()
}

/// What XOAUTH2 answers a refused token with.
#[must_use]
pub fn xoauth2_failure() -> Vec<u8> {
    serde_json::json!({ "status": "401", "schemes": "bearer" })
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read = Result<(Option<String>, String), Fault>;

    fn read(bearer: Result<Bearer, Fault>) -> Read {
        bearer.map(|bearer| (bearer.user().map(str::to_owned), bearer.token().to_owned()))
    }

    fn of(user: Option<&str>, token: &str) -> Read {
        Ok((user.map(str::to_owned), token.to_owned()))
    }

    /// RFC 7628 section 4.
    #[test]
    fn messages_of_oauthbearer() {
        for (message, expected) in [
            (
                "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
                 auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01",
                of(
                    Some("user@example.com"),
                    "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
                ),
            ),
            ("n,,\x01auth=Bearer abc\x01\x01", of(None, "abc")),
            ("y,,\x01auth=bearer abc\x01\x01", of(None, "abc")),
            (
                "n,a=a=2Cb=3Dc,\x01auth=Bearer abc\x01\x01",
                of(Some("a,b=c"), "abc"),
            ),
            (
                "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=\x01\x01",
                of(Some("user@example.com"), ""),
            ),
            ("n,,\x01\x01", Err(Fault::Malformed)),
            ("n,,\x01auth=Bearer abc\x01", Err(Fault::Malformed)),
            ("n,,\x01auth=Basic abc\x01\x01", Err(Fault::Malformed)),
            ("n,,\x01auth=Bearer a b\x01\x01", Err(Fault::Malformed)),
            ("n,,\x01auth=Bearer ==\x01\x01", Err(Fault::Malformed)),
            (
                "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
                Err(Fault::Malformed),
            ),
            (
                "p=tls-unique,,\x01auth=Bearer a\x01\x01",
                Err(Fault::Malformed),
            ),
            ("n,a=x=,\x01auth=Bearer a\x01\x01", Err(Fault::Malformed)),
            ("n,x,\x01auth=Bearer a\x01\x01", Err(Fault::Malformed)),
            ("", Err(Fault::Malformed)),
            ("\x01", Err(Fault::Malformed)),
        ] {
            let bearer = Bearer::from_oauthbearer(message.as_bytes());
            assert_eq!(read(bearer), expected, "{message:?}");
        }
    }

    #[test]
    fn messages_of_xoauth2() {
        for (message, expected) in [
            (
                "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3Rlcg\x01\x01",
                of(Some("someuser@example.com"), "ya29.vF9dft4qmTc2Nvb3Rlcg"),
            ),
            ("user=\x01auth=Bearer abc\x01\x01", of(None, "abc")),
            (
                "user=a\0b\x01auth=Bearer abc\x01\x01",
                Err(Fault::Malformed),
            ),
            ("user=a\x01auth=Bearer abc", Err(Fault::Malformed)),
            ("auth=Bearer abc\x01\x01", Err(Fault::Malformed)),
        ] {
            let bearer = Bearer::from_xoauth2(message.as_bytes());
            assert_eq!(read(bearer), expected, "{message:?}");
        }
    }

    #[test]
    fn tokens_are_bounded_and_not_printed() {
        let message = |length| format!("n,,\x01auth=Bearer {}\x01\x01", "t".repeat(length));
        let bearer = Bearer::from_oauthbearer(message(MAX_TOKEN).as_bytes()).unwrap();
        assert_eq!(format!("{bearer:?}"), "Bearer { user: None, .. }");
        let longer = Bearer::from_oauthbearer(message(MAX_TOKEN + 1).as_bytes());
        assert_eq!(longer.unwrap_err(), Fault::Malformed);
    }

    #[test]
    fn failures_are_json() {
        assert_eq!(
            oauthbearer_failure(Some("https://id.example/x")),
            br#"{"openid-configuration":"https://id.example/x","status":"invalid_token"}"#
        );
        assert_eq!(oauthbearer_failure(None), br#"{"status":"invalid_token"}"#);
        assert_eq!(xoauth2_failure(), br#"{"schemes":"bearer","status":"401"}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(message: Vec<u8>) {
            let _ = Bearer::from_oauthbearer(&message);
            let _ = Bearer::from_xoauth2(&message);
        }

        #[test]
        fn any_parts_are_survived(parts in "[nyp,=a\u{1}A-C ]{0,40}") {
            let _ = Bearer::from_oauthbearer(parts.as_bytes());
            let _ = Bearer::from_xoauth2(format!("user={parts}").as_bytes());
        }
    }
}
