//! Reads replies as they arrive, without allocation.

use memchr::memchr;

/// RFC 5321 section 4.5.3.1.5 allows 512 octets a reply line; servers that exceed it are common enough.
const MAX_LINE: usize = 4096;
/// A reply with more lines than this is no reply that we wait for to end.
const MAX_LINES: u32 = 1000;
/// How much of a line is kept: enough for every EHLO keyword and for telling a person what was said.
const KEPT: usize = 160;

/// Reads reply lines out of pieces of any size (RFC 5321 section 4.2).
#[derive(Debug)]
pub(crate) struct ReplyReader {
    line: [u8; KEPT],
    kept: usize,
    seen: usize,
    /// Lines of the reply under way so far.
    lines: u32,
    code: u16,
}

/// One line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) code: u16,
    /// False for the lines of a multi-line reply that others follow.
    pub(crate) last: bool,
}

/// What was read is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Garbage;

impl ReplyReader {
    pub(crate) const fn new() -> Self {
        Self {
            line: [0; KEPT],
            kept: 0,
            seen: 0,
            lines: 0,
            code: 0,
        }
    }

    /// Takes one line from the front of `input`. `None`: all of it was taken and the line goes on.
    pub(crate) fn next_line(&mut self, input: &mut &[u8]) -> Result<Option<Line>, Garbage> {
        let starts = self.seen == 0;
        let end = memchr(b'\n', input);
        let (piece, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        *input = rest;
        if starts {
            self.kept = 0;
        }
        self.seen += piece.len();
        if self.seen > MAX_LINE {
            return Err(Garbage);
        }
        let room = self.line.get_mut(self.kept..).unwrap_or_default();
        let count = piece.len().min(room.len());
        if let (Some(room), Some(piece)) = (room.get_mut(..count), piece.get(..count)) {
            room.copy_from_slice(piece);
        }
        self.kept += count;
        if end.is_none() {
            return Ok(None);
        }
        self.seen = 0;
        self.finish_line().map(Some)
    }

    /// The text of the line last read: what follows the code.
    pub(crate) fn text(&self) -> &[u8] {
        self.line
            .get(4..self.kept)
            .unwrap_or_default()
            .trim_ascii_end()
    }

    /// The line last read, or as much of it as there is, fit for a report.
    pub(crate) fn quote(&self) -> String {
        let line = self
            .line
            .get(..self.kept)
            .unwrap_or_default()
            .trim_ascii_end();
        let text = String::from_utf8_lossy(line);
        text.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect()
    }

    fn finish_line(&mut self) -> Result<Line, Garbage> {
        let line = self.line.get(..self.kept).unwrap_or_default();
        let [
            first @ b'2'..=b'5',
            second @ b'0'..=b'9',
            third @ b'0'..=b'9',
            rest @ ..,
        ] = line
        else {
            return Err(Garbage);
        };
        let last = match rest.first() {
            Some(b'-') => false,
            // A code alone is a reply too: "the text is optional" for a receiver of replies.
            Some(b' ' | b'\r' | b'\n') => true,
            _ => return Err(Garbage),
        };
        let digit = |byte: &u8| u16::from(byte - b'0');
        let code = digit(first) * 100 + digit(second) * 10 + digit(third);
        if self.lines > 0 && code != self.code || self.lines >= MAX_LINES {
            return Err(Garbage);
        }
        self.code = code;
        self.lines = if last { 0 } else { self.lines + 1 };
        Ok(Line { code, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Line>, Garbage> {
        let mut reader = ReplyReader::new();
        let mut lines = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while !input.is_empty() {
                lines.extend(reader.next_line(&mut input)?);
            }
        }
        Ok(lines)
    }

    #[test]
    fn every_splitting_gives_the_same_lines() {
        let whole: &[u8] = b"250-mx.example\r\n250-SIZE 1000\r\n250 HELP\r\n354\r\n250 2.0.0 OK\n";
        let expected = read(&[whole]).unwrap();
        assert_eq!(
            expected.iter().map(|line| line.code).collect::<Vec<_>>(),
            [250, 250, 250, 354, 250]
        );
        assert_eq!(
            expected.iter().map(|line| line.last).collect::<Vec<_>>(),
            [false, false, true, true, true]
        );
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let pieces = [&whole[..first], &whole[first..second], &whole[second..]];
                assert_eq!(
                    read(&pieces).unwrap(),
                    expected,
                    "split at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_garbage() {
        for input in [
            "hello\r\n",
            "20\r\n",
            "150 x\r\n",
            "600 x\r\n",
            "2500 x\r\n",
            "\r\n",
            "250-a\r\n550 b\r\n",
        ] {
            assert_eq!(read(&[input.as_bytes()]), Err(Garbage), "{input:?}");
        }
        let mut endless = vec![b'2'; MAX_LINE];
        assert_eq!(read(&[&endless]), Ok(vec![]));
        endless.push(b'2');
        assert_eq!(read(&[&endless]), Err(Garbage));
        let flood = "250-more\r\n".repeat(MAX_LINES as usize + 1);
        assert_eq!(read(&[flood.as_bytes()]), Err(Garbage));
    }

    #[test]
    fn text_is_what_follows_the_code_and_is_safe_to_print() {
        let mut reader = ReplyReader::new();
        reader
            .next_line(&mut &b"550 5.7.1 \x1b[31mno\r\n"[..])
            .unwrap();
        assert_eq!(reader.text(), b"5.7.1 \x1b[31mno");
        assert_eq!(reader.quote(), "550 5.7.1 \u{fffd}[31mno");
        let long = format!("250 {}\r\n", "x".repeat(1000));
        let line = reader.next_line(&mut long.as_bytes()).unwrap();
        assert_eq!(
            line,
            Some(Line {
                code: 250,
                last: true
            })
        );
        assert_eq!(reader.text().len(), KEPT - 4);
    }
}
