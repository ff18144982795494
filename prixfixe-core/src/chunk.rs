//! The pieces of a body that BDAT brings: counted, never searched for an end (RFC 3030 section 2).

use crate::scan::{self, Look};

/// How much of a chunk is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    remaining: u64,
    last: bool,
}

impl Chunk {
    pub(crate) const fn new(size: u64, last: bool) -> Self {
        Self {
            remaining: size,
            last,
        }
    }

    /// Takes from the front of the input what belongs to the chunk.
    pub(crate) fn read<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        let piece = self.of(input);
        self.take(piece.len(), input);
        piece
    }

    /// What of the input belongs to the chunk.
    pub(crate) fn of<'i>(&self, input: &'i [u8]) -> &'i [u8] {
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        input.get(..count).unwrap_or(input)
    }

    /// So many octets of the chunk are taken from the front of the input.
    pub(crate) fn take(&mut self, count: usize, input: &mut &[u8]) {
        *input = input.get(count..).unwrap_or_default();
        self.remaining = self.remaining.saturating_sub(count as u64);
    }

    pub(crate) const fn is_complete(self) -> bool {
        self.remaining == 0
    }

    /// The octets still to come.
    pub(crate) const fn remaining(self) -> u64 {
        self.remaining
    }

    /// No other chunk follows.
    pub(crate) const fn is_last(self) -> bool {
        self.last
    }
}

/// Looks for a bare CR or LF in pieces of a text, whatever the places where it was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LineEnds {
    after_cr: bool,
}

impl LineEnds {
    /// How much of the piece stands before the first fault; its whole length if there is none.
    pub(crate) fn sound_prefix(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if self.after_cr != (byte == b'\n') {
                return at;
            }
            at += scan::clean(piece.get(at..).unwrap_or_default(), Look::LineEnds);
            self.after_cr = piece.get(at) == Some(&b'\r');
            at += 1;
        }
        piece.len()
    }

    /// Takes from the front of the text, and gives that with each bare CR and LF made CR LF. Empty:
    /// the text is.
    ///
    /// A CR is given before it is known whether it is bare; what is missing then comes next.
    pub(crate) fn repair<'i>(&mut self, text: &mut &'i [u8]) -> &'i [u8] {
        match *text {
            [] => return &[],
            [byte, ..] if self.after_cr && *byte != b'\n' => {
                self.after_cr = false;
                return b"\n";
            }
            [b'\n', behind @ ..] if !self.after_cr => {
                *text = behind;
                return b"\r\n";
            }
            _ => {}
        }
        let sound = self.sound_prefix(text);
        let (run, rest) = text.split_at_checked(sound).unwrap_or_default();
        *text = rest;
        run
    }

    /// The text ends here: gives what is missing behind a CR at its end.
    pub(crate) fn end(&mut self) -> &'static [u8] {
        match std::mem::take(&mut self.after_cr) {
            true => b"\n",
            false => &[],
        }
    }

    /// The text ends here: a CR at its end is bare.
    pub(crate) const fn ends_sound(self) -> bool {
        !self.after_cr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The truth, slowly.
    fn is_sound(text: &[u8]) -> bool {
        let at = |at: usize| text.get(at).copied();
        (0..text.len()).all(|here| match at(here) {
            Some(b'\r') => at(here + 1) == Some(b'\n'),
            Some(b'\n') => here > 0 && at(here - 1) == Some(b'\r'),
            _ => true,
        })
    }

    fn reads_as_sound(pieces: &[&[u8]]) -> bool {
        let mut line_ends = LineEnds::default();
        pieces
            .iter()
            .all(|piece| line_ends.sound_prefix(piece) == piece.len())
            && line_ends.ends_sound()
    }

    #[test]
    fn a_bare_cr_or_lf_is_found_wherever_the_text_is_cut() {
        for length in 0..=7 {
            for number in 0..3_usize.pow(length) {
                let text: Vec<u8> = (0..length)
                    .map(|place| b"\r\nx"[number / 3_usize.pow(place) % 3])
                    .collect();
                for cut in 0..=text.len() {
                    let (first, second) = text.split_at(cut);
                    assert_eq!(
                        reads_as_sound(&[first, second]),
                        is_sound(&text),
                        "{text:?} at {cut}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_text_is_repaired_wherever_it_is_cut() {
        for length in 0..=7 {
            for number in 0..3_usize.pow(length) {
                let text: Vec<u8> = (0..length)
                    .map(|place| b"\r\nx"[number / 3_usize.pow(place) % 3])
                    .collect();
                // The truth, slowly.
                let parts = text.split_inclusive(|byte| *byte == b'\n');
                let expected: Vec<u8> = parts
                    .flat_map(|part| match part {
                        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => [line, &b"\n"[..]],
                        line => [line, &b""[..]],
                    })
                    .flat_map(|part| {
                        part.split(|byte| *byte == b'\r')
                            .collect::<Vec<_>>()
                            .join(&b"\n"[..])
                    })
                    .flat_map(|byte| match byte {
                        b'\n' => b"\r\n".to_vec(),
                        byte => vec![byte],
                    })
                    .collect();
                for cut in 0..=text.len() {
                    let (first, second) = text.split_at(cut);
                    let mut line_ends = LineEnds::default();
                    let mut repaired = Vec::new();
                    for mut piece in [first, second] {
                        while !piece.is_empty() {
                            let run = line_ends.repair(&mut piece);
                            assert!(!run.is_empty());
                            repaired.extend_from_slice(run);
                        }
                    }
                    repaired.extend_from_slice(line_ends.end());
                    assert_eq!(repaired, expected, "{text:?} at {cut}");
                    assert!(reads_as_sound(&[&repaired]));
                }
            }
        }
    }

    #[test]
    fn a_fault_is_found_at_every_place_of_a_long_text() {
        for length in (0..40).chain(60..90).chain(125..135) {
            let text =
                b"seventy octets of text, or thereabouts, that end in the proper way\r\n".repeat(5);
            let (text, _) = text.split_at(length);
            for fault in [b'\r', b'\n', b'x'] {
                for place in 0..length {
                    let mut text = text.to_vec();
                    text[place] = fault;
                    assert_eq!(
                        reads_as_sound(&[&text]),
                        is_sound(&text),
                        "{fault} at {place} of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_chunk_takes_its_octets_and_no_more() {
        let mut chunk = Chunk::new(5, true);
        let mut input: &[u8] = b"ab";
        assert_eq!(chunk.read(&mut input), b"ab");
        assert!(!chunk.is_complete());
        input = b"cdeNOOP";
        assert_eq!(chunk.read(&mut input), b"cde");
        assert_eq!(input, b"NOOP");
        assert!(chunk.is_complete() && chunk.is_last());
        assert_eq!(Chunk::new(u64::MAX, false).read(&mut input), b"NOOP");
    }
}
