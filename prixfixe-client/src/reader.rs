//! Reads replies out of pieces of any size (RFC 5321 section 4.2).

use memchr::memchr;

use crate::Reply;
use crate::error::Malformed;
use crate::reply::Safe;

/// The longest reply line that is read, line end included.
///
/// RFC 5321 section 4.5.3.1.5 allows 512 bytes; servers that exceed it are common.
pub const MAX_REPLY_LINE: usize = 4096;
/// The largest number of lines of a reply.
pub const MAX_REPLY_LINES: usize = 1000;
/// How much of a reply's text is kept. What is over it is read and left out.
pub const MAX_REPLY_TEXT: usize = 8192;
/// How much of a malformed line is kept.
const KEPT: usize = 160;

/// Reads replies out of what a server sends, however that is cut.
///
/// For whoever says commands by hand, as probes and tests do.
/// A [`Connection`](crate::Connection) has one of its own.
/// A line is at most [`MAX_REPLY_LINE`] bytes, a reply at most [`MAX_REPLY_LINES`] lines, of which
/// [`MAX_REPLY_TEXT`] bytes are kept.
///
/// ```
/// use prixfixe_client::ReplyReader;
///
/// let mut replies = ReplyReader::new();
/// let mut received: &[u8] = b"250-mx.example\r\n250 SIZE 1000\r\n550 5.1";
/// let reply = replies.next_reply(&mut received)?.expect("a whole reply");
/// assert_eq!(reply.code(), 250);
/// assert!(reply.lines().eq([b"mx.example", &b"SIZE 1000"[..]]));
/// // The next one is not whole yet.
/// assert_eq!(replies.next_reply(&mut received)?, None);
/// let mut received: &[u8] = b".1 no such user\r\n";
/// let reply = replies.next_reply(&mut received)?.expect("the rest of it");
/// assert_eq!(reply.to_string(), "550 5.1.1 no such user");
/// # Ok::<(), prixfixe_client::Malformed>(())
/// ```
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// The text of the lines so far, separated by line feeds.
    text: Vec<u8>,
    /// Where in `text` the last line begins.
    last: usize,
    lines: usize,
    code: u16,
    /// The next line begins another reply.
    is_complete: bool,
}

/// One line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The first line of its reply.
    pub(crate) first: bool,
    /// The last line of its reply.
    pub(crate) last: bool,
}

impl ReplyReader {
    /// Before the first reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input`, up to the end of one reply. `None`: all of them were
    /// taken, and the reply goes on.
    ///
    /// # Errors
    ///
    /// What comes is no reply. Nothing that follows it can be trusted to be one.
    pub fn next_reply(&mut self, input: &mut &[u8]) -> Result<Option<Reply<'_>>, Malformed> {
        loop {
            match self.next_line(input)? {
                Some(line) if line.last => return Ok(Some(self.reply())),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// A reply has begun whose end has not come.
    #[must_use]
    pub fn is_within_reply(&self) -> bool {
        !self.partial.is_empty() || (self.lines > 0 && !self.is_complete)
    }

    /// Takes one line from the front of `input`. `None`: all of it was taken and the line goes on.
    pub(crate) fn next_line(&mut self, input: &mut &[u8]) -> Result<Option<Line>, Malformed> {
        let end = memchr(b'\n', input);
        let (piece, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        *input = rest;
        if self.partial.len() + piece.len() > MAX_REPLY_LINE {
            self.partial
                .extend_from_slice(piece.get(..KEPT).unwrap_or(piece));
            return Err(Malformed::LineTooLong);
        }
        if end.is_some() && self.partial.is_empty() {
            let finished = self.finish_line(piece);
            if finished.is_err() {
                self.partial.extend_from_slice(piece);
            }
            return finished.map(Some);
        }
        self.partial.extend_from_slice(piece);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.partial);
        let finished = self.finish_line(&line);
        if finished.is_ok() {
            line.clear();
        }
        self.partial = line;
        finished.map(Some)
    }

    /// The beginning of the line that was malformed.
    pub(crate) fn excerpt(&self) -> String {
        let line = self
            .partial
            .get(..KEPT)
            .unwrap_or(&self.partial)
            .trim_ascii_end();
        Safe(line).to_string()
    }

    /// The reply of which the last line was read.
    pub(crate) fn reply(&self) -> Reply<'_> {
        Reply::new(self.code, &self.text)
    }

    /// The text of the line last read; empty when not all of it was kept.
    pub(crate) fn last_line(&self) -> &[u8] {
        self.text.get(self.last..).unwrap_or_default()
    }

    fn finish_line(&mut self, line: &[u8]) -> Result<Line, Malformed> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let [
            first @ b'2'..=b'5',
            second @ b'0'..=b'9',
            third @ b'0'..=b'9',
            rest @ ..,
        ] = line
        else {
            return Err(Malformed::NotAReply);
        };
        let (last, text) = match rest.split_first() {
            Some((b'-', text)) => (false, text),
            Some((b' ', text)) => (true, text),
            // RFC 5321 section 4.2: a client takes a code without text too.
            None => (true, rest),
            _ => return Err(Malformed::NotAReply),
        };
        let digit = |byte: &u8| u16::from(byte - b'0');
        let code = digit(first) * 100 + digit(second) * 10 + digit(third);
        let is_first = self.lines == 0 || self.is_complete;
        if is_first {
            // Within the bound, as the line is within its own.
            self.text.clear();
            self.text.extend_from_slice(text);
            (self.last, self.lines, self.code) = (0, 1, code);
        } else {
            self.append(code, text)?;
        }
        self.is_complete = last;
        Ok(Line {
            first: is_first,
            last,
        })
    }

    /// Another line of the reply.
    fn append(&mut self, code: u16, text: &[u8]) -> Result<(), Malformed> {
        if code != self.code {
            return Err(Malformed::Codes);
        }
        if self.lines >= MAX_REPLY_LINES {
            return Err(Malformed::TooManyLines);
        }
        self.lines += 1;
        if self.text.len() < MAX_REPLY_TEXT {
            self.text.push(b'\n');
        }
        self.last = self.text.len();
        match text.get(..MAX_REPLY_TEXT.saturating_sub(self.last)) {
            Some(part) if part.len() < text.len() => {
                self.text.extend_from_slice(part);
                // Half a line would be another keyword, or another number.
                self.last = self.text.len();
            }
            _ => self.text.extend_from_slice(text),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line with its text, and each reply as it is shown.
    fn read(pieces: &[&[u8]]) -> Result<Vec<(Line, String, String)>, Malformed> {
        let mut reader = ReplyReader::default();
        let mut lines = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while !input.is_empty() {
                if let Some(line) = reader.next_line(&mut input)? {
                    let text = String::from_utf8_lossy(reader.last_line()).into_owned();
                    lines.push((line, text, reader.reply().to_string()));
                }
            }
        }
        Ok(lines)
    }

    #[test]
    fn every_splitting_gives_the_same_lines() {
        let whole: &[u8] = b"250-mx.example\r\n250-SIZE 1000\r\n250 HELP\r\n354\r\n250 2.0.0 OK\n";
        let expected = read(&[whole]).unwrap();
        let replies: Vec<_> = expected
            .iter()
            .filter(|(line, ..)| line.last)
            .map(|(.., reply)| reply.as_str())
            .collect();
        assert_eq!(
            replies,
            ["250 mx.example SIZE 1000 HELP", "354", "250 2.0.0 OK"]
        );
        let firsts: Vec<_> = expected.iter().map(|(line, ..)| line.first).collect();
        assert_eq!(firsts, [true, false, false, true, true]);
        assert_eq!(expected[1].1, "SIZE 1000");
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
    fn replies_come_one_by_one_from_every_splitting() {
        let whole: &[u8] = b"220 mx\r\n250-mx\r\n250 HELP\r\n354\r\n221 bye\n";
        for split in 0..=whole.len() {
            let mut reader = ReplyReader::new();
            let mut replies = Vec::new();
            let mut received = 0;
            for mut input in [&whole[..split], &whole[split..]] {
                received += input.len();
                while let Some(reply) = reader.next_reply(&mut input).unwrap() {
                    replies.push(reply.to_string());
                }
                assert!(input.is_empty());
                let ends = [0, 8, 26, 31, whole.len()];
                let at_end = received == ends[replies.len()];
                assert_eq!(reader.is_within_reply(), !at_end, "{split}");
            }
            assert_eq!(replies, ["220 mx", "250 mx HELP", "354", "221 bye"]);
        }
        let mut reader = ReplyReader::new();
        assert_eq!(
            reader
                .next_reply(&mut &b"220 mx\r\n250-a\r\n550 b\r\n"[..])
                .unwrap()
                .unwrap()
                .code(),
            220
        );
        assert_eq!(
            reader.next_reply(&mut &b"250-a\r\n550 b\r\n"[..]),
            Err(Malformed::Codes)
        );
    }

    #[test]
    fn what_is_no_reply_is_malformed() {
        for input in [
            "hello\r\n",
            "20\r\n",
            "150 x\r\n",
            "600 x\r\n",
            "2500 x\r\n",
            "\r\n",
            "250\tx\r\n",
            "250\r\r\n",
        ] {
            assert_eq!(
                read(&[input.as_bytes()]),
                Err(Malformed::NotAReply),
                "{input:?}"
            );
        }
        assert_eq!(read(&[b"250-a\r\n550 b\r\n"]), Err(Malformed::Codes));
        let mut endless = vec![b'2'; MAX_REPLY_LINE];
        assert_eq!(read(&[&endless]), Ok(vec![]));
        endless.push(b'2');
        assert_eq!(read(&[&endless]), Err(Malformed::LineTooLong));
        let flood = "250-more\r\n".repeat(MAX_REPLY_LINES + 1);
        assert_eq!(read(&[flood.as_bytes()]), Err(Malformed::TooManyLines));
    }

    #[test]
    fn what_is_kept_is_bounded_and_every_line_is_still_counted() {
        let line = format!("250-{}\r\n", "x".repeat(1000));
        let flood = line.repeat(900) + "250 end\r\n";
        let mut reader = ReplyReader::default();
        let mut input = flood.as_bytes();
        while reader
            .next_line(&mut input)
            .unwrap()
            .is_some_and(|line| !line.last)
        {}
        assert!(input.is_empty());
        assert_eq!(
            reader.reply().lines().map(<[u8]>::len).sum::<usize>(),
            MAX_REPLY_TEXT - 8
        );
        assert!(reader.text.capacity() <= 2 * MAX_REPLY_TEXT);
    }
}
