//! Parameters that clients send even where they are not offered: those of delivery status
//! notifications (RFC 3461, RFC 6533 section 3) and `AUTH=` (RFC 4954 section 5).
//!
//! They are read as strictly where they are not offered, so that a client sees no difference.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, map_opt, recognize, value, verify};
use nom::multi::{fold_many1, many0_count, many1_count};
use nom::sequence::{delimited, preceded};

use super::{Class, Parsed, alphanumeric_and, ascii_no_case, is_non_ascii, take_class1};
use crate::{Notify, OriginalRecipient, Ret};

/// RFC 3461 section 4.4.
const MAX_ENVID: usize = 100;
/// RFC 3461 section 4.2.
const MAX_ORCPT: usize = 500;

/// ```abnf
/// ret-value = "FULL" / "HDRS"
/// ```
pub(super) fn ret_value(input: Option<&str>) -> Option<Ret> {
    let full = value(Ret::Full, ascii_no_case("FULL"));
    let headers = value(Ret::Headers, ascii_no_case("HDRS"));
    whole(alt((full, headers)), input?)
}

/// ```abnf
/// envid-parameter = "ENVID=" xtext    ; printable, no longer than 100
/// ```
pub(super) fn envid_value(input: Option<&str>) -> Option<Box<str>> {
    let envid = input.filter(|envid| envid.len() <= MAX_ENVID)?;
    whole(printable_xtext, envid).map(Into::into)
}

/// ```abnf
/// notify-esmtp-value  = "NEVER" / 1#notify-list-element
/// ```
pub(crate) fn notify_value(input: Option<&str>) -> Option<Notify> {
    let list = (
        notify_list_element,
        many0_count(preceded(char(','), notify_list_element)),
    );
    let notify = whole(
        recognize(alt((ascii_no_case("NEVER"), recognize(list)))),
        input?,
    )?;
    let names = |name: &str| {
        let mut elements = notify.split(',');
        elements.any(|element| element.eq_ignore_ascii_case(name))
    };
    Some(Notify {
        success: names("SUCCESS"),
        failure: names("FAILURE"),
        delay: names("DELAY"),
    })
}

/// ```abnf
/// notify-list-element = "SUCCESS" / "FAILURE" / "DELAY"
/// ```
fn notify_list_element(input: &str) -> Parsed<'_, &str> {
    alt((
        ascii_no_case("SUCCESS"),
        ascii_no_case("FAILURE"),
        ascii_no_case("DELAY"),
    ))
    .parse(input)
}

/// ```abnf
/// original-recipient-address = addr-type ";" xtext    ; printable, no longer than 500
///                            / "utf-8;" utf-8-enc-addr
/// ```
///
/// `smtputf8`: what is not ASCII may stand there as it is.
pub(crate) fn orcpt_value(input: Option<&str>, smtputf8: bool) -> Option<OriginalRecipient> {
    let orcpt = input.filter(|orcpt| orcpt.len() <= MAX_ORCPT)?;
    if !smtputf8 && !orcpt.is_ascii() {
        return None;
    }
    let (address_type, address) = orcpt.split_once(';')?;
    let address = match address_type.eq_ignore_ascii_case("utf-8") {
        true => whole(utf_8_enc_addr, address)?,
        false => whole(printable_xtext, address)?,
    };
    let address_type = whole(addr_type, address_type)?;
    Some(OriginalRecipient::new(address_type, address))
}

/// ```abnf
/// addr-type = atom    ; of RFC 822, which has no specials in it
/// ```
fn addr_type(input: &str) -> Parsed<'_, &str> {
    const ATEXT: Class = alphanumeric_and(b"!#$%&'*+-/=?^_`{|}~");
    verify(|input| take_class1(&ATEXT, input), str::is_ascii).parse(input)
}

/// ```abnf
/// auth-value = xtext / "<>"    ; whose characters are those of xtext
/// ```
pub(super) fn auth_value(input: Option<&str>) -> Option<&str> {
    whole(
        recognize(many1_count(alt((xchars, recognize(hexchar))))),
        input?,
    )
}

/// ```abnf
/// xtext = *( xchar / hexchar )    ; of printable characters
/// ```
///
/// Gives the text that it stands for.
fn printable_xtext(input: &str) -> Parsed<'_, String> {
    let hexchar = verify(hexchar, |byte: &u8| matches!(byte, b' '..=b'~'));
    let plain = map(xchars, Part::Plain);
    joined(alt((
        plain,
        map(hexchar, |byte| Part::Encoded(byte.into())),
    )))
    .parse(input)
}

/// ```abnf
/// xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
/// ```
fn xchars(input: &str) -> Parsed<'_, &str> {
    take_while1(|c| matches!(c, '!'..='*' | ','..='<' | '>'..='~')).parse(input)
}

/// ```abnf
/// hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits
/// ```
fn hexchar(input: &str) -> Parsed<'_, u8> {
    let digits = take_while_m_n(2, 2, |c| matches!(c, '0'..='9' | 'A'..='F'));
    let byte = map_opt(digits, |digits| u8::from_str_radix(digits, 16).ok());
    preceded(char('+'), byte).parse(input)
}

/// ```abnf
/// utf-8-enc-addr = 1*( QUCHAR / EmbeddedUnicodeChar )
/// QUCHAR         = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e / UTF8-non-ascii
/// ```
///
/// Gives the address that it stands for.
fn utf_8_enc_addr(input: &str) -> Parsed<'_, String> {
    let quchars = take_while1(|c| {
        matches!(c, '!'..='*' | ','..='<' | '>'..='[' | ']'..='~') || is_non_ascii(c)
    });
    let plain = map(quchars, Part::Plain);
    joined(alt((plain, map(embedded_unicode_char, Part::Encoded)))).parse(input)
}

/// ```abnf
/// EmbeddedUnicodeChar = "\x" "{" HEXPOINT "}"    ; no control character
/// ```
fn embedded_unicode_char(input: &str) -> Parsed<'_, char> {
    let digits = take_while_m_n(2, 6, |c: char| c.is_ascii_hexdigit());
    let character = map_opt(digits, |digits: &str| {
        let code = u32::from_str_radix(digits, 16).ok();
        code.and_then(char::from_u32).filter(|c| !c.is_control())
    });
    delimited(tag("\\x{"), character, char('}')).parse(input)
}

/// A part of a text that may be encoded.
enum Part<'i> {
    Plain(&'i str),
    Encoded(char),
}

/// At least one part, decoded.
fn joined<'i>(
    part: impl Parser<&'i str, Output = Part<'i>, Error = ()>,
) -> impl Parser<&'i str, Output = String, Error = ()> {
    fold_many1(part, String::new, |mut text, part| {
        match part {
            Part::Plain(plain) => text.push_str(plain),
            Part::Encoded(character) => text.push(character),
        }
        text
    })
}

/// All of a value.
fn whole<'i, O>(parser: impl Parser<&'i str, Output = O, Error = ()>, input: &'i str) -> Option<O> {
    let (_, output) = all_consuming(parser).parse(input).ok()?;
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ret() {
        assert_eq!(ret_value(Some("FULL")), Some(Ret::Full));
        assert_eq!(ret_value(Some("hdrs")), Some(Ret::Headers));
        for bad in [None, Some("BODY"), Some("FULLY"), Some("FULL,HDRS")] {
            assert_eq!(ret_value(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn envid() {
        let longest = "x".repeat(100);
        for (good, decoded) in [
            ("x1", "x1"),
            ("QQ314159", "QQ314159"),
            ("a+2Bb+3D", "a+b="),
            ("a+20b", "a b"),
            (longest.as_str(), longest.as_str()),
        ] {
            assert_eq!(envid_value(Some(good)).as_deref(), Some(decoded));
        }
        let too_long = "x".repeat(101);
        let bad = ["a+2bb", "a+2", "a+", "a+0D+0A", "a+7F", "\u{e4}", &too_long];
        for bad in bad {
            assert_eq!(envid_value(Some(bad)), None, "{bad}");
        }
        assert_eq!(envid_value(None), None);
    }

    #[test]
    fn notify() {
        for (good, shown) in [
            ("NEVER", "NEVER"),
            ("never", "NEVER"),
            ("FAILURE", "FAILURE"),
            ("DELAY,failure", "FAILURE,DELAY"),
            ("DELAY,DELAY", "DELAY"),
            ("Success", "SUCCESS"),
            ("FAILURE,SUCCESS,DELAY", "SUCCESS,FAILURE,DELAY"),
        ] {
            let notify = notify_value(Some(good)).map(|notify| notify.to_string());
            assert_eq!(notify.as_deref(), Some(shown), "{good}");
        }
        for bad in [
            "NEVER,SUCCESS",
            "SUCCESS,NEVER",
            "SUCCESS,",
            ",DELAY",
            "NONE",
            "DELAYS",
        ] {
            assert_eq!(notify_value(Some(bad)), None, "{bad}");
        }
        assert_eq!(notify_value(None), None);
    }

    #[test]
    fn orcpt() {
        let longest = format!("rfc822;{}", "x".repeat(493));
        let decoded = |text, smtputf8| {
            let orcpt = orcpt_value(Some(text), smtputf8)?;
            Some(format!("{};{}", orcpt.address_type(), orcpt.address()))
        };
        for (good, expected) in [
            ("rfc822;bob@example.com", "rfc822;bob@example.com"),
            (
                "RFC822;bob+2Bnews@example.com",
                "RFC822;bob+news@example.com",
            ),
            ("x-local;bob;two", "x-local;bob;two"),
            ("utf-8;bob@example.com", "utf-8;bob@example.com"),
            (
                "UTF-8;j\\x{F6}rg@example.com",
                "UTF-8;j\u{f6}rg@example.com",
            ),
            ("utf-8;a\\x{2B}b\\x{10FFFD}@x", "utf-8;a+b\u{10FFFD}@x"),
            (longest.as_str(), longest.as_str()),
        ] {
            assert_eq!(decoded(good, false).as_deref(), Some(expected));
        }
        let too_long = format!("rfc822;{}", "x".repeat(494));
        for bad in [
            "bob@example.com",
            "rfc822;",
            ";bob",
            "rfc822;a b",
            "rfc822;a=b",
            "rfc822;a+b",
            "rfc822;a+0Ab",
            "rfc(822;a",
            "utf-8;",
            "utf-8;a\\b",
            "utf-8;a\\x{D800}",
            "utf-8;a\\x{0A}",
            "utf-8;a\\x{1}",
            "utf-8;a+2Bb",
            "utf-8;j\u{f6}rg@x",
            too_long.as_str(),
        ] {
            assert_eq!(orcpt_value(Some(bad), false), None, "{bad}");
        }
        assert_eq!(orcpt_value(None, true), None);
        let unencoded = "utf-8;j\u{f6}rg@example.com";
        assert_eq!(decoded(unencoded, true).as_deref(), Some(unencoded));
        assert_eq!(orcpt_value(Some("rfc822;j\u{f6}rg@x"), true), None);
        assert_eq!(orcpt_value(Some("r\u{e4};x"), true), None);
    }

    #[test]
    fn auth() {
        for good in ["<>", "alice@example.com", "e+3Dmc2@example.com"] {
            assert_eq!(auth_value(Some(good)), Some(good));
        }
        for bad in ["a+b", "a=b", "a+3d", "\u{e4}"] {
            assert_eq!(auth_value(Some(bad)), None, "{bad}");
        }
        assert_eq!(auth_value(None), None);
    }
}
