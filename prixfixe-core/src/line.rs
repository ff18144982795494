//! Finds the lines in which commands come.

use memchr::{memchr, memchr2};

/// The longest command line, in octets, CR LF included. RFC 5321 section 4.5.3.1.4 asks for 512 and
/// more where extensions make lines longer; this is room for all of them.
pub const MAX_LINE: usize = 2048;

/// The longest line of a login behind AUTH, in octets, CR LF included (RFC 4954 section 4).
pub const MAX_LOGIN_LINE: usize = 12_288;

/// Finds lines at the front of an input that grows, and looks at no octet twice.
///
/// A line ends with CR LF and nothing else. Inside a line, neither may stand alone: the line is
/// refused as soon as that is seen, and the rest of it, up to its CR LF, is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineReader {
    /// So many octets at the front of the input were searched, in vain.
    Searching { searched: usize },
    /// The line was refused, its end is still to come.
    Skipping { after_cr: bool },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineError {
    TooLong,
    BareCrOrLf,
}

impl LineReader {
    pub(crate) const fn new() -> Self {
        Self::Searching { searched: 0 }
    }

    /// The end of a refused line is still to come.
    pub(crate) const fn is_skipping(self) -> bool {
        matches!(self, Self::Skipping { .. })
    }

    /// Takes what is left of a refused line from the front of the input. False: its end is still to
    /// come.
    pub(crate) fn skip(&mut self, input: &mut &[u8]) -> bool {
        if let Self::Skipping { after_cr } = self {
            if !skip(after_cr, input) {
                return false;
            }
            *self = Self::new();
        }
        true
    }

    /// Takes a line from the front of the input; gives it without its CR LF. `None`: it is not
    /// complete.
    pub(crate) fn read<'i>(&mut self, input: &mut &'i [u8]) -> Option<Result<&'i [u8], LineError>> {
        self.read_up_to(MAX_LINE, input)
    }

    /// As [`read`](Self::read), with another limit.
    pub(crate) fn read_up_to<'i>(
        &mut self,
        limit: usize,
        input: &mut &'i [u8],
    ) -> Option<Result<&'i [u8], LineError>> {
        if !self.skip(input) {
            return None;
        }
        let Self::Searching { searched } = *self else {
            return None;
        };
        let window = input.get(..limit).unwrap_or(input);
        let found = memchr2(b'\r', b'\n', window.get(searched..)?).map(|at| searched + at);
        let first = found.unwrap_or(window.len());
        match (window.get(first), window.get(first + 1)) {
            (Some(b'\r'), Some(b'\n')) => {
                let (line, _) = window.split_at_checked(first)?;
                *input = input.get(first + 2..)?;
                *self = Self::new();
                Some(Ok(line))
            }
            (Some(b'\r'), Some(_)) => self.refuse(LineError::BareCrOrLf, first + 1, input),
            (Some(b'\n'), _) => self.refuse(LineError::BareCrOrLf, first + 1, input),
            _ if window.len() == limit => self.refuse(LineError::TooLong, limit, input),
            _ => {
                *self = Self::Searching { searched: first };
                None
            }
        }
    }

    /// Gives up the line after so many octets. The CR that they may end with may begin the line's
    /// end.
    fn refuse<'i>(
        &mut self,
        error: LineError,
        octets: usize,
        input: &mut &'i [u8],
    ) -> Option<Result<&'i [u8], LineError>> {
        let (refused, rest) = input.split_at_checked(octets)?;
        *self = Self::Skipping {
            after_cr: refused.last() == Some(&b'\r'),
        };
        *input = rest;
        Some(Err(error))
    }
}

/// Takes octets from the front of the input up to and with the next CR LF; true when it was found.
fn skip(after_cr: &mut bool, input: &mut &[u8]) -> bool {
    while let Some(at) = memchr(b'\n', input) {
        let ends = match at.checked_sub(1) {
            Some(before) => input.get(before) == Some(&b'\r'),
            None => *after_cr,
        };
        *after_cr = false;
        *input = input.get(at + 1..).unwrap_or_default();
        if ends {
            return true;
        }
    }
    if let Some(last) = input.last() {
        *after_cr = *last == b'\r';
    }
    *input = &[];
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = Vec<Result<Vec<u8>, LineError>>;

    /// What comes out when the input grows by the pieces.
    fn read(pieces: &[&[u8]]) -> (Lines, Vec<u8>) {
        let mut reader = LineReader::new();
        let mut lines = Vec::new();
        let mut held = Vec::new();
        for piece in pieces {
            held.extend_from_slice(piece);
            let mut input = held.as_slice();
            while let Some(line) = reader.read(&mut input) {
                lines.push(line.map(<[u8]>::to_vec));
            }
            held = input.to_vec();
        }
        (lines, held)
    }

    /// The truth, slowly: the lines end at each CR LF; the first CR or LF that stands alone spoils
    /// a line.
    fn oracle(text: &[u8]) -> Lines {
        let mut lines = Vec::new();
        let mut rest = text;
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n");
            let line = &rest[..end.unwrap_or(rest.len())];
            // Without an end, a CR that comes last may yet be half of it.
            let seen = if end.is_none() {
                line.strip_suffix(b"\r").unwrap_or(line)
            } else {
                line
            };
            let bare = seen.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let too_long = line.len() > MAX_LINE - 2 && (end.is_some() || line.len() >= MAX_LINE);
            match (bare, end) {
                (Some(at), _) if at < MAX_LINE - 1 || (at < MAX_LINE && seen[at] == b'\n') => {
                    lines.push(Err(LineError::BareCrOrLf));
                }
                _ if too_long => lines.push(Err(LineError::TooLong)),
                (_, Some(_)) => lines.push(Ok(line.to_vec())),
                (_, None) => {}
            }
            match end {
                Some(end) => rest = &rest[end + 2..],
                None => return lines,
            }
        }
    }

    #[test]
    fn every_short_text_reads_the_same_at_every_cut_and_as_the_oracle_has_it() {
        for length in 0..=7 {
            for number in 0..3_usize.pow(length) {
                let text: Vec<u8> = (0..length)
                    .map(|place| b"\r\nx"[number / 3_usize.pow(place) % 3])
                    .collect();
                let expected = oracle(&text);
                for cut in 0..=text.len() {
                    let (first, second) = text.split_at(cut);
                    assert_eq!(read(&[first, second]).0, expected, "{text:?} at {cut}");
                }
                let bytewise: Vec<_> = text.chunks(1).collect();
                assert_eq!(read(&bytewise).0, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn a_line_has_at_most_2048_octets_with_its_end() {
        for length in MAX_LINE - 5..=MAX_LINE + 5 {
            for end in ["\r\n", "\r", "\n", "\r\r\n", "\n\r\n", ""] {
                let text = format!("{}{end}", "x".repeat(length));
                let expected = oracle(text.as_bytes());
                let bytewise: Vec<_> = text.as_bytes().chunks(1).collect();
                assert_eq!(read(&[text.as_bytes()]).0, expected, "{length} {end:?}");
                assert_eq!(read(&bytewise).0, expected, "{length} {end:?}");
            }
        }
        let (lines, _) = read(&[format!("{}\r\n", "x".repeat(2046)).as_bytes()]);
        assert!(lines[0].is_ok());
        let (lines, _) = read(&[format!("{}\r\n", "x".repeat(2047)).as_bytes()]);
        assert_eq!(lines, [Err(LineError::TooLong)]);
    }

    /// RFC 4954 section 4: the line of a login ends at the same octet, wherever it is cut.
    #[test]
    fn another_limit_is_kept_as_exactly() {
        for (length, is_good) in [
            (12_285, true),
            (12_286, true),
            (12_287, false),
            (20_000, false),
        ] {
            let text = format!("{}\r\nNOOP\r\n", "x".repeat(length));
            for cut in [1, 12_285, 12_286, 12_287, 12_288, 12_289] {
                let mut reader = LineReader::new();
                let mut first = None;
                let (early, _) = text.split_at(cut);
                for held in [early, &text] {
                    let mut input = held.as_bytes();
                    if first.is_none() {
                        first = reader.read_up_to(MAX_LOGIN_LINE, &mut input);
                    }
                }
                let expected = match is_good {
                    true => Ok(&text.as_bytes()[..length]),
                    false => Err(LineError::TooLong),
                };
                assert_eq!(first, Some(expected), "{length} at {cut}");
            }
        }
    }

    #[test]
    fn what_is_held_of_a_line_is_bounded() {
        let mut reader = LineReader::new();
        let mut held = Vec::new();
        for _ in 0..10_000 {
            held.push(b'x');
            let mut input = held.as_slice();
            while reader.read(&mut input).is_some() {}
            held = input.to_vec();
            assert!(held.len() < MAX_LINE);
        }
    }
}
