//! Mailboxes and paths (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{consumed, opt, recognize, value, verify};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded, terminated};

use super::domain::domain;
use super::literal::address_literal;
use super::{Class, Parsed, alphanumeric_and, ascii_no_case, is_non_ascii, take_class1};
use crate::{ForwardPath, Mailbox, ReversePath};

/// The longest local part, in octets (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL_PART: usize = 64;

/// ```abnf
/// Reverse-path = Path / "<>"
/// ```
pub(super) fn reverse_path(input: &str) -> Parsed<'_, ReversePath<&str>> {
    alt((
        value(ReversePath::Null, tag("<>")),
        path.map(ReversePath::Mailbox),
    ))
    .parse(input)
}

/// ```abnf
/// Forward-path = Path / "<Postmaster>"
/// ```
pub(super) fn forward_path(input: &str) -> Parsed<'_, ForwardPath<&str>> {
    alt((
        value(ForwardPath::Postmaster, ascii_no_case("<postmaster>")),
        path.map(ForwardPath::Mailbox),
    ))
    .parse(input)
}

/// ```abnf
/// Path = "<" [ A-d-l ":" ] Mailbox ">"
/// ```
///
/// The source route is to be accepted and ignored (RFC 5321 appendix C).
fn path(input: &str) -> Parsed<'_, Mailbox<&str>> {
    let source_route = opt(terminated(a_d_l, char(':')));
    delimited(char('<'), preceded(source_route, mailbox), char('>')).parse(input)
}

/// ```abnf
/// A-d-l = At-domain *( "," At-domain )
/// ```
fn a_d_l(input: &str) -> Parsed<'_, &str> {
    recognize((at_domain, many0_count(preceded(char(','), at_domain)))).parse(input)
}

/// ```abnf
/// At-domain = "@" Domain
/// ```
fn at_domain(input: &str) -> Parsed<'_, &str> {
    preceded(char('@'), domain).parse(input)
}

/// ```abnf
/// Mailbox = Local-part "@" ( Domain / address-literal )
/// ```
pub(super) fn mailbox(input: &str) -> Parsed<'_, Mailbox<&str>> {
    consumed((local_part, char('@'), alt((domain, address_literal))))
        .map(|(address, (local_part, _, _))| Mailbox::from_parts(address, local_part.len()))
        .parse(input)
}

/// ```abnf
/// Local-part = Dot-string / Quoted-string
/// ```
fn local_part(input: &str) -> Parsed<'_, &str> {
    let local_part = alt((dot_string, quoted_string));
    verify(local_part, |local_part: &str| {
        local_part.len() <= MAX_LOCAL_PART
    })
    .parse(input)
}

/// ```abnf
/// Dot-string = Atom *("." Atom)
/// ```
fn dot_string(input: &str) -> Parsed<'_, &str> {
    recognize((atom, many0_count(preceded(char('.'), atom)))).parse(input)
}

/// ```abnf
/// Atom   = 1*atext
/// atext =/ UTF8-non-ascii
/// ```
fn atom(input: &str) -> Parsed<'_, &str> {
    const ATEXT: Class = alphanumeric_and(b"!#$%&'*+-/=?^_`{|}~");
    take_class1(&ATEXT, input)
}

/// ```abnf
/// Quoted-string = DQUOTE *QcontentSMTP DQUOTE
/// QcontentSMTP  = qtextSMTP / quoted-pairSMTP
/// ```
fn quoted_string(input: &str) -> Parsed<'_, &str> {
    let content = many0_count(alt((qtext_smtp, quoted_pair_smtp)));
    recognize(delimited(char('"'), content, char('"'))).parse(input)
}

/// ```abnf
/// qtextSMTP  = %d32-33 / %d35-91 / %d93-126
/// qtextSMTP =/ UTF8-non-ascii
/// ```
fn qtext_smtp(input: &str) -> Parsed<'_, &str> {
    take_while1(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~') || is_non_ascii(c)).parse(input)
}

/// ```abnf
/// quoted-pairSMTP = %d92 %d32-126
/// ```
fn quoted_pair_smtp(input: &str) -> Parsed<'_, &str> {
    recognize((char('\\'), satisfy(|c| matches!(c, ' '..='~')))).parse(input)
}

#[cfg(test)]
mod tests {
    use nom::combinator::all_consuming;

    use super::*;

    fn parts(input: &str) -> Option<(&str, &str)> {
        let (_, mailbox) = all_consuming(mailbox).parse(input).ok()?;
        assert_eq!(mailbox.as_str(), input);
        Some((
            &input[..mailbox.local_part().len()],
            &input[mailbox.local_part().len() + 1..],
        ))
    }

    #[test]
    fn mailboxes() {
        let longest = "x".repeat(64);
        let longest = format!("{longest}@example.com");
        for (input, local_part) in [
            ("a@b", "a"),
            ("first.last@example.com", "first.last"),
            ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~"),
            ("\"\"@example.com", "\"\""),
            ("\"a b\"@example.com", "\"a b\""),
            ("\"a@b\"@example.com", "\"a@b\""),
            ("\"a\\\"b\\\\\"@example.com", "\"a\\\"b\\\\\""),
            ("\".a..b.\"@example.com", "\".a..b.\""),
            ("a@[192.0.2.1]", "a"),
            ("a@[IPv6:2001:db8::1]", "a"),
            ("jörg@bücher.example", "jörg"),
            ("\"jörg s\"@bücher.example", "\"jörg s\""),
            (longest.as_str(), &longest[..64]),
        ] {
            let parts = parts(input);
            assert_eq!(
                parts.map(|(local_part, _)| local_part),
                Some(local_part),
                "{input}"
            );
        }
    }

    #[test]
    fn what_is_no_mailbox() {
        let too_long = format!("{}@example.com", "x".repeat(65));
        let too_long_in_octets = format!("{}@example.com", "ü".repeat(33));
        let domain_too_long = format!("a@{}", vec!["x".repeat(60); 5].join("."));
        for input in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "\"a@b",
            "\"a\"b@c",
            "a\"b\"@c",
            "\"a\\\"@b",
            "\"a\0b\"@c",
            "\"a\\\u{7f}\"@b",
            "a\u{85}@b",
            "a@b.",
            "a@-b",
            "a@[b",
            "a@[]",
            "a@b c",
            "<a@b>",
            "a(b)@c",
            too_long.as_str(),
            too_long_in_octets.as_str(),
            domain_too_long.as_str(),
        ] {
            assert_eq!(parts(input), None, "{input:?}");
        }
    }

    #[test]
    fn a_source_route_is_left_out() {
        for input in ["<a@b>", "<@c:a@b>", "<@c,@d.example:a@b>"] {
            let (_, path) = all_consuming(path).parse(input).unwrap();
            assert_eq!(path.as_str(), "a@b", "{input}");
        }
        for input in [
            "<@c a@b>",
            "<@c:>",
            "<@c,d:a@b>",
            "<@:a@b>",
            "<c:a@b>",
            "<a@b",
            "a@b>",
            "<<a@b>>",
            "< a@b>",
            "<a@b >",
        ] {
            assert!(all_consuming(path).parse(input).is_err(), "{input}");
        }
    }

    #[test]
    fn what_has_no_domain() {
        assert_eq!(reverse_path("<>"), Ok(("", ReversePath::Null)));
        assert!(forward_path("<>").is_err());
        assert_eq!(
            forward_path("<PostMaster>"),
            Ok(("", ForwardPath::Postmaster))
        );
        assert!(reverse_path("<postmaster>").is_err());
        let (_, path) = forward_path("<postmaster@example.com>").unwrap();
        assert_eq!(path.to_string(), "postmaster@example.com");
    }
}
