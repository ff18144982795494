//! Reads a gathered content, piece by piece.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::offload::begin;
use super::{Gathered, Storage, Stored};
use crate::BodyError;

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// A place in a content.
#[derive(Debug)]
pub(crate) struct Reader {
    gathered: Gathered,
    position: u64,
    /// The read of a file that is under way.
    read: Option<oneshot::Receiver<io::Result<Bytes>>>,
}

impl Reader {
    pub(super) fn new(gathered: Gathered, position: u64) -> Self {
        Self {
            gathered,
            position,
            read: None,
        }
    }

    /// The content, while nothing of it was read.
    pub(crate) fn unread(&self) -> Option<&Gathered> {
        (self.position == 0 && self.read.is_none()).then_some(&self.gathered)
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, BodyError>> {
        if self.position >= self.gathered.size() {
            return Poll::Ready(Ok(None));
        }
        let Gathered { stored, start, .. } = &self.gathered;
        let position = start + self.position;
        let mut piece = match &stored.storage {
            Storage::Memory { blocks, .. } => piece_at(blocks, position),
            Storage::File(_) => {
                let read = self.read.get_or_insert_with(|| {
                    let stored = Arc::clone(stored);
                    begin(move || read_at(&stored, position))
                });
                let read = ready!(Pin::new(read).poll(cx));
                self.read = None;
                read.unwrap_or_else(|_| Err(io::Error::other("no thread works")))?
            }
        };
        let left = self.gathered.size() - self.position;
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.position += piece.len() as u64;
        Poll::Ready(Ok(Some(piece)))
    }
}

fn piece_at(blocks: &[Bytes], position: u64) -> Bytes {
    let mut skipped = usize::try_from(position).unwrap_or(usize::MAX);
    for block in blocks {
        match skipped.checked_sub(block.len()) {
            None => return block.slice(skipped..),
            Some(rest) => skipped = rest,
        }
    }
    Bytes::new()
}

/// Without the position that a file has for all who read it.
fn read_at(stored: &Stored, position: u64) -> io::Result<Bytes> {
    let Storage::File(file) = &stored.storage else {
        return Ok(Bytes::new());
    };
    let file = file.get()?;
    let mut piece = vec![0; PIECE];
    #[cfg(unix)]
    let count = std::os::unix::fs::FileExt::read_at(file, &mut piece, position)?;
    #[cfg(windows)]
    let count = std::os::windows::fs::FileExt::seek_read(file, &mut piece, position)?;
    piece.truncate(count);
    complete(piece)
}

/// A file never ends early: nobody else has it.
fn complete(piece: Vec<u8>) -> io::Result<Bytes> {
    match piece.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(piece.into()),
    }
}
