//! Address literals (RFC 5321 section 4.1.3).

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::char;
use nom::combinator::{opt, peek, recognize, verify};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded, terminated};

use super::{Parsed, ascii_no_case};

/// ```abnf
/// address-literal = "[" ( IPv4-address-literal /
///                         IPv6-address-literal /
///                         General-address-literal ) "]"
/// ```
pub(super) fn address_literal(input: &str) -> Parsed<'_, &str> {
    let address = alt((
        ipv4_address_literal,
        ipv6_address_literal,
        general_address_literal,
    ));
    let literal = recognize(delimited(char('['), address, char(']')));
    verify(literal, |literal: &str| literal.len() <= 255).parse(input)
}

/// ```abnf
/// IPv4-address-literal = Snum 3("." Snum)
/// ```
fn ipv4_address_literal(input: &str) -> Parsed<'_, &str> {
    recognize((snum, char('.'), snum, char('.'), snum, char('.'), snum)).parse(input)
}

/// ```abnf
/// Snum = 1*3DIGIT    ; a number from 0 to 255
/// ```
fn snum(input: &str) -> Parsed<'_, &str> {
    let digits = take_while_m_n(1, 3, |c: char| c.is_ascii_digit());
    verify(digits, |digits: &str| digits.parse::<u8>().is_ok()).parse(input)
}

/// ```abnf
/// IPv6-address-literal = "IPv6:" IPv6-addr
/// IPv6-addr            = IPv6-full / IPv6-comp / IPv6v4-full / IPv6v4-comp
/// ```
fn ipv6_address_literal(input: &str) -> Parsed<'_, &str> {
    let end = || peek(char(']'));
    let address = alt((
        terminated(ipv6_full, end()),
        terminated(ipv6_comp, end()),
        terminated(ipv6v4_full, end()),
        terminated(ipv6v4_comp, end()),
    ));
    recognize(preceded(ascii_no_case("IPv6:"), address)).parse(input)
}

/// ```abnf
/// IPv6-full = IPv6-hex 7(":" IPv6-hex)
/// ```
fn ipv6_full(input: &str) -> Parsed<'_, &str> {
    groups(8).parse(input)
}

/// ```abnf
/// IPv6-comp = [IPv6-hex *5(":" IPv6-hex)] "::" [IPv6-hex *5(":" IPv6-hex)]
///             ; "::" stands for at least two groups: no more than six others
/// ```
fn ipv6_comp(input: &str) -> Parsed<'_, &str> {
    let both = (some_groups, tag("::"), some_groups);
    recognize(verify(both, |(before, _, after)| before + after <= 6)).parse(input)
}

/// ```abnf
/// IPv6v4-full = IPv6-hex 5(":" IPv6-hex) ":" IPv4-address-literal
/// ```
fn ipv6v4_full(input: &str) -> Parsed<'_, &str> {
    recognize((groups(6), char(':'), ipv4_address_literal)).parse(input)
}

/// ```abnf
/// IPv6v4-comp = [IPv6-hex *3(":" IPv6-hex)] "::"
///               [IPv6-hex *3(":" IPv6-hex) ":"] IPv4-address-literal
///               ; no more than four groups besides "::" and IPv4-address-literal
/// ```
fn ipv6v4_comp(input: &str) -> Parsed<'_, &str> {
    let after = many0_count(terminated(ipv6_hex, char(':')));
    let both = (some_groups, tag("::"), after, ipv4_address_literal);
    recognize(verify(both, |(before, _, after, _)| before + after <= 4)).parse(input)
}

/// ```abnf
/// IPv6-hex = 1*4HEXDIG
/// ```
fn ipv6_hex(input: &str) -> Parsed<'_, &str> {
    take_while_m_n(1, 4, |c: char| c.is_ascii_hexdigit()).parse(input)
}

/// So many groups, with colons between them.
fn groups<'i>(number: usize) -> impl Parser<&'i str, Output = &'i str, Error = ()> {
    let others = move |input: &'i str| {
        let mut rest = input;
        for _ in 1..number {
            (rest, _) = preceded(char(':'), ipv6_hex).parse(rest)?;
        }
        Ok((rest, ()))
    };
    recognize((ipv6_hex, others))
}

/// Any number of groups, none included, with colons between them: how many.
fn some_groups(input: &str) -> Parsed<'_, usize> {
    let groups = (ipv6_hex, many0_count(preceded(char(':'), ipv6_hex)));
    opt(groups.map(|(_, others)| others + 1))
        .map(Option::unwrap_or_default)
        .parse(input)
}

/// ```abnf
/// General-address-literal = Standardized-tag ":" 1*dcontent
/// Standardized-tag        = Ldh-str
/// dcontent                = %d33-90 / %d94-126
/// ```
///
/// The tag `IPv6` is taken: what follows it has to be an IPv6 address.
fn general_address_literal(input: &str) -> Parsed<'_, &str> {
    let tag = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let tag = verify(tag, |tag: &str| {
        !tag.ends_with('-') && !tag.eq_ignore_ascii_case("IPv6")
    });
    let dcontent = take_while1(|c| matches!(c, '!'..='Z' | '^'..='~'));
    recognize((tag, char(':'), dcontent)).parse(input)
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use nom::combinator::all_consuming;
    use proptest::prelude::*;

    use super::*;

    fn is_literal(input: &str) -> bool {
        all_consuming(address_literal).parse(input).is_ok()
    }

    #[test]
    fn literals() {
        for input in [
            "[192.0.2.1]",
            "[255.255.255.255]",
            "[0.0.0.0]",
            "[IPv6:::]",
            "[IPv6:::1]",
            "[ipv6:2001:DB8::1]",
            "[IPv6:1:2:3:4:5:6:7:8]",
            "[IPv6:1:2:3::6:7:8]",
            "[IPv6:1::]",
            "[IPv6:::ffff:192.0.2.1]",
            "[IPv6:1:2:3:4:5:6:192.0.2.1]",
            "[IPv6:1:2::3:4:192.0.2.1]",
            "[IPv6:::192.0.2.1]",
            "[x400:anything!]",
            // To the grammar, the tag is `2001`.
            "[2001:db8::1]",
        ] {
            assert!(is_literal(input), "{input}");
        }
        let too_long = format!("[x:{}]", "y".repeat(252));
        for input in [
            "",
            "[]",
            "192.0.2.1",
            "[192.0.2.1",
            "[192.0.2]",
            "[192.0.2.256]",
            "[192.0.2.1.1]",
            "[192.0.2.0001]",
            "[IPv6:]",
            "[IPv6:1]",
            "[IPv6:1:2:3:4:5:6:7]",
            "[IPv6:1:2:3:4:5:6:7:8:9]",
            "[IPv6:1:2:3:4::5:6:7:8]",
            "[IPv6:1::2::3]",
            "[IPv6:12345::]",
            "[IPv6:g::]",
            "[IPv6:1:2:3:4:5:192.0.2.1]",
            "[IPv6:1:2:3::4:5:192.0.2.1]",
            "[IPv6:::192.0.2.256]",
            "[x:]",
            "[x-:y]",
            "[x:a]b]",
            "[x:\u{e9}]",
            "[x:a b]",
            too_long.as_str(),
        ] {
            assert!(!is_literal(input), "{input}");
        }
    }

    proptest! {
        /// RFC 5952 has a compressed form of one group only where no run of two is, which RFC 5321
        /// has not: the standard library never writes it.
        #[test]
        fn every_address_as_the_standard_library_writes_it(v4: u32, v6: [u16; 8], zeroes: u8) {
            let mut groups = v6;
            for (place, group) in groups.iter_mut().enumerate() {
                if zeroes >> place & 1 == 1 {
                    *group = 0;
                }
            }
            let v4 = Ipv4Addr::from_bits(v4);
            let v6 = Ipv6Addr::from(groups);
            prop_assert!(is_literal(&format!("[{v4}]")), "{}", v4);
            prop_assert!(is_literal(&format!("[IPv6:{v6}]")), "{}", v6);
            prop_assert!(is_literal(&format!("[IPv6:{}]", v4.to_ipv6_mapped())), "{}", v4);
        }

        /// Whatever is taken for an IPv6 address is one.
        #[test]
        fn nothing_else(input in "[0-9a-f:]{2,20}|[0-9a-f:.]{2,30}") {
            if is_literal(&format!("[IPv6:{input}]")) {
                prop_assert!(input.parse::<Ipv6Addr>().is_ok(), "{}", input);
            }
        }
    }
}
