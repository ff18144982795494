//! Values of fields, as they may stand in a line.
//!
//! Whatever a peer has a say in ends up here: nothing of it may end the line, pass for another
//! field, or act on the terminal.

use std::fmt::{self, Write};

use prixfixe_core::printable::is_hazardous;

/// Stands at the end of a value whose rest is left out.
const CUT_OFF: &str = "... (cut off)";

/// Writes `value` as it is where it is a plain word, else between quotes. At most `room` octets.
pub(super) fn write_text(out: &mut String, room: usize, value: fmt::Arguments<'_>) {
    let start = out.len();
    if !write_plain(out, room, value) {
        Escaper::new(out, Style::Text, room).write(value);
    }
    if !is_word(out.get(start..).unwrap_or_default()) {
        out.insert(start, '"');
        out.push('"');
    }
}

/// Writes `value` as it is, but for what could end the line or act on the terminal.
pub(super) fn write_message(out: &mut String, room: usize, value: fmt::Arguments<'_>) {
    if !write_plain(out, room, value) {
        Escaper::new(out, Style::Message, room).write(value);
    }
}

/// Writes `value` as a JSON string (RFC 8259 section 7), with everything hazardous as `\u....` as
/// well.
pub(super) fn write_json(out: &mut String, room: usize, value: fmt::Arguments<'_>) {
    out.push('"');
    if !write_plain(out, room, value) {
        Escaper::new(out, Style::Json, room).write(value);
    }
    out.push('"');
}

/// Writes `value` if it has room and nothing of it is to be escaped, as nearly every value. False:
/// nothing was written.
///
/// A value may come in many small pieces. It is looked at once, when all of it is there.
fn write_plain(out: &mut String, room: usize, value: fmt::Arguments<'_>) -> bool {
    let start = out.len();
    let left = Some(room);
    let mut bounded = Bounded { out, left };
    // A value that cuts itself may hide an error, and write something shorter after it.
    let has_room = bounded.write_fmt(value).is_ok() && bounded.left.is_some();
    let is_written = has_room && all(out.get(start..).unwrap_or_default(), is_plain);
    if !is_written {
        out.truncate(start);
    }
    is_written
}

/// Takes so many octets, and gives an error for more.
struct Bounded<'a> {
    out: &'a mut String,
    /// `None`: there was more.
    left: Option<usize>,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.and_then(|left| left.checked_sub(text.len()));
        match self.left {
            Some(_) => self.out.push_str(text),
            None => return Err(fmt::Error),
        }
        Ok(())
    }
}

fn is_word(text: &str) -> bool {
    let is_part = |character: char| {
        !matches!(character, ' ' | '=' | '"' | '\\') && !character.is_whitespace()
    };
    let is_ascii_word = || {
        all(text, |byte| {
            is_plain(byte) & (byte != b' ') & (byte != b'=')
        })
    };
    !text.is_empty() && (is_ascii_word() || text.chars().all(is_part))
}

/// Whether a byte is a character that nothing ever escapes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

/// Whether all bytes are so. Nearly every value is plain, and looked at in pieces, without a branch
/// for each byte. The last piece overlaps the one before it, so that no byte is looked at alone.
fn all(text: &str, is_so: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let are_so = |bytes: &[u8]| bytes.iter().fold(true, |so, &byte| so & is_so(byte));
    match (bytes.last_chunk::<16>(), bytes.last_chunk::<8>()) {
        (Some(last), _) => {
            let (pieces, _) = bytes.as_chunks::<16>();
            pieces.iter().all(|piece| are_so(piece)) && are_so(last)
        }
        (None, Some(last)) => bytes.first_chunk::<8>().is_some_and(|it| are_so(it)) && are_so(last),
        (None, None) => are_so(bytes),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Message,
    Text,
    Json,
}

/// Escapes what is written through it.
struct Escaper<'a> {
    out: &'a mut String,
    style: Style,
    /// Octets that may still be written. `None`: the rest is left out.
    left: Option<usize>,
}

impl<'a> Escaper<'a> {
    fn new(out: &'a mut String, style: Style, room: usize) -> Self {
        Self {
            out,
            style,
            left: Some(room),
        }
    }

    /// A value that fails to show itself is as long as it came.
    fn write(mut self, value: fmt::Arguments<'_>) {
        let _ = self.write_fmt(value);
    }

    fn escape(&mut self, character: char) -> fmt::Result {
        match (self.style, character) {
            (Style::Json, _) => {
                let mut units = [0; 2];
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .try_for_each(|unit| write!(self.out, "\\u{unit:04x}"))
            }
            (Style::Text | Style::Message, _) => write!(self.out, "{}", character.escape_default()),
        }
    }

    fn must_escape(&self, character: char) -> bool {
        is_hazardous(character) || self.style != Style::Message && matches!(character, '"' | '\\')
    }

    /// What a character takes, if it is escaped or not.
    fn octets(&self, character: char, escaped: bool) -> usize {
        match (escaped, self.style) {
            (false, _) => character.len_utf8(),
            (true, Style::Json) => r"\u0000".len() * character.len_utf16(),
            (true, Style::Text | Style::Message) => character.escape_default().len(),
        }
    }
}

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(mut left) = self.left else {
            // Nothing more is shown: a long list need not be formatted to its end.
            return Err(fmt::Error);
        };
        if let Some(rest) = left.checked_sub(text.len()).filter(|_| all(text, is_plain)) {
            self.left = Some(rest);
            self.out.push_str(text);
            return Ok(());
        }
        let mut plain = 0;
        for (place, character) in text.char_indices() {
            let escaped = self.must_escape(character);
            let room = left.checked_sub(self.octets(character, escaped));
            if escaped || room.is_none() {
                self.out
                    .push_str(text.get(plain..place).unwrap_or_default());
                plain = place + character.len_utf8();
            }
            let Some(room) = room else {
                self.left = None;
                self.out.push_str(CUT_OFF);
                return Ok(());
            };
            left = room;
            if escaped {
                self.escape(character)?;
            }
        }
        self.left = Some(left);
        self.out.push_str(text.get(plain..).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Writer = fn(&mut String, usize, fmt::Arguments<'_>);

    fn written_into(room: usize, write: Writer, value: &str) -> String {
        let mut out = String::new();
        write(&mut out, room, format_args!("{value}"));
        out
    }

    fn written(write: Writer, value: &str) -> String {
        written_into(usize::MAX, write, value)
    }

    #[test]
    fn text() {
        let cases = [
            ("a@example.com", "a@example.com"),
            ("ümläut@例え.jp", "ümläut@例え.jp"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            (r#"say "hi""#, r#""say \"hi\"""#),
            (r"\n", r#""\\n""#),
            (
                "a\r\nlistening address=evil",
                r#""a\r\nlistening address=evil""#,
            ),
            ("\u{1b}[2J\u{7f}\u{9b}", r#""\u{1b}[2J\u{7f}\u{9b}""#),
            ("a\u{202e}b\u{2028}c", r#""a\u{202e}b\u{2028}c""#),
            ("a\u{a0}b", "\"a\u{a0}b\""),
        ];
        for (value, expected) in cases {
            assert_eq!(written(write_text, value), expected);
        }
    }

    #[test]
    fn json() {
        let cases = [
            ("plain ü", r#""plain ü""#),
            (r#"" \ /"#, r#""\u0022 \u005c /""#),
            ("\r\n\0\u{7f}\u{85}", r#""\u000d\u000a\u0000\u007f\u0085""#),
            ("\u{202e}\u{2029}\u{e0041}", r#""\u202e\u2029\udb40\udc41""#),
        ];
        for (value, expected) in cases {
            assert_eq!(written(write_json, value), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let cases: [(Writer, &str, &str); 7] = [
            (write_message, "0123456789", "0123456789"),
            (write_message, "0123456789a", "0123456789... (cut off)"),
            (write_message, "012345678\u{fc}", "012345678... (cut off)"),
            (write_text, "01234567\"", "\"01234567\\\"\""),
            (write_text, "012345678\"", "\"012345678... (cut off)\""),
            (
                write_text,
                "a\u{202e}\u{202e}",
                "\"a\\u{202e}... (cut off)\"",
            ),
            (write_json, "\u{202e}\u{202e}", "\"\\u202e... (cut off)\""),
        ];
        for (write, value, expected) in cases {
            assert_eq!(written_into(10, write, value), expected);
        }
    }

    /// Shows dots in place of a text that nobody takes.
    struct CutsItself;

    impl fmt::Display for CutsItself {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("0123456789").or_else(|_| f.write_str("..."))
        }
    }

    #[test]
    fn a_value_that_cuts_itself_is_shown_as_far_as_there_is_room() {
        for write in [write_text as Writer, write_message] {
            let mut out = String::new();
            write(&mut out, 8, format_args!("{CutsItself}"));
            assert_eq!(out.trim_matches('"'), "01234567... (cut off)");
        }
    }

    proptest! {
        #[test]
        fn no_hazard_is_left_and_json_reads_back(value in any::<String>()) {
            for write in [write_text as Writer, write_message, write_json] {
                prop_assert!(!written(write, &value).contains(is_hazardous));
            }
            for room in 0..40 {
                for write in [write_text as Writer, write_message, write_json] {
                    let longest = room + CUT_OFF.len() + 2;
                    prop_assert!(written_into(room, write, &value).len() <= longest);
                }
            }
            let json = written(write_json, &value);
            prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(value));
        }
    }
}
