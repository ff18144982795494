//! Content that a connection sends from where it lies.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Pieces that were lent to the dialogue for one transaction, and are kept until they were sent.
#[derive(Debug, Default)]
pub(super) struct Lent {
    pieces: VecDeque<Bytes>,
    /// Where the first of them begins, counted in all that was lent.
    start: u64,
    /// Bytes of it that were sent.
    sent: u64,
}

impl Lent {
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Nothing is left to send.
    pub(super) fn is_sent(&self) -> bool {
        self.pieces.is_empty()
    }

    /// So many bytes of it were sent. What is whole is let go.
    pub(super) fn advance(&mut self, count: u64) {
        self.sent += count;
        while let Some(first) = self.pieces.front() {
            let end = self.start + first.len() as u64;
            if end > self.sent {
                break;
            }
            self.start = end;
            self.pieces.pop_front();
        }
    }

    /// Fills slices with these bytes, as far as there are slices. Gives how many of the bytes and
    /// of the slices.
    pub(super) fn fill<'a>(
        &'a self,
        offset: u64,
        length: u64,
        slices: &mut [IoSlice<'a>],
    ) -> (u64, usize) {
        let (mut at, end) = (self.start, offset + length);
        let (mut bytes, mut used) = (0, 0);
        for piece in &self.pieces {
            let piece_end = at + piece.len() as u64;
            let (from, to) = (offset.max(at), end.min(piece_end));
            if from < to {
                let Some(slice) = slices.get_mut(used) else {
                    break;
                };
                let within = |position: u64| usize::try_from(position - at).unwrap_or(usize::MAX);
                let part = piece.get(within(from)..within(to)).unwrap_or_default();
                *slice = IoSlice::new(part);
                bytes += part.len() as u64;
                used += 1;
            }
            at = piece_end;
        }
        (bytes, used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_comes_out_whole_by_any_steps() {
        let whole = b"one, two and three";
        for step in 1..=whole.len() {
            let mut lent = Lent::default();
            for piece in [&whole[..3], &[], &whole[3..9], &whole[9..]] {
                lent.push(Bytes::from_static(piece));
            }
            let (mut out, mut at) = (Vec::new(), 0);
            while at < whole.len() as u64 {
                let mut slices = [IoSlice::new(&[]); 2];
                let left = whole.len() as u64 - at;
                let (bytes, used) = lent.fill(at, left, &mut slices);
                let front: Vec<u8> = slices[..used].iter().flat_map(|it| it.to_vec()).collect();
                assert_eq!(front.len() as u64, bytes);
                let part = &front[..step.min(front.len())];
                out.extend_from_slice(part);
                at += part.len() as u64;
                lent.advance(part.len() as u64);
            }
            assert_eq!(out, whole);
            assert!(lent.is_sent());
        }
    }
}
