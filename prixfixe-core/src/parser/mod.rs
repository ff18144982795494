//! Parsers for complete command lines.
//!
//! A parser is named after the ABNF production that is its doc, and gets text that is all there:
//! framing is over when parsing begins. None of them allocates.

mod command;
mod domain;
mod dsn;
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

/// Characters of ASCII, by their code.
type Class = [bool; 128];

/// The letters, the digits and `others`, which are of ASCII.
#[expect(
    clippy::indexing_slicing,
    reason = "for constants alone: what is out of bounds does not compile"
)]
const fn alphanumeric_and(others: &[u8]) -> Class {
    let mut class = [false; 128];
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

/// One or more characters that are in `class` or [not ASCII](is_non_ascii).
///
/// Octet by octet where it is all ASCII, as nearly every address is: character by character costs
/// ten times that.
fn take_class1<'i>(class: &'static Class, input: &'i str) -> Parsed<'i, &'i str> {
    let is_in_class = |byte: u8| class.get(usize::from(byte)) == Some(&true);
    let ascii = input.bytes().position(|byte| !is_in_class(byte));
    let end = match ascii.and_then(|at| Some((at, input.as_bytes().get(at)?))) {
        None => input.len(),
        Some((at, byte)) if byte.is_ascii() => at,
        Some(_) => input
            .find(|c: char| !(u8::try_from(c).is_ok_and(is_in_class) || is_non_ascii(c)))
            .unwrap_or(input.len()),
    };
    match input.split_at_checked(end) {
        Some((taken, rest)) if !taken.is_empty() => Ok((rest, taken)),
        _ => Err(nom::Err::Error(())),
    }
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
