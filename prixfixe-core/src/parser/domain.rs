//! Domains (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::combinator::{opt, recognize, verify};
use nom::multi::many0_count;
use nom::sequence::{preceded, terminated};

use super::{Class, Parsed, alphanumeric_and, take_class1};

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
    let domain = recognize((sub_domain, many0_count(preceded(char('.'), sub_domain))));
    let domain = verify(domain, |domain: &str| domain.len() <= MAX_DOMAIN);
    terminated(domain, opt(char('.'))).parse(input)
}

/// ```abnf
/// sub-domain  = Let-dig [Ldh-str]
/// sub-domain =/ U-label
/// Ldh-str     = *( ALPHA / DIGIT / "-" ) Let-dig
/// ```
///
/// And underscores: they are in the names of many hosts that send mail.
fn sub_domain(input: &str) -> Parsed<'_, &str> {
    const LDH: Class = alphanumeric_and(b"-_");
    let is_label =
        |label: &str| label.len() <= MAX_LABEL && !label.starts_with('-') && !label.ends_with('-');
    verify(|input| take_class1(&LDH, input), is_label).parse(input)
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
