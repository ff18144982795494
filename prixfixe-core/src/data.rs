//! The body that DATA brings: where it ends, and which dots are not part of it (RFC 5321 section 4.5.2).
//!
//! Only CR LF . CR LF ends a body. Implementations that were content with less, or that kept the last few
//! bytes in loose variables, could be made to see an end where others see none, and so to take the rest of
//! a mail for a second one. Here the reader is always in one of five states, each byte moves it by one row
//! of a table, and a bare CR or LF is told to the caller, who refuses the message after its true end.

use crate::scan::{self, Look};

/// Reads a body, starting behind the CR LF of the DATA command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DotReader {
    state: State,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read<'i> {
    /// The input is used up, the body goes on.
    More,
    /// Content, never empty.
    Content(&'i [u8]),
    /// There is a bare CR or a bare LF here. The body goes on, its content has lost its meaning.
    Bare,
    /// The body is complete. The input begins with what follows it.
    End,
}

/// What stands directly before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The start of the body, or CR LF.
    LineStart,
    /// Something else within a line.
    Text,
    /// CR.
    Cr,
    /// A dot at the start of a line.
    Dot,
    /// A dot at the start of a line, then CR.
    DotCr,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Byte {
    Content,
    /// Not part of the content: a transparency dot, or the CR of the end.
    Dropped,
    /// It shows that it, or the CR before it, is bare.
    Bare,
    /// The LF of the end.
    End,
}

impl DotReader {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::LineStart,
        }
    }

    /// Takes from the front of the input up to the next thing worth telling.
    pub(crate) fn read<'i>(&mut self, input: &mut &'i [u8]) -> Read<'i> {
        let bytes = *input;
        let mut start = 0;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let (state, kind) = self.state.next(byte);
            // Content goes first; this byte is looked at again by the next call.
            if matches!(kind, Byte::Dropped | Byte::Bare) && at > start {
                break;
            }
            self.state = state;
            at += 1;
            match kind {
                Byte::Content => {}
                Byte::Dropped => start = at,
                Byte::Bare | Byte::End => {
                    *input = bytes.get(at..).unwrap_or_default();
                    return if kind == Byte::End {
                        Read::End
                    } else {
                        Read::Bare
                    };
                }
            }
            if self.state.is_settled() {
                at += self.skip(bytes.get(at - 1..).unwrap_or_default());
            }
        }
        *input = bytes.get(at..).unwrap_or_default();
        match bytes.get(start..at) {
            Some(content) if !content.is_empty() => Read::Content(content),
            _ => Read::More,
        }
    }

    /// Moves over clean text behind the first byte, which was read already.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let clean = scan::clean(bytes, Look::LineEndsAndDots);
        if clean > 0 {
            // In clean text the last byte alone tells where the automaton would stand.
            self.state = match bytes.get(clean) {
                Some(b'\r') => State::Cr,
                Some(b'\n') => State::LineStart,
                _ => State::Text,
            };
        }
        clean
    }
}

impl State {
    /// The table.
    const fn next(self, byte: u8) -> (Self, Byte) {
        match (self, byte) {
            (Self::LineStart, b'.') => (Self::Dot, Byte::Dropped),
            (Self::Dot, b'\r') => (Self::DotCr, Byte::Dropped),
            (Self::LineStart | Self::Text, b'\r') => (Self::Cr, Byte::Content),
            (Self::LineStart | Self::Text | Self::Dot, b'\n') => (Self::Text, Byte::Bare),
            (Self::LineStart | Self::Text | Self::Dot, _) => (Self::Text, Byte::Content),

            (Self::Cr, b'\n') => (Self::LineStart, Byte::Content),
            (Self::DotCr, b'\n') => (Self::LineStart, Byte::End),
            (Self::Cr | Self::DotCr, b'\r') => (Self::Cr, Byte::Bare),
            (Self::Cr | Self::DotCr, _) => (Self::Text, Byte::Bare),
        }
    }

    /// What was read up to here has been told: the fast scan may take over.
    const fn is_settled(self) -> bool {
        matches!(self, Self::LineStart | Self::Text | Self::Cr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text means as the body of DATA.
    #[derive(Debug, PartialEq, Eq)]
    struct Meaning {
        /// Without dots; `None` if there is a bare CR or LF.
        content: Option<Vec<u8>>,
        ended: bool,
        rest: Vec<u8>,
    }

    /// The truth, slowly: the end is the first CR LF . CR LF, of which the first CR LF may be that of the
    /// command before; each line of what stands before it loses a dot at its start.
    fn oracle(text: &[u8]) -> Meaning {
        let with_start = [b"\r\n", text].concat();
        let end = with_start.windows(5).position(|five| five == b"\r\n.\r\n");
        let (body, rest) = match end {
            Some(end) => (&with_start[2..(end + 2).max(2)], &with_start[end + 5..]),
            None => (&with_start[2..], &b""[..]),
        };
        let is_bare = |at: usize| match body[at] {
            b'\r' => body.get(at + 1) != Some(&b'\n') && !(end.is_none() && at + 1 == body.len()),
            b'\n' => at == 0 || body[at - 1] != b'\r',
            _ => false,
        };
        let mut content = Vec::new();
        for (at, &byte) in body.iter().enumerate() {
            let at_line_start = at == 0 || body[..at].ends_with(b"\r\n");
            if byte != b'.' || !at_line_start {
                content.push(byte);
            }
        }
        // Without an end, what may yet become one has not been told to anyone.
        if end.is_none() && (body == b".\r" || body.ends_with(b"\r\n.\r")) {
            content.pop();
        }
        Meaning {
            content: (!(0..body.len()).any(is_bare)).then_some(content),
            ended: end.is_some(),
            rest: rest.to_vec(),
        }
    }

    /// What the reader makes of the text when it arrives in these pieces.
    fn read(pieces: &[&[u8]]) -> Meaning {
        let mut reader = DotReader::new();
        let mut content = Some(Vec::new());
        for (number, piece) in pieces.iter().enumerate() {
            let mut input = *piece;
            loop {
                match reader.read(&mut input) {
                    Read::More => break,
                    Read::Content(piece) => {
                        assert!(!piece.is_empty());
                        if let Some(content) = &mut content {
                            content.extend_from_slice(piece);
                        }
                    }
                    Read::Bare => content = None,
                    Read::End => {
                        let rest = [&[input], &pieces[number + 1..]].concat().concat();
                        return Meaning {
                            content,
                            ended: true,
                            rest,
                        };
                    }
                }
            }
            assert!(input.is_empty());
        }
        Meaning {
            content,
            ended: false,
            rest: Vec::new(),
        }
    }

    /// All texts of so many bytes over `. CR LF x`.
    fn texts(length: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..4_usize.pow(length)).map(move |number| {
            (0..length)
                .map(|place| b".\r\nx"[number >> (2 * place) & 3])
                .collect()
        })
    }

    #[test]
    fn every_text_of_up_to_nine_bytes_means_what_the_oracle_says_at_every_cut() {
        for text in (0..=9).flat_map(texts) {
            let expected = oracle(&text);
            // At nine bytes, the start, the middle and the end will do.
            for cut in (0..=text.len()).step_by(if text.len() < 9 { 1 } else { 4 }) {
                let (first, second) = text.split_at(cut);
                assert_eq!(read(&[first, second]), expected, "{text:?} cut at {cut}");
            }
            let mut bytes = [&[][..]; 9];
            for (byte, place) in text.chunks(1).zip(&mut bytes) {
                *place = byte;
            }
            assert_eq!(read(&bytes), expected, "{text:?} byte by byte");
        }
    }

    /// Long enough for the fast scan to take part, with every short text at every place of its blocks.
    #[test]
    fn every_short_text_within_a_long_one_means_what_the_oracle_says() {
        let line = b"seventy octets of text, or thereabouts, that end in the proper way\r\n";
        let long = line.repeat(3);
        for text in texts(5) {
            for place in (0..72).step_by(3).chain([15, 16, 17, 63, 64, 65, 130]) {
                let (before, after) = long.split_at(place);
                let text = [before, &text, after, b"\r\n.\r\nQUIT\r\n"].concat();
                let expected = oracle(&text);
                assert!(expected.ended);
                assert_eq!(
                    read(&[&text]),
                    expected,
                    "{:?}",
                    String::from_utf8_lossy(&text)
                );
            }
        }
    }

    #[test]
    fn clean_text_leaves_in_one_piece() {
        let text =
            b"seventy octets of text, or thereabouts, that end in the proper way\r\n".repeat(1000);
        let mut input = text.as_slice();
        assert_eq!(DotReader::new().read(&mut input), Read::Content(&text));
    }

    /// Each of these once ended a message in a server that others relay through.
    #[test]
    fn look_alikes_do_not_end_a_body() {
        for look_alike in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\r",
            "\r\n.\r\r\n",
            "\r\n\0.\r\n",
            "\r\n. \r\n",
        ] {
            let text = format!("x{look_alike}MAIL FROM:<a@b>\r\n.\r\nrest");
            let meaning = read(&[text.as_bytes()]);
            assert_eq!(meaning.rest, b"rest", "{look_alike:?}");
            let sound = look_alike.starts_with("\r\n\0") || look_alike.starts_with("\r\n. ");
            assert_eq!(meaning.content.is_some(), sound, "{look_alike:?}");
        }
    }
}
