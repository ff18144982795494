//! Bytes on their way to the server: shared pieces in a row, never copied together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// How many pieces leave in one system call: a body in chunks and the commands around it.
pub(crate) const MAX_SLICES: usize = 16;

/// Octets that leave in one system call. A kernel that takes megabytes at once has no time for anybody else meanwhile: the
/// other connections of the load, and other loads on the same core, would seem to wait for the server.
const MAX_WRITE: usize = 64 * 1024;

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<Bytes>,
    pushed: u64,
    sent: u64,
}

impl Outgoing {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pushed += piece.len() as u64;
            self.pieces.push_back(piece);
        }
    }

    /// Octets pushed so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Octets sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The first pieces, for a vectored write.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut left) = (0, MAX_WRITE);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            if left == 0 {
                break;
            }
            let part = piece.get(..left).unwrap_or(piece);
            *slice = IoSlice::new(part);
            left -= part.len();
            count += 1;
        }
        (slices, count)
    }

    /// At most the first `limit` octets of the first piece, for a client that is slow on purpose.
    pub(crate) fn front(&self, limit: usize) -> &[u8] {
        let piece: &[u8] = self.pieces.front().map_or(&[], |piece| piece);
        piece.get(..limit).unwrap_or(piece)
    }

    /// Takes from the front what was sent.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.sent += count as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }

    /// Everything, taken out: tests look at it.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.sent = self.pushed;
        self.pieces.drain(..).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_bounded_and_ends_inside_a_piece() {
        let mut outgoing = Outgoing::default();
        outgoing.push(Bytes::from_static(b"DATA\r\n"));
        outgoing.push(Bytes::from(vec![b'x'; 10 * MAX_WRITE]));
        let (slices, count) = outgoing.slices();
        let octets: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        assert_eq!((count, octets), (2, MAX_WRITE));
    }

    #[test]
    fn advancing_by_any_steps_sends_everything_once() {
        for step in 1..8 {
            let mut outgoing = Outgoing::default();
            for piece in ["MAIL\r\n", "", "RCPT\r\n", "DATA\r\n"] {
                outgoing.push(Bytes::from_static(piece.as_bytes()));
            }
            let mut sent = Vec::new();
            while !outgoing.is_empty() {
                let (slices, count) = outgoing.slices();
                let all: Vec<u8> = slices[..count]
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .collect();
                let taken = step.min(all.len());
                sent.extend_from_slice(&all[..taken]);
                outgoing.advance(taken);
            }
            assert_eq!(sent, b"MAIL\r\nRCPT\r\nDATA\r\n");
        }
    }
}
