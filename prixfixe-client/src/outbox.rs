//! What is to be sent, in order: bytes of the connection's own, and places for content that the
//! caller holds.
//!
//! Positions count bytes of the whole connection. Up to [`released`](Outbox::release) they may be
//! sent; what is behind waits for a reply, as every command does where there is no pipelining.

use std::collections::VecDeque;
use std::fmt;

/// Something to send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes of what the caller has [lent](crate::Connection::lend_content) for the
    /// transaction, from this offset on.
    Lent {
        /// Offset in all that was lent for the transaction, chunks in a row.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// What is to be sent.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Those at the front that were sent.
    taken: usize,
    segments: VecDeque<Segment>,
    /// Bytes lent for the transaction.
    lent: u64,
    queued: u64,
    released: u64,
    sent: u64,
    /// What is in `bytes` must not stay in memory.
    #[cfg(feature = "auth")]
    secret: bool,
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Own(usize),
    Lent { offset: u64, length: u64 },
}

impl Outbox {
    /// Appends what `write` writes.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len().saturating_sub(before);
        self.queued += length as u64;
        match self.segments.back_mut() {
            Some(Segment::Own(own)) => *own += length,
            _ if length > 0 => self.segments.push_back(Segment::Own(length)),
            _ => {}
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.write(|output| output.extend_from_slice(bytes));
    }

    /// As [`push`](Self::push); the bytes are wiped once they are sent.
    #[cfg(feature = "auth")]
    pub(crate) fn push_secret(&mut self, bytes: &[u8]) {
        // Growing would leave a copy behind, so the room is made while there is nothing to copy.
        self.bytes.reserve(bytes.len());
        self.secret = true;
        self.push(bytes);
    }

    /// Another transaction begins. What was lent for the one before has been sent by the time
    /// anything is lent for this.
    pub(crate) fn begin_transaction(&mut self) {
        self.lent = 0;
    }

    /// Appends a place for content that the caller holds.
    pub(crate) fn lend(&mut self, length: u64) {
        if length > 0 {
            let offset = self.lent;
            self.lent += length;
            self.queued += length;
            self.segments.push_back(Segment::Lent { offset, length });
        }
    }

    /// Bytes so far, sent or not.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Everything that may be sent was sent.
    pub(crate) fn is_drained(&self) -> bool {
        self.sent == self.released
    }

    /// Everything up to this position may be sent.
    pub(crate) fn release(&mut self, position: u64) {
        self.released = position.min(self.queued).max(self.released);
    }

    /// Bytes of its own that were not sent.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Drops what was not released.
    pub(crate) fn truncate(&mut self) {
        let mut excess = self.queued - self.released;
        while excess > 0 {
            match self.segments.back_mut() {
                Some(Segment::Own(length)) => {
                    let part = usize::try_from(excess).unwrap_or(usize::MAX).min(*length);
                    *length -= part;
                    excess -= part as u64;
                    self.bytes.truncate(self.bytes.len() - part);
                    if *length == 0 {
                        self.segments.pop_back();
                    }
                }
                Some(Segment::Lent { length, .. }) => {
                    let part = excess.min(*length);
                    *length -= part;
                    excess -= part;
                    if *length == 0 {
                        self.segments.pop_back();
                    }
                }
                None => break,
            }
        }
        self.queued = self.released;
    }

    /// What may be sent now, from the front.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut bytes = self.bytes.get(self.taken..).unwrap_or_default();
        let mut left = self.released - self.sent;
        self.segments.iter().map_while(move |segment| {
            let piece = match *segment {
                _ if left == 0 => return None,
                Segment::Own(length) => {
                    let (own, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    let may = usize::try_from(left).unwrap_or(usize::MAX);
                    Piece::Bytes(own.get(..may).unwrap_or(own))
                }
                Segment::Lent { offset, length } => Piece::Lent {
                    offset,
                    length: length.min(left),
                },
            };
            left -= piece.length();
            Some(piece)
        })
    }

    /// Takes from the front what was sent; no more than may be.
    pub(crate) fn advance(&mut self, count: usize) {
        let mut count = (count as u64).min(self.released - self.sent);
        self.sent += count;
        while let Some(segment) = self.segments.front_mut() {
            let whole = match segment {
                Segment::Own(length) => {
                    let part = usize::try_from(count).unwrap_or(usize::MAX).min(*length);
                    *length -= part;
                    self.taken += part;
                    count -= part as u64;
                    *length == 0
                }
                Segment::Lent { offset, length } => {
                    let part = count.min(*length);
                    *offset += part;
                    *length -= part;
                    count -= part;
                    *length == 0
                }
            };
            if !whole {
                break;
            }
            self.segments.pop_front();
        }
        self.tidy();
    }

    /// Forgets what was sent: all at once, or when it is the larger part.
    fn tidy(&mut self) {
        if self.taken == self.bytes.len() {
            #[cfg(feature = "auth")]
            if std::mem::take(&mut self.secret) {
                zeroize::Zeroize::zeroize(&mut self.bytes);
            }
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken > COMPACT && self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}

#[cfg(feature = "auth")]
impl Drop for Outbox {
    fn drop(&mut self) {
        if self.secret {
            zeroize::Zeroize::zeroize(&mut self.bytes);
        }
    }
}

impl Piece<'_> {
    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Lent { length, .. } => *length,
        }
    }
}

/// What is sent may be a password or somebody's mail: only lengths are shown.
impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Lent { offset, length } => write!(f, "Lent({offset}, {length})"),
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("queued", &self.queued)
            .field("released", &self.released)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// Less than this at the front is not worth moving the rest for.
const COMPACT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that may be sent, with what is lent as `*`, taken in steps.
    fn drain(outbox: &mut Outbox, step: usize) -> String {
        let mut all = String::new();
        loop {
            let mut front = String::new();
            for piece in outbox.pieces() {
                match piece {
                    Piece::Bytes(bytes) => front += std::str::from_utf8(bytes).unwrap(),
                    Piece::Lent { length, .. } => front += &"*".repeat(length as usize),
                }
            }
            let part = &front[..step.min(front.len())];
            if part.is_empty() {
                return all;
            }
            all += part;
            outbox.advance(part.len());
        }
    }

    #[test]
    fn what_is_released_is_sent_once_and_in_order_by_any_steps() {
        for step in 1..20 {
            let mut outbox = Outbox::default();
            outbox.push(b"MAIL\r\n");
            outbox.push(b"BDAT 3\r\n");
            outbox.lend(3);
            outbox.lend(0);
            let first = outbox.queued();
            outbox.push(b"BDAT 2 LAST\r\n");
            outbox.lend(2);
            outbox.push(b"QUIT\r\n");
            assert_eq!(drain(&mut outbox, step), "");
            outbox.release(4);
            assert_eq!(drain(&mut outbox, step), "MAIL");
            outbox.release(first);
            assert_eq!(drain(&mut outbox, step), "\r\nBDAT 3\r\n***");
            outbox.release(u64::MAX);
            assert_eq!(drain(&mut outbox, step), "BDAT 2 LAST\r\n**QUIT\r\n");
            assert_eq!((outbox.sent(), outbox.held()), (outbox.queued(), 0));
        }
    }

    #[test]
    fn what_is_not_released_can_be_dropped_at_any_position() {
        let whole = "MAIL\r\nBDAT 3\r\n***RCPT\r\n**";
        for position in 0..=whole.len() {
            let mut outbox = Outbox::default();
            outbox.push(b"MAIL\r\nBDAT 3\r\n");
            outbox.lend(3);
            outbox.push(b"RCPT\r\n");
            outbox.lend(2);
            outbox.release(position as u64);
            outbox.truncate();
            outbox.push(b"RSET\r\n");
            outbox.release(u64::MAX);
            let expected = format!("{}RSET\r\n", &whole[..position]);
            assert_eq!(drain(&mut outbox, 3), expected);
        }
    }

    #[test]
    fn what_was_sent_does_not_pile_up() {
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            outbox.push(&[b'x'; 1000]);
            outbox.release(u64::MAX);
            outbox.advance(999);
        }
        assert!(outbox.bytes.capacity() < 100_000);
        assert_eq!(outbox.held(), 1000);
    }

    #[cfg(feature = "auth")]
    #[test]
    fn nothing_of_a_secret_is_shown_or_kept() {
        let mut outbox = Outbox::default();
        outbox.push_secret(b"AUTH PLAIN c2VjcmV0\r\n");
        outbox.release(u64::MAX);
        let shown = format!("{outbox:?} {:?}", outbox.pieces().collect::<Vec<_>>());
        assert!(!shown.contains("c2Vj") && !shown.contains("[65"), "{shown}");
        outbox.advance(usize::MAX);
        assert!(outbox.bytes.is_empty() && !outbox.secret);
    }
}
