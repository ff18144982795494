//! Values that strangers have a say in, cut so that a line stays under 4 KiB.
//!
//! A subscriber may write six octets for a quote and twelve for a character that hides others. What
//! counts here is therefore not the length of a text but what may become of it.

use std::fmt::{self, Display, Write};

use crate::Recipient;

/// How much of a line one value may take.
pub(crate) const MAX_VALUE: usize = 512;

/// The most that one value takes: it is cut before the character that goes over.
const MOST_OF_ONE: usize = MAX_VALUE + CUT_OFF.len();

/// How much of a line the recipients of a message may take.
pub(crate) const MAX_RECIPIENTS: usize = 1536;

/// A value that is cut where it would take more than [`MAX_VALUE`], and then ends in `...`.
pub(crate) struct Cut<T>(pub(crate) T);

impl<T: Display> Display for Cut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_cut(f, &self.0).map(drop)
    }
}

/// What stands at the end of a value that was cut.
const CUT_OFF: &str = "...";

/// Writes a value, cut, and gives what it takes of a line.
fn write_cut(f: &mut fmt::Formatter<'_>, value: &impl Display) -> Result<usize, fmt::Error> {
    let mut room = Room {
        out: f,
        left: MAX_VALUE,
        weight: 0,
    };
    // An error of `room` may be that it is full, which is none of ours.
    let written = write!(room, "{value}");
    let Room { left, weight, .. } = room;
    match left {
        0 => f.write_str(CUT_OFF).map(|()| weight + CUT_OFF.len()),
        _ => written.map(|()| weight),
    }
}

/// Octets as a text: what is no UTF-8 becomes U+FFFD.
pub(crate) struct Lossy<'a>(pub(crate) &'a [u8]);

impl Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            match chunk.invalid() {
                [] => Ok(()),
                _ => f.write_char(char::REPLACEMENT_CHARACTER),
            }
        })
    }
}

/// Recipients, with a comma between them: as many as have room, and the number of the others.
pub(crate) struct Recipients<'a> {
    list: &'a [Recipient],
    room: usize,
}

impl<'a> Recipients<'a> {
    /// Of a message.
    pub(crate) fn of_message(list: &'a [Recipient]) -> Self {
        Self {
            list,
            room: MAX_RECIPIENTS,
        }
    }

    /// Beside other values that may be long.
    pub(crate) fn in_short(list: &'a [Recipient]) -> Self {
        Self {
            list,
            room: MAX_VALUE,
        }
    }
}

impl Display for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = self.room;
        let mut list = self.list.iter();
        let mut is_first = true;
        while let Some(recipient) = list.next() {
            if !is_first {
                // As long as there is room for any, none has to be weighed before.
                if room <= MOST_OF_ONE && weight(&Cut(recipient)) >= room {
                    return write!(f, ",...and {} more", list.len() + 1);
                }
                f.write_str(",")?;
            }
            // At least one stands there, if cut.
            let taken = write_cut(f, recipient)?;
            room = room.saturating_sub(taken + 1);
            is_first = false;
        }
        Ok(())
    }
}

/// Passes on what has room.
struct Room<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    /// 0: something was cut.
    left: usize,
    /// What was passed on takes so much.
    weight: usize,
}

impl Write for Room<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text) && text.len() < self.left {
            self.left -= text.len();
            self.weight += text.len();
            return self.out.write_str(text);
        }
        let mut end = text.len();
        for (at, character) in text.char_indices() {
            let weight = weight_of(character);
            match self.left.checked_sub(weight) {
                None | Some(0) => {
                    self.left = 0;
                    end = at;
                    break;
                }
                Some(left) => self.left = left,
            }
            self.weight += weight;
        }
        self.out.write_str(text.get(..end).unwrap_or_default())?;
        match self.left {
            0 => Err(fmt::Error),
            _ => Ok(()),
        }
    }
}

/// What a value may take of a line.
fn weight(value: &impl Display) -> usize {
    struct Weight(usize);

    impl Write for Weight {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += match is_plain(text) {
                true => text.len(),
                false => text.chars().map(weight_of).sum::<usize>(),
            };
            Ok(())
        }
    }

    let mut weight = Weight(0);
    // It gives no errors.
    let _ = write!(weight, "{value}");
    weight.0
}

/// Whether each character weighs 1. Nearly every value is so, and looked at in pieces, without a
/// branch for each byte.
fn is_plain(text: &str) -> bool {
    let (pieces, rest) = text.as_bytes().as_chunks::<16>();
    let weighs_1 = |byte| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    let are_so = |bytes: &[u8]| bytes.iter().fold(true, |so, &byte| so & weighs_1(byte));
    pieces.iter().all(|piece| are_so(piece)) && are_so(rest)
}

/// The longest form that a character is given: `\u0022`, `\u{202e}`, `\udb40\udc41`.
fn weight_of(character: char) -> usize {
    match character {
        '"' | '\\' => 6,
        ' '..='~' => 1,
        '\0'..='\u{7f}' => 6,
        '\u{80}'..='\u{ffff}' => 8,
        _ => 12,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn recipients(count: usize, local: &str) -> Vec<Recipient> {
        (0..count)
            .map(|number| format!("{local}{number}@b.test"))
            .map(|text| crate::log::tests::recipient(&text))
            .collect()
    }

    #[test]
    fn a_value_is_cut_by_what_may_become_of_it() {
        let cases = [
            ("a".repeat(511), 511),
            ("a".repeat(512), 511),
            ("\"".repeat(1000), 85),
            ("\u{202e}".repeat(1000), 63),
            ("\u{e0041}".repeat(1000), 42),
        ];
        for (text, kept) in cases {
            let cut = Cut(&text).to_string();
            let rest = cut.strip_suffix("...").unwrap_or(&cut);
            assert_eq!(rest.chars().count(), kept, "{cut}");
            assert_eq!(rest == text, rest == cut, "{cut}");
        }
    }

    #[test]
    fn a_list_of_recipients_ends_with_the_number_of_those_that_have_no_room() {
        let list = recipients(1000, "bob");
        let text = Recipients::of_message(&list).to_string();
        assert!(text.starts_with("bob0@b.test,bob1@b.test,"), "{text}");
        let shown = text.matches("@b.test").count();
        assert!(
            text.ends_with(&format!(",...and {} more", 1000 - shown)),
            "{text}"
        );
        assert!((100..150).contains(&shown) && text.len() < 1600, "{shown}");

        let text = Recipients::in_short(&list).to_string();
        assert!(text.len() < 560 && text.ends_with(" more"), "{text}");
        let few = recipients(3, "bob");
        let text = Recipients::of_message(&few).to_string();
        assert_eq!(text, "bob0@b.test,bob1@b.test,bob2@b.test");
        assert_eq!(Recipients::of_message(&[]).to_string(), "");
    }

    #[test]
    fn characters_that_are_escaped_take_more_of_the_room() {
        let list = recipients(200, &"\u{202e}".repeat(20));
        let text = Recipients::of_message(&list).to_string();
        let escaped: usize = text.chars().map(weight_of).sum();
        assert!((1200..1600).contains(&escaped), "{escaped}");
        assert!(text.ends_with(" more"), "{text}");
    }

    #[test]
    fn a_value_takes_what_it_is_weighed_with() {
        struct Written<'a>(&'a str, Cell<usize>);
        impl Display for Written<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.1.set(write_cut(f, &self.0)?);
                Ok(())
            }
        }
        for character in ["a", "\"", "\u{fc}", "\u{202e}", "\u{e0041}"] {
            for count in [0, 1, 30, 63, 64, 511, 512, 1000] {
                let text = character.repeat(count);
                let written = Written(&text, Cell::new(0));
                assert_eq!(written.to_string(), Cut(&text).to_string());
                assert_eq!(written.1.get(), weight(&Cut(&text)), "{count} {character}");
                assert!(written.1.get() <= MOST_OF_ONE);
            }
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_such() {
        assert_eq!(Lossy(b"a\xffb\xc3").to_string(), "a\u{fffd}b\u{fffd}");
    }
}
