//! Internationalised addresses where ASCII alone is taken.

use std::borrow::Cow;
use std::fmt::Write;

/// An internationalised address as servers without SMTPUTF8 take it too (RFC 6533 section 3,
/// `utf-8-addr-xtext`).
pub(crate) fn in_ascii(address: &str) -> Cow<'_, str> {
    if address.is_ascii() {
        return Cow::Borrowed(address);
    }
    let escape = |letter: char| match letter {
        '\\' | '+' | '=' | ' ' => true,
        letter => !letter.is_ascii(),
    };
    let mut text = String::with_capacity(2 * address.len());
    for letter in address.chars() {
        match escape(letter) {
            // Writing to a String does not fail.
            true => drop(write!(text, "\\x{{{:X}}}", u32::from(letter))),
            false => text.push(letter),
        }
    }
    Cow::Owned(text)
}
