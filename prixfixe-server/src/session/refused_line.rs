//! A command line that was refused, as far as it may stand in a log.
//!
//! Of MAIL and RCPT the argument is shown as the client sent it: that is the address that somebody
//! asks about. Nothing else is. A client whose AUTH is refused may send its password in a line of
//! its own, and one whose DATA is refused its mail.

use crate::log::Lossy;

/// How much of an argument is looked at, in octets.
const MAX_ARGUMENT: usize = 400;

/// Verbs that are named. All others are the client's own words.
const VERBS: [&str; 22] = [
    "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP",
    "QUIT", "STARTTLS", "AUTH", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "XCLIENT",
];

/// What is known of it.
pub(super) struct RefusedLine<'l> {
    /// One of SMTP's.
    pub(super) verb: Option<&'static str>,
    /// Of MAIL or RCPT: what stands behind `FROM:` or `TO:`.
    pub(super) argument: Option<Lossy<'l>>,
}

impl<'l> RefusedLine<'l> {
    pub(super) fn new(line: &'l [u8]) -> Self {
        let end = line.iter().position(u8::is_ascii_whitespace);
        let (word, rest) = line
            .split_at_checked(end.unwrap_or(line.len()))
            .unwrap_or_default();
        let is_word = |verb: &&&str| verb.as_bytes().eq_ignore_ascii_case(word);
        let verb = VERBS.iter().find(is_word).copied();
        let argument = match verb {
            Some("MAIL") => Some(behind(b"FROM:", rest)),
            Some("RCPT") => Some(behind(b"TO:", rest)),
            _ => None,
        };
        Self { verb, argument }
    }
}

/// What stands behind the keyword; without it, all.
fn behind<'l>(keyword: &[u8], rest: &'l [u8]) -> Lossy<'l> {
    let rest = rest.trim_ascii();
    let argument = match rest.split_at_checked(keyword.len()) {
        Some((start, argument)) if start.eq_ignore_ascii_case(keyword) => argument.trim_ascii(),
        _ => rest,
    };
    Lossy(argument.get(..MAX_ARGUMENT).unwrap_or(argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_mail_and_rcpt_the_argument_is_shown_and_of_others_the_verb() {
        let cases: [(&[u8], Option<&str>, Option<&str>); 12] = [
            (b"MAIL FROM:<bare@>", Some("MAIL"), Some("<bare@>")),
            (
                b"mail from: <a@b> RET=HDRS ",
                Some("MAIL"),
                Some("<a@b> RET=HDRS"),
            ),
            (b"RCPT\tTo:\t<a@b>", Some("RCPT"), Some("<a@b>")),
            (b"RCPT <a@b>", Some("RCPT"), Some("<a@b>")),
            (b"MAIL", Some("MAIL"), Some("")),
            (b"MAIL FROM:<\xff@b>\n", Some("MAIL"), Some("<\u{fffd}@b>")),
            (b"AUTH PLAIN AGFubgBzZWNyZXQ=", Some("AUTH"), None),
            (b"c2VjcmV0", None, None),
            (b"BDAT", Some("BDAT"), None),
            (b"GET / HTTP/1.1", None, None),
            (b"MAIL\x07FROM:<a@b>", None, None),
            (b"", None, None),
        ];
        for (line, verb, argument) in cases {
            let refused = RefusedLine::new(line);
            assert_eq!(refused.verb, verb, "{line:?}");
            let shown = refused.argument.map(|it| it.to_string());
            assert_eq!(shown.as_deref(), argument, "{line:?}");
        }
        let long = [&b"MAIL FROM:"[..], &[b'x'; 3000]].concat();
        let argument = RefusedLine::new(&long).argument.map(|it| it.to_string());
        assert_eq!(argument.map(|it| it.len()), Some(MAX_ARGUMENT));
    }
}
