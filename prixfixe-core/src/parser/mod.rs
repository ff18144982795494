//! Parsers for complete command lines.
//!
//! A parser is named after the ABNF production that is its doc, and gets text that is all there: framing is
//! over when parsing begins. None of them allocates.

mod command;
mod domain;
mod literal;
mod mailbox;
mod parameter;

use nom::combinator::all_consuming;
use nom::{IResult, Parser};

use crate::Mailbox;

pub(crate) use command::command;
pub(crate) use parameter::Parameters;

/// What a parser gives. Where it went wrong is of no interest: the reply is the same.
type Parsed<'i, O> = IResult<&'i str, O, ()>;

/// The string as a mailbox, if it is one and nothing else.
pub(crate) fn complete_mailbox(string: &str) -> Option<Mailbox<&str>> {
    let (_, mailbox) = all_consuming(mailbox::mailbox).parse(string).ok()?;
    Some(mailbox)
}

/// `UTF8-non-ascii` of RFC 6531 section 3.3, but for the control characters that Unicode has there.
fn is_non_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// A string of ASCII in any case. Nom's own folds the case of all of Unicode, at a price that shows.
fn ascii_no_case<'i>(string: &'static str) -> impl Fn(&'i str) -> Parsed<'i, &'i str> {
    move |input| match input.split_at_checked(string.len()) {
        Some((found, rest)) if found.eq_ignore_ascii_case(string) => Ok((rest, found)),
        _ => Err(nom::Err::Error(())),
    }
}
