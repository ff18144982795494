//! The body that DATA brings: where it ends, and which dots are not part of it (RFC 5321 section
//! 4.5.2).
//!
//! Only CR LF . CR LF ends a body. Implementations that were content with less, or that kept the
//! last few bytes in loose variables, could be made to see an end where others see none, and so to
//! take the rest of a mail for a second one. Here the reader is always in one of five states, each
//! byte moves it by one row of a table, and a bare CR or LF is told to the caller, who refuses the
//! message after its true end.
//!
//! Where bare line ends are [repaired](crate::BareLineEnds::Repair), the table is the same: repair
//! adds octets to the content, and never moves the reader to the start of a line. So the end is
//! where it was, and a dot behind a bare CR or LF is content. A repaired content may hold CR LF .
//! CR LF, as any content with a line of one dot does; whoever sends it on stuffs that dot as every
//! other.
//!
//! A line may be as short as a dot and its end. Told one by one, such pieces cost a hundred times
//! what they hold. So short ones are [put together](crate::gather) where the caller lends room for
//! that.

use crate::gather::Gathered;
use crate::scan::{self, BLOCK, Look, WINDOW};

/// What ends a body, the end of its last line included.
const END: &[u8] = b"\r\n.\r\n";

/// Reads a body, starting behind the CR LF of the DATA command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DotReader {
    state: State,
    /// Bare line ends become CR LF.
    repairs: bool,
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
    pub(crate) const fn new(repairs: bool) -> Self {
        Self {
            state: State::LineStart,
            repairs,
        }
    }

    /// Takes from the front of the input up to the next thing worth telling. Short runs of content
    /// are put together in the room, if there is some.
    pub(crate) fn read<'i: 'r, 'r>(
        &mut self,
        input: &mut &'i [u8],
        room: &mut &'r mut [u8],
    ) -> Read<'r> {
        let bytes = *input;
        match self.next(input) {
            Read::Content(run) if !input.is_empty() => match Gathered::begin(run, room) {
                Some(mut gathered) => {
                    self.gather(bytes, input, &mut gathered);
                    Read::Content(gathered.into_piece())
                }
                None => Read::Content(run),
            },
            other => other,
        }
    }

    /// Appends runs, up to a long one or to something else. `bytes` ends with the input.
    fn gather<'i>(&mut self, bytes: &'i [u8], input: &mut &'i [u8], gathered: &mut Gathered<'_>) {
        loop {
            self.gather_blocks(bytes, input, gathered);
            let before = (*self, *input);
            match self.next(input) {
                Read::Content(run) if gathered.push(run) => {}
                Read::More => return,
                // It is read again by the next call.
                _ => {
                    (*self, *input) = before;
                    return;
                }
            }
        }
    }

    /// Appends what needs no closer look, dots left out.
    fn gather_blocks<'i>(
        &mut self,
        bytes: &'i [u8],
        input: &mut &'i [u8],
        gathered: &mut Gathered<'_>,
    ) {
        // The byte before the input is looked at together with the first one of it.
        let from = (bytes.len() - input.len()).checked_sub(1);
        let mut rest = from.and_then(|from| bytes.get(from..)).unwrap_or_default();
        while let Some(window) = rest.first_chunk::<WINDOW>()
            && let [before, ..] = window
            && self.state.is_as_seen_from(*before)
            && gathered.push_with(|place| scan::copy_without_dots(window, place))
        {
            self.state = match window.get(BLOCK - 1..=BLOCK) {
                Some([_, b'\n']) => State::LineStart,
                Some([_, b'\r']) => State::Cr,
                Some([b'\n', b'.']) => State::Dot,
                _ => State::Text,
            };
            rest = rest.get(BLOCK..).unwrap_or_default();
            *input = rest.get(1..).unwrap_or_default();
        }
    }

    /// Takes from the front of the input up to the next thing worth telling, without a copy.
    fn next<'i>(&mut self, input: &mut &'i [u8]) -> Read<'i> {
        let bytes = *input;
        let mut start = 0;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let (state, kind) = self.state.next(byte);
            // Content goes first; this byte is looked at again by the next call.
            if matches!(kind, Byte::Dropped | Byte::Bare) && at > start {
                break;
            }
            if kind == Byte::Bare && self.repairs {
                return self.repair(bytes.get(at..).unwrap_or_default(), input);
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

    /// Takes from the front of the input what nobody wants any more of a body. True: it was there
    /// up to its end.
    ///
    /// One search, so that a refused body costs no more where its lines are very short.
    pub(crate) fn skip_to_end(&mut self, input: &mut &[u8]) -> bool {
        let bytes = *input;
        // An end that has begun in the input before.
        let (first, _) = bytes
            .split_at_checked(END.len() - 1)
            .unwrap_or((bytes, &[]));
        let begun = first.iter().position(|byte| self.passes_end(*byte));
        let end = match begun {
            Some(at) => Some(at + 1),
            None => memchr::memmem::find(bytes, END).map(|at| at + END.len()),
        };
        if let Some(end) = end {
            self.state = State::LineStart;
            *input = bytes.get(end..).unwrap_or_default();
            return true;
        }
        // Of an end that begins here, all but its last byte is in these.
        if let Some((_, last)) = bytes.split_last_chunk::<{ END.len() - 1 }>() {
            self.state = State::Text;
            for &byte in last {
                self.passes_end(byte);
            }
        }
        *input = &[];
        false
    }

    /// Reads a byte. True: it is the last one of the body.
    fn passes_end(&mut self, byte: u8) -> bool {
        let (state, kind) = self.state.next(byte);
        self.state = state;
        kind == Byte::End
    }

    /// What is missing before or behind a bare CR or LF. `rest` begins with the byte that shows it.
    ///
    /// The reader then stands in a line, not at the start of one: the line on the wire goes on.
    fn repair<'i>(&mut self, rest: &'i [u8], input: &mut &'i [u8]) -> Read<'i> {
        let (repaired, taken): (&[u8], _) = match self.state {
            // The CR is content already.
            State::Cr => (b"\n", 0),
            // It was held back, since it might have been that of the end.
            State::DotCr => (b"\r\n", 0),
            State::LineStart | State::Text | State::Dot => (b"\r\n", 1),
        };
        self.state = State::Text;
        *input = rest.get(taken..).unwrap_or_default();
        Read::Content(repaired)
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

    /// Whether the byte before says all that there is to know. Behind a bare CR or LF it does not.
    const fn is_as_seen_from(self, before: u8) -> bool {
        match self {
            Self::LineStart => before == b'\n',
            Self::Cr => before == b'\r',
            Self::Text | Self::Dot => !matches!(before, b'\r' | b'\n'),
            Self::DotCr => false,
        }
    }

    /// What was read up to here has been told: the fast scan may take over.
    const fn is_settled(self) -> bool {
        matches!(self, Self::LineStart | Self::Text | Self::Cr)
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_test_support::{Meaning, data, meaning, texts};

    use super::*;

    /// What the reader makes of the text when it arrives in these pieces.
    fn read(pieces: &[&[u8]], repairs: bool, room: &mut [u8]) -> Meaning {
        let mut reader = DotReader::new(repairs);
        let mut content = Some(Vec::new());
        for (number, piece) in pieces.iter().enumerate() {
            let mut input = *piece;
            loop {
                match reader.read(&mut input, &mut &mut *room) {
                    Read::More => break,
                    Read::Content(piece) => {
                        assert!(!piece.is_empty());
                        if let Some(content) = &mut content {
                            content.extend_from_slice(piece);
                        }
                    }
                    Read::Bare => {
                        assert!(!repairs);
                        content = None;
                    }
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

    /// Refused and repaired.
    fn oracles(text: &[u8]) -> [Meaning; 2] {
        [false, true].map(|repairs| meaning(text, repairs))
    }

    /// Refused and repaired, told one by one and put together.
    fn assert_meaning(pieces: &[&[u8]], expected: &[Meaning; 2], room: &mut [u8]) {
        for (repairs, expected) in [false, true].into_iter().zip(expected) {
            for room in [&mut [][..], &mut *room] {
                assert_eq!(read(pieces, repairs, room), *expected, "{pieces:?}");
            }
        }
    }

    #[test]
    fn every_text_of_up_to_nine_bytes_means_what_the_oracle_says_at_every_cut() {
        let mut room = [0; 600];
        for text in (0..=8).flat_map(texts) {
            let expected = oracles(&text);
            for cut in 0..=text.len() {
                let (first, second) = text.split_at(cut);
                assert_meaning(&[first, second], &expected, &mut room);
            }
            let mut bytes = [&[][..]; 8];
            for (byte, place) in text.chunks(1).zip(&mut bytes) {
                *place = byte;
            }
            assert_meaning(&bytes, &expected, &mut []);
        }
        // Of nine bytes, where the end has something before and behind it, one cut will do.
        for text in texts(9) {
            let (first, second) = text.split_at(4);
            let found = read(&[first, second], false, &mut []);
            assert_eq!(found, meaning(&text, false), "{text:?}");
        }
    }

    /// Long enough for the fast scan to take part, with every short text at every place of its
    /// blocks.
    #[test]
    fn every_short_text_within_a_long_one_means_what_the_oracle_says() {
        let line = b"seventy octets of text, or thereabouts, that end in the proper way\r\n";
        let dots = b"..\r\n.x\r\n";
        let mut room = [0; 600];
        for long in [line.repeat(3), dots.repeat(22)] {
            for text in texts(5) {
                for place in (0..72).step_by(3).chain([15, 16, 17, 63, 64, 65, 130]) {
                    let (before, after) = long.split_at(place);
                    let text = [before, &text, after, b"\r\n.\r\nQUIT\r\n"].concat();
                    let expected = oracles(&text);
                    assert!(expected[0].ended);
                    assert_meaning(&[&text], &expected, &mut room);
                }
            }
        }
    }

    /// A refused body ends where it would have ended.
    #[test]
    fn what_is_skipped_ends_where_the_oracle_says_at_every_cut() {
        let skip = |pieces: &[&[u8]]| {
            let mut reader = DotReader::new(false);
            for (number, piece) in pieces.iter().enumerate() {
                let mut input = *piece;
                if reader.skip_to_end(&mut input) {
                    assert_eq!(reader.state, State::LineStart);
                    return (true, [&[input], &pieces[number + 1..]].concat().concat());
                }
                assert!(input.is_empty());
            }
            (false, Vec::new())
        };
        let ends = b"\r\n.\r\n";
        for text in (0..=7).flat_map(texts) {
            for text in [text.clone(), [&text, &ends[..]].concat()] {
                let meaning = meaning(&text, false);
                let expected = (meaning.ended, meaning.rest);
                for cut in 0..=text.len() {
                    let (first, second) = text.split_at(cut);
                    assert_eq!(skip(&[first, second]), expected, "{text:?} at {cut}");
                }
                let bytes: Vec<&[u8]> = text.chunks(1).collect();
                assert_eq!(skip(&bytes), expected, "{text:?}");
            }
        }
    }

    /// What is repaired is sound: stuffed again, it is read as itself.
    #[test]
    fn a_repaired_content_reads_back_as_itself() {
        for text in (0..=7).flat_map(texts) {
            let text = [&text, &b"\r\n.\r\n"[..]].concat();
            let content = meaning(&text, true).content.unwrap();
            let again = meaning(&data(&content), false);
            assert_eq!(again.content, Some(content), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn clean_text_leaves_in_one_piece() {
        let text =
            b"seventy octets of text, or thereabouts, that end in the proper way\r\n".repeat(1000);
        let mut input = text.as_slice();
        let mut room = [0; 1000];
        let read = DotReader::new(false).read(&mut input, &mut &mut room[..]);
        assert_eq!(read, Read::Content(&text));
    }

    #[test]
    fn short_lines_with_dots_leave_in_few_pieces() {
        let text = b"..\r\n".repeat(1000);
        let mut input = text.as_slice();
        let mut room = [0; 8192];
        let mut reader = DotReader::new(false);
        let read = reader.read(&mut input, &mut &mut room[..]);
        assert_eq!(read, Read::Content(&b".\r\n".repeat(1000)));
        assert!(input.is_empty());
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
            for repairs in [false, true] {
                let meaning = read(&[text.as_bytes()], repairs, &mut []);
                assert_eq!(meaning.rest, b"rest", "{look_alike:?}");
                let sound = look_alike.starts_with("\r\n\0") || look_alike.starts_with("\r\n. ");
                assert_eq!(
                    meaning.content.is_some(),
                    sound || repairs,
                    "{look_alike:?}"
                );
            }
        }
    }
}
