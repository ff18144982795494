//! The content of a message on its way through: what ends it, and what makes it unwelcome.

use crate::chunk::{Chunk, LineEnds};
use crate::data::{DotReader, Read};
use crate::gather::Gathered;
use crate::received::ReceivedHeaders;
use crate::{BareLineEnds, Reply, replies};

/// What reading a body came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress<'i> {
    /// The input is used up.
    More,
    /// A piece of the content, never empty.
    Piece(&'i [u8]),
    /// From here on the message is refused.
    Refused(Refusal),
    /// The body or the chunk is complete.
    End,
}

/// Why the core refuses a message by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BareLineEnd,
    TooLarge,
    Loop,
}

/// What is checked of every content, however it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    size: u64,
    limit: u64,
    received: ReceivedHeaders,
}

/// A body that ends with CR LF . CR LF. A refused one is read to this end all the same: what
/// follows a shorter way out would be run as commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataBody {
    reader: DotReader,
    content: Content,
    refusal: Option<Refusal>,
}

/// A body of counted chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkedBody {
    content: Content,
    /// Nothing to look for where any octets are allowed (RFC 3030 section 3).
    line_ends: Option<LineEnds>,
    bare: BareLineEnds,
}

impl Refusal {
    pub(crate) const fn reply(self) -> Reply {
        match self {
            Self::BareLineEnd => replies::BARE_CR_OR_LF_IN_BODY,
            Self::TooLarge => replies::TOO_LARGE,
            Self::Loop => replies::MAIL_LOOP,
        }
    }
}

impl Content {
    pub(crate) const fn new(limit: u64) -> Self {
        Self {
            size: 0,
            limit,
            received: ReceivedHeaders::new(),
        }
    }

    pub(crate) const fn size(self) -> u64 {
        self.size
    }

    /// Looks at a piece. What is wrong first is what counts, wherever the pieces were cut.
    fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let room = usize::try_from(self.limit - self.size).unwrap_or(usize::MAX);
        let within = piece.get(..room);
        self.received
            .take(within.unwrap_or(piece))
            .map_err(|_| Refusal::Loop)?;
        if piece.len() > room {
            return Err(Refusal::TooLarge);
        }
        self.size += piece.len() as u64;
        Ok(())
    }
}

impl DataBody {
    pub(crate) fn new(limit: u64, bare: BareLineEnds) -> Self {
        Self {
            reader: DotReader::new(bare == BareLineEnds::Repair),
            content: Content::new(limit),
            refusal: None,
        }
    }

    pub(crate) const fn content(&self) -> Content {
        self.content
    }

    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Small pieces are put together in the room, if there is some.
    pub(crate) fn read<'i: 'r, 'r>(
        &mut self,
        input: &mut &'i [u8],
        room: &mut &'r mut [u8],
    ) -> Progress<'r> {
        if self.refusal.is_some() {
            return match self.reader.skip_to_end(input) {
                true => Progress::End,
                false => Progress::More,
            };
        }
        let refusal = match self.reader.read(input, room) {
            Read::More => return Progress::More,
            Read::End => return Progress::End,
            Read::Bare => Refusal::BareLineEnd,
            Read::Content(piece) => match self.content.take(piece) {
                Ok(()) => return Progress::Piece(piece),
                Err(refusal) => refusal,
            },
        };
        self.refusal = Some(refusal);
        Progress::Refused(refusal)
    }
}

impl ChunkedBody {
    pub(crate) fn new(limit: u64, binary: bool, bare: BareLineEnds) -> Self {
        Self {
            content: Content::new(limit),
            line_ends: (!binary).then(LineEnds::default),
            bare,
        }
    }

    pub(crate) const fn content(&self) -> Content {
        self.content
    }

    /// Whether a chunk of this size keeps within the limit.
    pub(crate) const fn has_room_for(&self, size: u64) -> bool {
        size <= self.content.limit - self.content.size
    }

    /// Reads what belongs to the chunk. Small pieces are put together in the room, if there is
    /// some.
    pub(crate) fn read<'i: 'r, 'r>(
        &mut self,
        chunk: &mut Chunk,
        input: &mut &'i [u8],
        room: &mut &'r mut [u8],
    ) -> Progress<'r> {
        match (&mut self.line_ends, self.bare) {
            (Some(line_ends), BareLineEnds::Repair) => {
                let piece = repaired(line_ends, chunk, input, room);
                self.take(piece, chunk)
            }
            (Some(line_ends), BareLineEnds::Refuse)
                if chunk.is_complete() && chunk.is_last() && !line_ends.ends_sound() =>
            {
                Progress::Refused(Refusal::BareLineEnd)
            }
            _ => {
                let piece = chunk.read(input);
                let sound = match &mut self.line_ends {
                    Some(line_ends) => line_ends.sound_prefix(piece),
                    None => piece.len(),
                };
                let progress = self.take(piece.get(..sound).unwrap_or(piece), chunk);
                match progress {
                    Progress::Refused(_) => progress,
                    _ if sound < piece.len() => Progress::Refused(Refusal::BareLineEnd),
                    _ => progress,
                }
            }
        }
    }

    fn take<'r>(&mut self, piece: &'r [u8], chunk: &Chunk) -> Progress<'r> {
        match self.content.take(piece) {
            Err(refusal) => Progress::Refused(refusal),
            Ok(()) if !piece.is_empty() => Progress::Piece(piece),
            Ok(()) if chunk.is_complete() => Progress::End,
            Ok(()) => Progress::More,
        }
    }
}

/// Reads of a chunk with each bare CR and LF made CR LF. Empty: the input is used up, or the chunk
/// is complete.
fn repaired<'i: 'r, 'r>(
    line_ends: &mut LineEnds,
    chunk: &mut Chunk,
    input: &mut &'i [u8],
    room: &mut &'r mut [u8],
) -> &'r [u8] {
    let all = chunk.of(input);
    let mut text = all;
    let first = line_ends.repair(&mut text);
    let gathered = match text {
        [] => None,
        _ => Gathered::begin(first, room),
    };
    let piece = match gathered {
        Some(mut gathered) => {
            while !text.is_empty() {
                let before = (*line_ends, text);
                if !gathered.push(line_ends.repair(&mut text)) {
                    (*line_ends, text) = before;
                    break;
                }
            }
            gathered.into_piece()
        }
        None => first,
    };
    chunk.take(all.len() - text.len(), input);
    match piece {
        // What comes next is another message, or nothing.
        [] if chunk.is_complete() && chunk.is_last() => line_ends.end(),
        piece => piece,
    }
}
