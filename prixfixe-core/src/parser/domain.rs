//! Domains (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::combinator::verify;

use super::{Class, Parsed, alphanumeric_and, failed, length_in};

/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
const MAX_DOMAIN: usize = 255;
/// The longest name in HELO and EHLO, in octets: as long as a domain.
const MAX_NAME: usize = MAX_DOMAIN;
/// The longest part of a domain, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// ```abnf
/// Domain = sub-domain *("." sub-domain) ["."]
/// ```
///
/// The final dot of a fully qualified name is no part of what this gives. RFC 5321 has none.
/// Postfix and Exim drop it too.
pub(super) fn domain(input: &str) -> Parsed<'_, &str> {
    let bytes = input.as_bytes();
    let mut length = sub_domain(bytes);
    while length > 0
        && let Some([b'.', behind @ ..]) = bytes.get(length..)
        && let next @ 1.. = sub_domain(behind)
    {
        length += 1 + next;
    }
    match input.split_at_checked(length) {
        Some((domain, rest)) if matches!(length, 1..=MAX_DOMAIN) => {
            Ok((rest.strip_prefix('.').unwrap_or(rest), domain))
        }
        _ => failed(),
    }
}

/// ```abnf
/// sub-domain  = Let-dig [Ldh-str]
/// sub-domain =/ U-label
/// Ldh-str     = *( ALPHA / DIGIT / "-" ) Let-dig
/// ```
///
/// And underscores: they are in the names of many hosts that send mail. Gives its octets; 0 where
/// there is none.
fn sub_domain(bytes: &[u8]) -> usize {
    const LDH: Class = alphanumeric_and(b"-_");
    let length = length_in(&LDH, bytes);
    match bytes.get(..length) {
        Some([b'-', ..] | [.., b'-']) => 0,
        _ if length > MAX_LABEL => 0,
        _ => length,
    }
}

/// ```abnf
/// helo-argument = 1*255OCTET    ; of text without control characters
/// ```
///
/// RFC 5321 has a domain or an address literal. Macs and Windows computers send the names that
/// people gave them, with blanks and any letters, and hosts without a name send `(none)`. Postfix
/// takes all of these. RFC 5321 section 4.1.4 forbids to refuse a client for a name that is wrong.
pub(super) fn helo_argument(input: &str) -> Parsed<'_, &str> {
    let name = take_while1(|c: char| !c.is_control());
    verify(name, |name: &str| name.len() <= MAX_NAME).parse(input)
}

#[cfg(test)]
mod tests {
    use nom::combinator::all_consuming;

    use super::*;

    #[test]
    fn domains() {
        let is_domain = |input: &str| all_consuming(domain).parse(input).is_ok();
        let longest = format!("{}.{}", vec!["x".repeat(63); 3].join("."), "x".repeat(63));
        for input in [
            "a",
            "example.com",
            "EXAMPLE.com",
            "1.2.3.4",
            "a-b.c--d",
            "web_server.example.com",
            "xn--bcher-kva.example",
            "bücher.example",
            "例え.テスト",
            longest.as_str(),
        ] {
            assert!(is_domain(input), "{input}");
        }
        let too_long = format!("{longest}x");
        let label_too_long = "x".repeat(64);
        for input in [
            "",
            ".",
            "a..",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "a b",
            "a@b",
            "[1.2.3.4]",
            "a\u{85}b",
            "a\tb",
            too_long.as_str(),
            label_too_long.as_str(),
        ] {
            assert!(!is_domain(input), "{input}");
        }
    }

    #[test]
    fn a_final_dot_is_no_part_of_a_domain() {
        let longest = format!("{}.{}", vec!["x".repeat(63); 3].join("."), "x".repeat(63));
        for name in ["a", "example.com", "b\u{fc}cher.example", longest.as_str()] {
            let dotted = format!("{name}.");
            let parsed = all_consuming(domain).parse(dotted.as_str());
            assert_eq!(parsed, Ok(("", name)));
        }
    }

    #[test]
    fn names_of_clients() {
        let is_name = |input: &str| all_consuming(helo_argument).parse(input).is_ok();
        let longest = "x".repeat(255);
        for input in [
            "client.example.com",
            "localhost",
            "my_pc",
            "-",
            "192.0.2.1",
            "2001:db8::1",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
            "[2001:db8::1]",
            "[x-tag:any!thing]",
            "a..b",
            "bücher.example",
            "ПК-БУХ",
            "Z170-D3H Gentoo",
            "Bobs'-MacBook.local",
            "(none)",
            "<a>",
            "a@b",
            "a;b",
            longest.as_str(),
        ] {
            assert!(is_name(input), "{input}");
        }
        let too_long = "x".repeat(256);
        let too_long_in_octets = "ü".repeat(128);
        for input in [
            "",
            "a\tb",
            "a\0b",
            "a\x1bb",
            "a\u{7f}b",
            "a\u{9b}b",
            too_long.as_str(),
            too_long_in_octets.as_str(),
        ] {
            assert!(!is_name(input), "{input:?}");
        }
    }
}
