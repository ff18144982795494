//! Values of fields, as they may stand in a line.
//!
//! Whatever a peer has a say in ends up here: nothing of it may end the line, pass for another field, or act on
//! the terminal.

use std::fmt::{self, Write};

use crate::escape::is_hazardous;

/// Of a longer value the rest is left out.
const LONGEST: usize = 64 * 1024;

/// Writes `value` as it is where it is a plain word, else between quotes.
pub(super) fn write_text(out: &mut dyn Write, value: fmt::Arguments<'_>) -> fmt::Result {
    let mut text = String::new();
    Escaper::new(&mut text, Style::Text).write(value)?;
    let is_word = |character: char| {
        !matches!(character, ' ' | '=' | '"' | '\\') && !character.is_whitespace()
    };
    if !text.is_empty() && text.chars().all(is_word) {
        out.write_str(&text)
    } else {
        out.write_char('"')?;
        out.write_str(&text)?;
        out.write_char('"')
    }
}

/// Writes `value` as it is, but for what could end the line or act on the terminal.
pub(super) fn write_message(out: &mut dyn Write, value: fmt::Arguments<'_>) -> fmt::Result {
    Escaper::new(out, Style::Message).write(value)
}

/// Writes `value` as a JSON string (RFC 8259 section 7), with everything hazardous as `\u....` as well.
pub(super) fn write_json(out: &mut dyn Write, value: fmt::Arguments<'_>) -> fmt::Result {
    out.write_char('"')?;
    Escaper::new(out, Style::Json).write(value)?;
    out.write_char('"')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Message,
    Text,
    Json,
}

/// Escapes what is written through it.
struct Escaper<'a> {
    out: &'a mut dyn Write,
    style: Style,
    left: usize,
}

impl<'a> Escaper<'a> {
    fn new(out: &'a mut dyn Write, style: Style) -> Self {
        Self {
            out,
            style,
            left: LONGEST,
        }
    }

    fn write(mut self, value: fmt::Arguments<'_>) -> fmt::Result {
        self.write_fmt(value)
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

    fn leave_out_the_rest(&mut self) -> fmt::Result {
        self.left = 0;
        self.out.write_str("... (cut off)")
    }
}

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.left == 0 {
            return Ok(());
        }
        let kept = text.floor_char_boundary(self.left);
        let (kept, rest) = text.split_at(kept);
        let mut plain = 0;
        for (place, character) in kept.char_indices() {
            if self.must_escape(character) {
                self.out
                    .write_str(kept.get(plain..place).unwrap_or_default())?;
                self.escape(character)?;
                plain = place + character.len_utf8();
            }
        }
        self.out.write_str(kept.get(plain..).unwrap_or_default())?;
        self.left -= kept.len();
        if rest.is_empty() && self.left > 0 {
            Ok(())
        } else {
            self.leave_out_the_rest()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Writer = fn(&mut dyn Write, fmt::Arguments<'_>) -> fmt::Result;

    fn written(write: Writer, value: &str) -> String {
        let mut out = String::new();
        write(&mut out, format_args!("{value}")).unwrap();
        out
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
        for value in ["x".repeat(LONGEST), "ü".repeat(LONGEST)] {
            let out = written(write_message, &value);
            let kept = out.strip_suffix("... (cut off)").unwrap();
            assert!(value.starts_with(kept) && (LONGEST - 1..=LONGEST).contains(&kept.len()));
        }
        let out = written(write_message, &"x".repeat(LONGEST - 1));
        assert_eq!(out.len(), LONGEST - 1);
    }

    proptest! {
        #[test]
        fn no_hazard_is_left_and_json_reads_back(value in any::<String>()) {
            for write in [write_text as Writer, write_message, write_json] {
                prop_assert!(!written(write, &value).contains(is_hazardous));
            }
            let json = written(write_json, &value);
            prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(value));
        }
    }
}
