//! Parsers for complete command lines.
//!
//! A parser is named after the ABNF production that is its doc, and gets text that is all there:
//! framing is over when parsing begins. None of them allocates.

mod command;
mod domain;
mod dsn;
#[cfg(test)]
mod grammar;
mod literal;
mod mailbox;
mod parameter;

use nom::branch::alt;
use nom::combinator::all_consuming;
use nom::{IResult, Parser};

use crate::Mailbox;

pub(crate) use command::command;
pub(crate) use dsn::{notify_value, orcpt_value};
pub(crate) use parameter::{Offered, Parameters};

/// What a parser gives. Where it went wrong is of no interest: the reply is the same.
type Parsed<'i, O> = IResult<&'i str, O, ()>;

/// The string as a mailbox, if it is one and nothing else.
pub(crate) fn complete_mailbox(string: &str) -> Option<Mailbox<&str>> {
    let (_, mailbox) = all_consuming(mailbox::mailbox).parse(string).ok()?;
    Some(mailbox)
}

/// The string without its final dot, if it is a domain or an address literal and nothing else.
pub(crate) fn complete_domain(string: &str) -> Option<&str> {
    let domain = alt((domain::domain, literal::address_literal));
    let (_, domain) = all_consuming(domain).parse(string).ok()?;
    Some(domain)
}

/// Characters, by the first octet that each has in UTF-8.
type Class = [bool; 256];

/// With this octet begin the control characters that are not of ASCII, and the 32 behind them,
/// which are none.
const FIRST_OF_C1: u8 = 0xC2;
/// The first octet behind it of what is no control character.
const SECOND_BEHIND_C1: u8 = 0xA0;

/// The letters and the digits of ASCII, and `others`, which are of ASCII too.
#[expect(
    clippy::indexing_slicing,
    reason = "for constants alone: what is out of bounds does not compile"
)]
const fn ascii_alphanumeric_and(others: &[u8]) -> Class {
    let mut class = [false; 256];
    let mut code = 0;
    while code < 128u8 {
        class[code as usize] = code.is_ascii_alphanumeric();
        code += 1;
    }
    let mut at = 0;
    while at < others.len() {
        class[others[at] as usize] = true;
        at += 1;
    }
    class
}

/// The same, and all that is [not ASCII](is_non_ascii).
#[expect(
    clippy::indexing_slicing,
    reason = "for constants alone: what is out of bounds does not compile"
)]
const fn alphanumeric_and(others: &[u8]) -> Class {
    let mut class = ascii_alphanumeric_and(others);
    let mut code = 128;
    while code < class.len() {
        class[code] = code != FIRST_OF_C1 as usize;
        code += 1;
    }
    class
}

/// How many octets at the front of a text are characters of the class.
///
/// Octet by octet: what is not ASCII is told by its first octet, but for that which may begin a
/// control character.
fn length_in(class: &Class, text: &[u8]) -> usize {
    let mut rest = text;
    loop {
        rest = match rest {
            [byte, behind @ ..] if class.get(usize::from(*byte)) == Some(&true) => behind,
            // A class without what is not ASCII has none of these.
            [FIRST_OF_C1, second, behind @ ..]
                if *second >= SECOND_BEHIND_C1 && is_beyond_ascii(class) =>
            {
                behind
            }
            _ => return text.len() - rest.len(),
        };
    }
}

/// Whether what is not ASCII is in a class.
fn is_beyond_ascii(class: &Class) -> bool {
    class.last() == Some(&true)
}

/// One or more characters of a class.
fn take_class1<'i>(class: &'static Class, input: &'i str) -> Parsed<'i, &'i str> {
    match input.split_at_checked(length_in(class, input.as_bytes())) {
        Some((taken, rest)) if !taken.is_empty() => Ok((rest, taken)),
        _ => failed(),
    }
}

/// What the text is not.
const fn failed<'i, O>() -> Parsed<'i, O> {
    Err(nom::Err::Error(()))
}

/// `UTF8-non-ascii` of RFC 6531 section 3.3, but for the control characters that Unicode has there.
fn is_non_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// The text without the spaces and tabs at its front, which are none as a rule.
fn behind_blanks(text: &str) -> &str {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let blanks = text.bytes().take_while(is_blank).count();
    text.get(blanks..).unwrap_or_default()
}

/// A string of ASCII in any case. Nom's own folds the case of all of Unicode, at a price that
/// shows.
fn ascii_no_case<'i>(string: &'static str) -> impl Fn(&'i str) -> Parsed<'i, &'i str> {
    move |input| match input.split_at_checked(string.len()) {
        Some((found, rest)) if found.eq_ignore_ascii_case(string) => Ok((rest, found)),
        _ => Err(nom::Err::Error(())),
    }
}
