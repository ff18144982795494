//! What others have said, as a part of a line of ours.

use prixfixe_server::printable::is_hazardous;

/// The longest value of a field. A line has at most 998 bytes without its end (RFC 5322 section
/// 2.1.1).
const MAX_VALUE: usize = 800;

/// Where a line is folded, if it can be.
const WIDTH: usize = 76;

/// A value of a field: no control characters, no bidirectional overrides, cut where it is too long.
/// `is_global`: what is not ASCII may stay (RFC 6533 section 3).
pub(super) fn value(text: &str, is_global: bool) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        let safe = match character {
            '\n' | '\t' => ' ',
            '\r' => continue,
            ' '..='~' => character,
            _ if is_global && !is_hazardous(character) => character,
            _ => '?',
        };
        if line.len() + safe.len_utf8() > MAX_VALUE {
            line.push_str("...");
            break;
        }
        line.push(safe);
    }
    line
}

/// The same of a text whose blanks mean nothing: it is folded at them (RFC 5322 section 2.2.3).
pub(super) fn folded(text: &str, is_global: bool) -> String {
    let line = value(text, is_global);
    let mut folded = String::with_capacity(line.len() + 16);
    let mut width = 0;
    // A line of blanks alone would end the fields.
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        if width > 0 && width + word.len() >= WIDTH {
            folded.push_str("\r\n ");
            width = 1;
        } else if width > 0 {
            folded.push(' ');
            width += 1;
        }
        folded.push_str(word);
        width += word.len();
    }
    folded
}

/// For people, in any language, indented where it goes on.
pub(super) fn words(text: &str) -> String {
    folded(text, true).replace("\r\n ", "\r\n    ")
}

/// A name of our own: what stands in a message id, or in an address without quotes.
pub(super) fn token(name: &str) -> String {
    let is_safe =
        |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let name: String = name.chars().filter(is_safe).take(255).collect();
    match name.is_empty() {
        true => "localhost".to_owned(),
        false => name,
    }
}
