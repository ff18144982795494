//! What a record is on the disk.
//!
//! ```text
//! length u32 | kind u8, three zeros | CRC-32C of the payload u32 | check u32 | payload
//! ```
//!
//! All numbers are little-endian. The check is a CRC-32C over a seed of the segment's own, the offset and the twelve bytes before
//! it. So a header is good at its own place alone: bytes that a disk has repeated elsewhere are no record there.
//! The seed is made from random bits. A client cannot know it, and so cannot write a message that looks like records
//! inside, for the day on which a damaged length makes recovery search for the next header.

use std::ops::Range;

use crate::error::MessageId;

/// Length of a record's header.
pub(crate) const HEADER: usize = 16;

/// Bytes of a payload: more than any message with its envelope has, since long contents are files of their own.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;

/// Bytes of what a queue wants to know of a message without reading it.
pub(crate) const MAX_SUMMARY: usize = 1024;

/// Bytes of the state of a message's delivery.
pub(crate) const MAX_STATE: usize = u16::MAX as usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Message,
    Large,
    Attempt,
    Held,
    Done,
    Index,
    Seal,
}

impl Kind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Large => 2,
            Self::Attempt => 3,
            Self::Held => 4,
            Self::Done => 5,
            Self::Index => 6,
            Self::Seal => 7,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Message,
            2 => Self::Large,
            3 => Self::Attempt,
            4 => Self::Held,
            5 => Self::Done,
            6 => Self::Index,
            7 => Self::Seal,
            _ => return None,
        })
    }
}

/// Where the checks of a segment's headers begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(number: u64, nonce: u64) -> Self {
        let number = crc32c::crc32c(&number.to_le_bytes());
        Self(crc32c::crc32c_append(number, &nonce.to_le_bytes()))
    }

    fn check(self, offset: u32, before: &[u8]) -> u32 {
        let seeded = crc32c::crc32c_append(self.0, &offset.to_le_bytes());
        crc32c::crc32c_append(seeded, before)
    }
}

/// A record of which all but its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    pub(crate) fn new(kind: Kind, parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEADER + length);
        let mut crc = 0;
        // A record is at most MAX_PAYLOAD long; an index is about a segment, whose offsets are 32 bits too.
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        bytes.extend_from_slice(&[kind.code(), 0, 0, 0]);
        bytes.extend_from_slice(&[0; 8]);
        for part in parts {
            bytes.extend_from_slice(part);
            crc = crc32c::crc32c_append(crc, part);
        }
        let mut frame = Self(bytes);
        frame.put(8, crc);
        frame
    }

    /// Makes it good at this place alone.
    pub(crate) fn place(&mut self, seed: Seed, offset: u32) {
        let before = self.0.get(..12).unwrap_or_default();
        let check = seed.check(offset, before);
        self.put(12, check);
    }

    fn put(&mut self, at: usize, value: u32) {
        if let Some(field) = self.0.get_mut(at..at + 4) {
            field.copy_from_slice(&value.to_le_bytes());
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A header that is good at its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) length: usize,
    crc: u32,
}

impl Header {
    pub(crate) fn read(bytes: &[u8], seed: Seed, offset: u32) -> Option<Self> {
        let mut reader = Reader(bytes);
        let length = reader.u32()? as usize;
        let kind = Kind::from_code(reader.u8()?)?;
        if reader.bytes(3)? != [0; 3] {
            return None;
        }
        let crc = reader.u32()?;
        let check = reader.u32()?;
        let is_good = seed.check(offset, bytes.get(..12)?) == check;
        let fits = length <= MAX_PAYLOAD || kind == Kind::Index;
        (is_good && fits).then_some(Self { kind, length, crc })
    }

    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.length && crc32c::crc32c(payload) == self.crc
    }
}

/// What a record says, without a message's envelope, headers and content: what an index has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note<'a> {
    Message {
        id: MessageId,
        /// The segment that it was copied from, or 0.
        from: u64,
        offset: u32,
        length: u32,
        large: Option<LargeContent>,
        summary: &'a [u8],
    },
    State {
        id: MessageId,
        held: bool,
        version: u32,
        offset: u32,
        state: &'a [u8],
    },
    /// A message of which the last copy was in that segment.
    Done { id: MessageId, segment: u64 },
}

/// A content in a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LargeContent {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

/// A message's payload.
#[derive(Debug, Clone)]
pub(crate) struct MessagePayload<'a> {
    pub(crate) id: Option<MessageId>,
    pub(crate) from: u64,
    pub(crate) summary: &'a [u8],
    pub(crate) envelope: &'a [u8],
    pub(crate) headers: &'a [u8],
    pub(crate) content: PayloadContent<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum PayloadContent<'a> {
    Here(&'a [u8]),
    Large(LargeContent),
}

impl<'a> MessagePayload<'a> {
    pub(crate) fn frame(&self) -> Frame {
        let mut head = Vec::with_capacity(26);
        head.extend_from_slice(&self.id.map_or(0, MessageId::to_bits).to_le_bytes());
        head.extend_from_slice(&self.from.to_le_bytes());
        head.extend_from_slice(&(self.summary.len() as u16).to_le_bytes());
        head.extend_from_slice(&(self.envelope.len() as u32).to_le_bytes());
        head.extend_from_slice(&(self.headers.len() as u32).to_le_bytes());
        let parts = [self.summary, self.envelope, self.headers];
        match self.content {
            PayloadContent::Here(content) => {
                let [summary, envelope, headers] = parts;
                Frame::new(Kind::Message, &[&head, summary, envelope, headers, content])
            }
            PayloadContent::Large(large) => {
                let mut tail = Vec::with_capacity(20);
                put_large(&mut tail, large);
                let [summary, envelope, headers] = parts;
                Frame::new(Kind::Large, &[&head, summary, envelope, headers, &tail])
            }
        }
    }

    pub(crate) fn read(kind: Kind, payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let id = reader.u64()?;
        let from = reader.u64()?;
        let summary = usize::from(reader.u16()?);
        let envelope = reader.u32()? as usize;
        let headers = reader.u32()? as usize;
        Some(Self {
            id: (id != 0).then(|| MessageId::from_bits(id)),
            from,
            summary: reader.bytes(summary)?,
            envelope: reader.bytes(envelope)?,
            headers: reader.bytes(headers)?,
            content: match kind {
                Kind::Large => PayloadContent::Large(reader.large()?),
                _ => PayloadContent::Here(reader.0),
            },
        })
    }
}

pub(crate) fn done_frame(id: MessageId, segment: u64) -> Frame {
    let id = id.to_bits().to_le_bytes();
    Frame::new(Kind::Done, &[&id, &segment.to_le_bytes()])
}

pub(crate) fn state_frame(id: MessageId, held: bool, version: u32, state: &[u8]) -> Frame {
    let kind = if held { Kind::Held } else { Kind::Attempt };
    let id = id.to_bits().to_le_bytes();
    Frame::new(kind, &[&id, &version.to_le_bytes(), state])
}

impl<'a> Note<'a> {
    /// What a record at this place says. `None`: nothing that a queue wants to know, or nonsense.
    pub(crate) fn of_record(
        kind: Kind,
        segment: u64,
        offset: u32,
        payload: &'a [u8],
    ) -> Option<Self> {
        let mut reader = Reader(payload);
        Some(match kind {
            Kind::Message | Kind::Large => {
                let message = MessagePayload::read(kind, payload)?;
                Self::Message {
                    id: message.id.unwrap_or(MessageId::new(segment, offset)),
                    from: message.from,
                    offset,
                    length: (HEADER + payload.len()) as u32,
                    large: match message.content {
                        PayloadContent::Here(_) => None,
                        PayloadContent::Large(large) => Some(large),
                    },
                    summary: message.summary,
                }
            }
            Kind::Attempt | Kind::Held => Self::State {
                id: MessageId::from_bits(reader.u64()?),
                held: kind == Kind::Held,
                version: reader.u32()?,
                offset,
                state: reader.0,
            },
            Kind::Done => Self::Done {
                id: MessageId::from_bits(reader.u64()?),
                segment: reader.u64()?,
            },
            Kind::Index | Kind::Seal => return None,
        })
    }

    /// Adds it to an index.
    pub(crate) fn put(&self, index: &mut Vec<u8>) {
        match *self {
            Self::Message {
                id,
                from,
                offset,
                length,
                large,
                summary,
            } => {
                let kind = large.map_or(Kind::Message, |_| Kind::Large);
                index.push(kind.code());
                index.extend_from_slice(&id.to_bits().to_le_bytes());
                index.extend_from_slice(&from.to_le_bytes());
                index.extend_from_slice(&offset.to_le_bytes());
                index.extend_from_slice(&length.to_le_bytes());
                if let Some(large) = large {
                    put_large(index, large);
                }
                index.extend_from_slice(&(summary.len() as u16).to_le_bytes());
                index.extend_from_slice(summary);
            }
            Self::State {
                id,
                held,
                version,
                offset,
                state,
            } => {
                index.push(if held { Kind::Held } else { Kind::Attempt }.code());
                index.extend_from_slice(&id.to_bits().to_le_bytes());
                index.extend_from_slice(&version.to_le_bytes());
                index.extend_from_slice(&offset.to_le_bytes());
                index.extend_from_slice(&(state.len() as u16).to_le_bytes());
                index.extend_from_slice(state);
            }
            Self::Done { id, segment } => {
                index.push(Kind::Done.code());
                index.extend_from_slice(&id.to_bits().to_le_bytes());
                index.extend_from_slice(&segment.to_le_bytes());
            }
        }
    }
}

/// The longest that a record other than an index can be.
const MAX_RECORD: u32 = (HEADER + MAX_PAYLOAD) as u32;

/// The notes of an index. `None` for one that makes no sense.
pub(crate) fn read_index<'a>(index: &'a [u8], mut visit: impl FnMut(Note<'a>)) -> Option<()> {
    let mut reader = Reader(index);
    while !reader.0.is_empty() {
        visit(reader.note()?);
    }
    Some(())
}

fn put_large(into: &mut Vec<u8>, large: LargeContent) {
    into.extend_from_slice(&large.number.to_le_bytes());
    into.extend_from_slice(&large.length.to_le_bytes());
    into.extend_from_slice(&large.crc.to_le_bytes());
}

/// Takes numbers and bytes from the front.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn large(&mut self) -> Option<LargeContent> {
        Some(LargeContent {
            number: self.u64()?,
            length: self.u64()?,
            crc: self.u32()?,
        })
    }

    fn note(&mut self) -> Option<Note<'a>> {
        let kind = Kind::from_code(self.u8()?)?;
        let id = MessageId::from_bits(self.u64()?);
        Some(match kind {
            Kind::Message | Kind::Large => Note::Message {
                id,
                from: self.u64()?,
                offset: self.u32()?,
                length: self.u32().filter(|length| *length <= MAX_RECORD)?,
                large: match kind {
                    Kind::Large => Some(self.large()?),
                    _ => None,
                },
                summary: {
                    let length = usize::from(self.u16()?);
                    self.bytes(length)?
                },
            },
            Kind::Attempt | Kind::Held => Note::State {
                id,
                held: kind == Kind::Held,
                version: self.u32()?,
                offset: self.u32()?,
                state: {
                    let length = usize::from(self.u16()?);
                    self.bytes(length)?
                },
            },
            Kind::Done => Note::Done {
                id,
                segment: self.u64()?,
            },
            Kind::Index | Kind::Seal => return None,
        })
    }
}

/// What a walk over records finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Record(Kind, u32, &'a [u8]),
    /// Bytes that are no record, with records behind them.
    Damaged(Range<usize>),
    /// Bytes at the end that are no record, or not a whole one.
    Torn(Range<usize>),
}

/// Walks over the records in `bytes`, of which the first is at `base` of its segment.
pub(crate) fn walk<'a>(bytes: &'a [u8], base: usize, seed: Seed, mut visit: impl FnMut(Found<'a>)) {
    let mut at = 0;
    while at < bytes.len() {
        let Some(header) = header_at(bytes, base, seed, at) else {
            let bad = at;
            let next =
                (bad + 1..bytes.len()).find(|at| header_at(bytes, base, seed, *at).is_some());
            at = next.unwrap_or(bytes.len());
            let range = base + bad..base + at;
            let rest = bytes.get(bad..).unwrap_or_default();
            // A crash leaves a piece of a record or room that was never written. Anything else was something once.
            let is_torn = rest.len() < HEADER || rest.iter().all(|byte| *byte == 0);
            visit(match next.is_none() && is_torn {
                true => Found::Torn(range),
                false => Found::Damaged(range),
            });
            continue;
        };
        let end = at + HEADER + header.length;
        match bytes.get(at + HEADER..end) {
            Some(payload) if header.matches(payload) => {
                visit(Found::Record(header.kind, (base + at) as u32, payload));
            }
            // The header is whole and so is the length, what is behind it is not: no crash does that to a file that
            // grows from its end.
            Some(_) => visit(Found::Damaged(base + at..base + end)),
            None => {
                visit(Found::Torn(base + at..base + bytes.len()));
                return;
            }
        }
        at = end;
    }
}

fn header_at(bytes: &[u8], base: usize, seed: Seed, at: usize) -> Option<Header> {
    let header = bytes.get(at..at + HEADER)?;
    // A quick look first: of bytes that are no header nearly all end here.
    let (Some(1..=7), Some([0, 0, 0])) = (header.get(4), header.get(5..8)) else {
        return None;
    };
    Header::read(header, seed, u32::try_from(base + at).ok()?)
}
