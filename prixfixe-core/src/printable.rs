//! Text of others on one line of ours.
//!
//! A log line, an error or a page repeats what a client, a file or a caller wrote.
//! A line end in it would forge a second line, and an escape sequence would drive the terminal of
//! whoever reads. A bidirectional override would show the text in another order than it has.
//!
//! ```
//! use prixfixe_core::printable::Printable;
//!
//! let said = Printable("gr\u{fc}n\r\n\u{1b}[31mred");
//! assert_eq!(said.to_string(), r"grün\r\n\u{1b}[31mred");
//! ```
//!
//! Replies have a rule of their own, since they are ASCII on the wire: there such characters leave
//! as `?` ([`Reply::encode`](crate::Reply::encode)).

use std::fmt::{self, Write};

/// True for characters that must not reach a log or a terminal as they are: C0, DEL and C1, the
/// Unicode line ends, and the invisible characters that reorder or hide text.
#[must_use]
pub fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Displays text with every [hazardous](is_hazardous) character as `\u{..}`, or `\n`, `\r`, `\t`.
///
/// What was displayed so is left alone the second time.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_hazardous(character) {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazards_are_spelled_out_and_the_rest_is_left_alone() {
        let cases = [
            ("plain ümläut 漢字 👍", "plain ümläut 漢字 👍"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\0\u{1b}[31m\u{7f}", r"\u{0}\u{1b}[31m\u{7f}"),
            ("\u{85}\u{9b}", r"\u{85}\u{9b}"),
            (
                "\u{2028}\u{2029}\u{202e}\u{2066}",
                r"\u{2028}\u{2029}\u{202e}\u{2066}",
            ),
        ];
        for (given, expected) in cases {
            let shown = Printable(given).to_string();
            assert_eq!(shown, expected);
            assert_eq!(Printable(&shown).to_string(), expected, "once is enough");
        }
    }
}
