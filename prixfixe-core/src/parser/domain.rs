//! Domains (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::take_while_m_n;
use nom::character::complete::char;
use nom::combinator::{recognize, verify};
use nom::multi::many0_count;
use nom::sequence::preceded;

use super::{Class, Parsed, alphanumeric_and, is_non_ascii, literal, take_class1};

/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
const MAX_DOMAIN: usize = 255;
/// The longest part of a domain, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// ```abnf
/// Domain = sub-domain *("." sub-domain)
/// ```
pub(super) fn domain(input: &str) -> Parsed<'_, &str> {
    let domain = recognize((sub_domain, many0_count(preceded(char('.'), sub_domain))));
    verify(domain, |domain: &str| domain.len() <= MAX_DOMAIN).parse(input)
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
/// helo-argument = Domain / address-literal
/// ```
///
/// Or what real clients send in their place: addresses without brackets or without their tag, names that
/// no resolver would take. RFC 5321 section 4.1.4 forbids to refuse a client for such a name.
pub(super) fn helo_argument(input: &str) -> Parsed<'_, &str> {
    let name = take_while_m_n(1, MAX_DOMAIN, |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_' | '.' | ':' | '[' | ']')
            || is_non_ascii(c)
    });
    let name = verify(name, |name: &str| name.len() <= MAX_DOMAIN);
    alt((literal::address_literal, name)).parse(input)
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
            "a.",
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
    fn names_of_clients() {
        let is_name = |input: &str| all_consuming(helo_argument).parse(input).is_ok();
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
        ] {
            assert!(is_name(input), "{input}");
        }
        let too_long = "x".repeat(256);
        let too_long_in_octets = "ü".repeat(128);
        for input in [
            "",
            "a b",
            "a\0b",
            "a\x1bb",
            "a\u{9b}b",
            "<a>",
            "a@b",
            "a;b",
            too_long.as_str(),
            too_long_in_octets.as_str(),
        ] {
            assert!(!is_name(input), "{input:?}");
        }
    }
}
