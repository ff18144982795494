//! Mailboxes and paths (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::character::complete::{char, satisfy, space1};
use nom::combinator::{eof, peek, recognize};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded, terminated};

use super::domain::domain;
use super::literal::address_literal;
use super::{Class, Parsed, alphanumeric_and, ascii_no_case, failed, is_non_ascii, length_in};
use crate::{ForwardPath, Mailbox, ReversePath};

/// The longest local part, in octets.
///
/// RFC 5321 section 4.5.3.1.1 has 64, and asks for no limit where that is possible. Rewritten
/// senders (SRS) and confirmations of mailing lists are longer. Postfix and Exim take them.
const MAX_LOCAL_PART: usize = 255;

/// ```abnf
/// Reverse-path = Path / "<>"
/// ```
pub(super) fn reverse_path(input: &str) -> Parsed<'_, ReversePath<&str>> {
    match input.strip_prefix("<>") {
        Some(rest) => Ok((rest, ReversePath::Null)),
        None => path(input).map(|(rest, mailbox)| (rest, ReversePath::Mailbox(mailbox))),
    }
}

/// ```abnf
/// Forward-path = Path / "<Postmaster>" / "Postmaster"
/// ```
pub(super) fn forward_path(input: &str) -> Parsed<'_, ForwardPath<&str>> {
    // Nearly all are paths, so that is tried first.
    match path(input) {
        Ok((rest, mailbox)) => Ok((rest, ForwardPath::Mailbox(mailbox))),
        Err(_) => postmaster(input).map(|(rest, _)| (rest, ForwardPath::Postmaster)),
    }
}

fn postmaster(input: &str) -> Parsed<'_, &str> {
    let bare = terminated(ascii_no_case("postmaster"), end_of_word);
    alt((ascii_no_case("<postmaster>"), bare)).parse(input)
}

/// ```abnf
/// Path = "<" [ A-d-l ":" ] Mailbox ">" / Bare-path
/// ```
///
/// The source route is to be accepted and ignored (RFC 5321 appendix C).
fn path(input: &str) -> Parsed<'_, Mailbox<&str>> {
    let Some(inside) = input.strip_prefix('<') else {
        return bare_path(input);
    };
    let inside = match inside.starts_with('@') {
        true => source_route(inside)?.0,
        false => inside,
    };
    let (rest, mailbox) = mailbox(inside)?;
    match rest.strip_prefix('>') {
        Some(rest) => Ok((rest, mailbox)),
        None => failed(),
    }
}

/// ```abnf
/// Bare-path = Mailbox    ; without a blank, up to one or to the end
/// ```
///
/// RFC 5321 wants the brackets. The firmware of many devices leaves them out. Postfix and Exim take
/// that.
fn bare_path(input: &str) -> Parsed<'_, Mailbox<&str>> {
    let (rest, mailbox) = mailbox(input)?;
    end_of_word(rest)?;
    match mailbox.as_str().contains(' ') {
        false => Ok((rest, mailbox)),
        true => failed(),
    }
}

/// A blank comes next, or nothing.
fn end_of_word(input: &str) -> Parsed<'_, &str> {
    peek(alt((space1, eof))).parse(input)
}

/// ```abnf
/// source-route = A-d-l ":"
/// A-d-l        = At-domain *( "," At-domain )
/// ```
fn source_route(input: &str) -> Parsed<'_, &str> {
    let a_d_l = (at_domain, many0_count(preceded(char(','), at_domain)));
    recognize(terminated(a_d_l, char(':'))).parse(input)
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
    let (rest, local_part) = local_part(input)?;
    let Some(rest) = rest.strip_prefix('@') else {
        return failed();
    };
    let (rest, domain) = match rest.starts_with('[') {
        true => address_literal(rest)?,
        false => domain(rest)?,
    };
    // Not all that was consumed: a final dot of the domain is left out.
    match input.get(..local_part.len() + "@".len() + domain.len()) {
        Some(address) => Ok((rest, Mailbox::from_parts(address, local_part.len()))),
        None => failed(),
    }
}

/// ```abnf
/// Local-part = Dot-string / Quoted-string
/// ```
fn local_part(input: &str) -> Parsed<'_, &str> {
    let (rest, local_part) = match input.starts_with('"') {
        true => quoted_string(input)?,
        false => dot_string(input)?,
    };
    match local_part.len() <= MAX_LOCAL_PART {
        true => Ok((rest, local_part)),
        false => failed(),
    }
}

/// ```abnf
/// Dot-string = *"." Atom *(1*"." Atom) *"."
/// Atom       = 1*atext
/// atext     =/ UTF8-non-ascii
/// ```
///
/// RFC 5321 has single dots between atoms. Devices and mobile networks have addresses with dots
/// first, last or in a row. Postfix and Exim take them and pass them on as they are, and so does
/// what prints a [`Mailbox`]: in quotes it would be another address to a server that compares
/// octets. A local part of dots alone is still refused: nobody has one, and `..` is no name to let
/// near a file system.
fn dot_string(input: &str) -> Parsed<'_, &str> {
    const ATEXT_AND_DOT: Class = alphanumeric_and(b"!#$%&'*+-/=?^_`{|}~.");
    let length = length_in(&ATEXT_AND_DOT, input.as_bytes());
    match input.split_at_checked(length) {
        Some((local_part, rest)) if local_part.bytes().any(|byte| byte != b'.') => {
            Ok((rest, local_part))
        }
        _ => failed(),
    }
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
        let longest = "x".repeat(255);
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
            (".a@b", ".a"),
            ("a.@b", "a."),
            ("a..b@c", "a..b"),
            ("...a...b...@c", "...a...b..."),
            (longest.as_str(), &longest[..255]),
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
        let too_long = format!("{}@example.com", "x".repeat(256));
        let too_long_in_octets = format!("{}@example.com", "ü".repeat(128));
        let domain_too_long = format!("a@{}", vec!["x".repeat(60); 5].join("."));
        for input in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            ".@b",
            "..@b",
            "\"a@b",
            "\"a\"b@c",
            "a\"b\"@c",
            "\"a\\\"@b",
            "\"a\0b\"@c",
            "\"a\\\u{7f}\"@b",
            "a\u{85}@b",
            "a@b..",
            "a@.",
            "a@[192.0.2.1].",
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
    fn a_final_dot_of_the_domain_is_left_out() {
        for input in ["<a@b.>", "a@b.", "<@c.:a@b.>"] {
            let (rest, path) = path(input).unwrap();
            assert_eq!((rest, path.as_str()), ("", "a@b"));
            assert_eq!(path.domain(), "b");
        }
    }

    #[test]
    fn a_path_without_brackets_ends_at_a_blank() {
        for (input, rest) in [
            ("a@b", ""),
            ("a@b SIZE=1", " SIZE=1"),
            ("a@b\tSIZE=1", "\tSIZE=1"),
            ("\"a\"@[192.0.2.1] x", " x"),
        ] {
            assert_eq!(path(input).map(|(rest, _)| rest), Ok(rest), "{input}");
            assert_eq!(reverse_path(input).map(|(rest, _)| rest), Ok(rest));
        }
        for input in [
            "a",
            "a@b>",
            "a@b,c@d",
            "\"a b\"@c",
            "@c:a@b",
            "a @b",
            "a@b;",
        ] {
            assert!(path(input).is_err(), "{input}");
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
            "@c:a@b",
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
        assert_eq!(
            forward_path("POSTMASTER X=1"),
            Ok((" X=1", ForwardPath::Postmaster))
        );
        assert!(forward_path("postmaster>").is_err());
        assert!(forward_path("postmasters").is_err());
        assert!(reverse_path("<postmaster>").is_err());
        assert!(reverse_path("postmaster").is_err());
        let (_, path) = forward_path("<postmaster@example.com>").unwrap();
        assert_eq!(path.to_string(), "postmaster@example.com");
    }
}
