//! The content of a message on its way through DATA (RFC 5321 section 4.5.2).

use memchr::{memchr2, memmem};

use crate::error::Unsendable;

/// Adds the transparency dots to a content that comes in pieces.
///
/// Only CRLF ends a line. After a lone LF a dot is an ordinary character, and adding one would
/// change the content.
///
/// ```
/// use prixfixe_client::Stuffer;
///
/// let (mut stuffer, mut output) = (Stuffer::new(), Vec::new());
/// stuffer.stuff(b"one\r", &mut output);
/// stuffer.stuff(b"\n.two\r\n", &mut output);
/// stuffer.finish(&mut output);
/// assert_eq!(output, b"one\r\n..two\r\n.\r\n");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuffer(Place);

/// What the last bytes were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    Text,
    Cr,
}

impl Stuffer {
    /// At the beginning of a content.
    #[must_use]
    pub const fn new() -> Self {
        Self(Place::LineStart)
    }

    /// Appends a piece with its dots.
    pub fn stuff(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        let Some(last) = piece.last() else { return };
        let joined = self.0 == Place::Cr && piece.first() == Some(&b'\n');
        let mut start = 0;
        if self.0 == Place::LineStart && piece.first() == Some(&b'.') {
            output.push(b'.');
        } else if joined && piece.get(1) == Some(&b'.') {
            output.extend_from_slice(b"\n.");
            start = 1;
        }
        for at in memmem::find_iter(piece, b"\r\n.") {
            let dot = at + 2;
            output.extend_from_slice(piece.get(start..dot).unwrap_or_default());
            output.push(b'.');
            start = dot;
        }
        output.extend_from_slice(piece.get(start..).unwrap_or_default());
        self.0 = match last {
            b'\r' => Place::Cr,
            b'\n' if piece.ends_with(b"\r\n") || joined && piece.len() == 1 => Place::LineStart,
            _ => Place::Text,
        };
    }

    /// Appends the end of the data. A last line without an end gets one, or the end would not be
    /// seen.
    pub fn finish(self, output: &mut Vec<u8>) {
        if self.0 != Place::LineStart {
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b".\r\n");
    }

    /// The last byte was a CR whose LF has not come.
    pub(crate) fn is_behind_cr(self) -> bool {
        self.0 == Place::Cr
    }

    /// Looks for a CR or LF that is not part of a CRLF. A CR at the end of the piece may yet become
    /// one.
    pub(crate) fn check(self, piece: &[u8]) -> Result<(), Unsendable> {
        let mut rest = match (self.0, piece.split_first()) {
            (_, None) => return Ok(()),
            (Place::Cr, Some((b'\n', rest))) => rest,
            (Place::Cr, Some(_)) => return Err(Unsendable::BareLineEnd),
            _ => piece,
        };
        while let Some(at) = memchr2(b'\r', b'\n', rest) {
            rest = match rest.get(at..).unwrap_or_default() {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => return Ok(()),
                _ => return Err(Unsendable::BareLineEnd),
            };
        }
        Ok(())
    }
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_test_support::{data, texts};

    use super::*;

    fn has_bare(content: &[u8]) -> bool {
        content.iter().enumerate().any(|(at, byte)| match byte {
            // At the very end it may still become a CRLF.
            b'\r' => content.get(at + 1).is_some_and(|next| *next != b'\n'),
            b'\n' => at == 0 || content[at - 1] != b'\r',
            _ => false,
        })
    }

    #[test]
    fn every_small_content_is_stuffed_right_at_every_split() {
        for content in (0..=6).flat_map(texts) {
            let expected = data(&content);
            for split in 0..=content.len() {
                let (mut stuffer, mut wire) = (Stuffer::new(), Vec::new());
                let (one, two) = content.split_at(split);
                let bare = stuffer.check(one).is_err() || {
                    stuffer.stuff(one, &mut wire);
                    stuffer.check(two).is_err()
                };
                assert_eq!(bare, has_bare(&content), "{content:?} at {split}");
                let (mut stuffer, mut wire) = (Stuffer::new(), Vec::new());
                stuffer.stuff(one, &mut wire);
                stuffer.stuff(two, &mut wire);
                stuffer.finish(&mut wire);
                assert_eq!(wire, expected, "{content:?} at {split}");
            }
            let (mut stuffer, mut wire) = (Stuffer::new(), Vec::new());
            content
                .chunks(1)
                .for_each(|byte| stuffer.stuff(byte, &mut wire));
            stuffer.finish(&mut wire);
            assert_eq!(wire, expected, "{content:?} byte by byte");
        }
    }
}
