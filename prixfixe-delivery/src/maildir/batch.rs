//! Pieces of a message on their way to a worker.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::FileSystem;

/// A message of at most this many octets takes one hop to a worker; a larger one goes in batches of
/// this size, of which at most two are in memory: one that is written and one that is filled.
pub(crate) const BATCH_SIZE: usize = 128 * 1024;

/// Shorter pieces are copied together: a piece may hold the memory of a whole read buffer, and each
/// costs an entry in the vectored write. A longer one, whose memory is at most twice its length, is
/// kept as it is.
const KEPT_WHOLE: usize = 48 * 1024;

/// What is written at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    parts: Vec<Bytes>,
    tail: Vec<u8>,
    length: usize,
}

impl Batch {
    pub(crate) fn with_head(head: Vec<u8>) -> Self {
        Self {
            parts: Vec::new(),
            length: head.len(),
            tail: head,
        }
    }

    /// False when the batch should be written before this many octets are added. An empty one takes
    /// any number.
    pub(crate) fn has_room_for(&self, octets: usize) -> bool {
        self.length == 0 || self.length.saturating_add(octets) <= BATCH_SIZE
    }

    pub(crate) fn length(&self) -> u64 {
        self.length.try_into().unwrap_or(u64::MAX)
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() < KEPT_WHOLE {
            self.tail.extend_from_slice(&piece);
            return;
        }
        if !self.tail.is_empty() {
            self.parts.push(std::mem::take(&mut self.tail).into());
        }
        self.parts.push(piece);
    }

    pub(crate) fn write_to<F: FileSystem>(
        &self,
        file_system: &F,
        file: &mut F::File,
    ) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self
            .parts
            .iter()
            .map(AsRef::as_ref)
            .chain([self.tail.as_slice()])
            .filter(|part: &&[u8]| !part.is_empty())
            .map(IoSlice::new)
            .collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match file_system.write(file, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
