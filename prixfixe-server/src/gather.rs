//! Contents that somebody needs whole: in memory as far as there is some, beyond that in a file
//! without a name.

mod budget;
mod offload;
mod reader;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prixfixe_core::Reply;

use self::budget::{Budget, Reservation};
use self::offload::{DroppedElsewhere, offload};
pub(crate) use self::reader::Reader;
use crate::{Body, BodyError, OrReply};

/// A content that is there whole. Cheap to clone; its memory or its file is free when the last
/// clone is gone.
#[derive(Debug, Clone)]
pub struct Gathered {
    stored: Arc<Stored>,
    /// The part of what is stored that this is.
    start: u64,
    size: u64,
}

#[derive(Debug)]
pub(crate) struct Stored {
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Memory {
        blocks: Vec<Bytes>,
        _reservation: Reservation,
    },
    File(DroppedElsewhere<File>),
}

/// Where contents are gathered: one for all sessions of a server.
#[derive(Debug, Clone)]
pub(crate) struct Gathering {
    memory: Arc<Budget>,
    /// `None`: the system's directory for temporary files.
    directory: Option<Arc<Path>>,
}

/// Memory for something that is made of a message. It counts within the server's
/// [`message_memory`](crate::Settings::message_memory) until this is dropped.
#[derive(Debug)]
pub struct MessageMemory(#[expect(dead_code, reason = "held for its drop")] Reservation);

/// The first block of a content; each next one is four times as large, up to [`MAX_BLOCK`].
const FIRST_BLOCK: usize = 4 << 10;
const MAX_BLOCK: usize = 256 << 10;

/// The memory for all messages together unless it is set.
pub(crate) const MESSAGE_MEMORY: u64 = 256 << 20;

impl Gathering {
    pub(crate) fn new(memory: u64, directory: Option<PathBuf>) -> Self {
        Self {
            memory: Arc::new(Budget::new(memory)),
            directory: directory.map(Arc::from),
        }
    }

    /// The same memory for a server whose settings have changed.
    pub(crate) fn with(&self, memory: u64, directory: Option<PathBuf>) -> Self {
        self.memory.set_limit(memory);
        Self {
            memory: Arc::clone(&self.memory),
            directory: directory.map(Arc::from),
        }
    }

    /// So much of the memory, if there is so much left.
    pub(crate) fn reserve(&self, bytes: u64) -> Option<MessageMemory> {
        let mut reservation = Reservation::new(&self.memory);
        reservation
            .grow(bytes)
            .then_some(MessageMemory(reservation))
    }

    /// Reads a body to its end.
    pub(crate) async fn gather(&self, body: &mut Body) -> Result<Gathered, Reply> {
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        let mut reservation = Reservation::new(&self.memory);
        let mut size = 0;
        while let Some(piece) = body.chunk().await? {
            size += piece.len() as u64;
            if let Err(rest) = keep(&mut blocks, &mut reservation, &piece) {
                let rest = piece.slice(piece.len() - rest..);
                let file = self.spill(blocks, reservation, rest).await?;
                return self.gather_to_file(body, file, size).await;
            }
        }
        let storage = Storage::Memory {
            blocks: blocks.into_iter().map(Bytes::from).collect(),
            _reservation: reservation,
        };
        Ok(Gathered::whole(storage, size))
    }

    /// Moves what is in memory into a new file.
    async fn spill(
        &self,
        blocks: Vec<Vec<u8>>,
        reservation: Reservation,
        rest: Bytes,
    ) -> Result<DroppedElsewhere<File>, Reply> {
        let directory = self.directory.clone();
        let written = offload(move || {
            // The memory counts until it is given back, also where nobody waits for the file any
            // more.
            let _counted = reservation;
            let blocks = blocks;
            let mut file = nameless_file(directory.as_deref())?;
            blocks.iter().try_for_each(|block| file.write_all(block))?;
            file.write_all(&rest)?;
            Ok(DroppedElsewhere::new(file))
        });
        written.await.or_else(refused)
    }

    async fn gather_to_file(
        &self,
        body: &mut Body,
        mut file: DroppedElsewhere<File>,
        mut size: u64,
    ) -> Result<Gathered, Reply> {
        while let Some(piece) = body.chunk().await? {
            size += piece.len() as u64;
            let written = offload(move || {
                let mut open = file.get()?;
                open.write_all(&piece)?;
                Ok(file)
            });
            file = written.await.or_else(refused)?;
        }
        let storage = Storage::File(file);
        Ok(Gathered::whole(storage, size))
    }
}

impl Default for Gathering {
    fn default() -> Self {
        Self::new(MESSAGE_MEMORY, None)
    }
}

/// Keeps as much of a piece as there is memory for. An error: so many octets of it have none.
fn keep(
    blocks: &mut Vec<Vec<u8>>,
    reservation: &mut Reservation,
    piece: &[u8],
) -> Result<(), usize> {
    let mut rest = piece;
    loop {
        if let Some(block) = blocks.last_mut() {
            let room = block.capacity() - block.len();
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            block.extend_from_slice(now);
            rest = later;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let next = blocks.last().map_or(FIRST_BLOCK, |it| it.capacity() * 4);
        let next = next.min(MAX_BLOCK);
        if !reservation.grow(next as u64) {
            return Err(rest.len());
        }
        blocks.push(Vec::with_capacity(next));
    }
}

fn refused<T>(error: io::Error) -> Result<T, Reply> {
    let reply = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reply::NO_ROOM,
        _ => Reply::TRY_LATER,
    };
    Err(error).or_reply(reply)
}

/// A file that nobody else can open, and that is gone with its last user. Its name, where the
/// system needs one for a moment, is not to be guessed: others may write to the directory.
fn nameless_file(directory: Option<&Path>) -> io::Result<File> {
    match directory {
        Some(directory) => tempfile::tempfile_in(directory),
        None => tempfile::tempfile(),
    }
}

impl Gathered {
    fn whole(storage: Storage, size: u64) -> Self {
        Self {
            stored: Arc::new(Stored { storage }),
            start: 0,
            size,
        }
    }

    /// A part of it, as far as it has so much. It has no memory of its own: the whole is there
    /// until both are gone.
    ///
    /// ```
    /// # async fn example() -> Result<(), prixfixe_server::BodyError> {
    /// use prixfixe_server::Gathered;
    ///
    /// let content = Gathered::new("Subject: hello\r\n");
    /// let mut body = content.part(9, 5).body();
    /// assert_eq!(body.chunk().await?.as_deref(), Some(&b"hello"[..]));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn part(&self, offset: u64, length: u64) -> Self {
        let offset = offset.min(self.size);
        Self {
            stored: Arc::clone(&self.stored),
            start: self.start + offset,
            size: length.min(self.size - offset),
        }
    }

    /// A content of a test's.
    #[must_use]
    pub fn new(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let size = content.len() as u64;
        let storage = Storage::Memory {
            blocks: vec![content],
            _reservation: Reservation::none(),
        };
        Self::whole(storage, size)
    }

    /// The octets of it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// True where it is in a file: it is large, or memory was short.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        matches!(self.stored.storage, Storage::File(_))
    }

    /// Reads it from its beginning, as often as you like.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::of_gathered(Vec::new(), Reader::new(self.clone(), 0))
    }

    /// These pieces, and then what stands behind so many octets of it.
    pub(crate) fn body_behind(&self, front: Vec<Bytes>, skipped: usize) -> Body {
        Body::of_gathered(front, Reader::new(self.clone(), skipped as u64))
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        let reply = match error.kind() {
            io::ErrorKind::StorageFull => Reply::NO_ROOM,
            _ => Reply::TRY_LATER,
        };
        Self::Refused(reply)
    }
}

#[cfg(test)]
mod tests;
