//! A message that is read from the log.

use std::io;

use crate::disk::{Disk, OsDisk, read_exact};
use crate::error::{MessageId, ReadError};
use crate::large::LargeReader;
use crate::ledger::Entry;
use crate::log::Log;
use crate::record::{MessagePayload, PayloadContent};
use crate::segment;
use crate::shared::Shared;

/// A message from the log.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stored<D: Disk = OsDisk> {
    /// Whom it is from and for.
    pub envelope: Vec<u8>,
    /// What is put above its content.
    pub headers: Vec<u8>,
    /// What the client has sent.
    pub content: Content<D>,
}

/// A message's content.
#[derive(Debug)]
pub enum Content<D: Disk = OsDisk> {
    /// All of it.
    Here(Vec<u8>),
    /// In a file of its own.
    Large(LargeReader<D>),
}

impl<D: Disk> Log<D> {
    /// Reads a message. This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`]. What is damaged is kept in `damaged/` once its segment is no longer needed.
    pub fn read(&self, id: MessageId) -> Result<Stored<D>, ReadError> {
        let shared = &*self.inner.shared;
        loop {
            let entry = shared.ledger().live.get(&id).cloned();
            let entry = entry.ok_or(ReadError::Unknown)?;
            match read_message(shared, &entry) {
                // It was copied meanwhile.
                Err(ReadError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && self.has_moved(id, &entry) => {}
                Err(error) => {
                    if let ReadError::Damaged { .. } = error
                        && let Some(segment) =
                            shared.ledger().segments.get_mut(&entry.place.segment)
                    {
                        segment.is_damaged = true;
                    }
                    return Err(error);
                }
                read => return read,
            }
        }
    }

    fn has_moved(&self, id: MessageId, entry: &Entry) -> bool {
        let now = self.inner.shared.ledger().live.get(&id).map(|it| it.place);
        now != Some(entry.place)
    }
}

fn read_message<D: Disk>(shared: &Shared<D>, entry: &Entry) -> Result<Stored<D>, ReadError> {
    let (disk, place) = (&*shared.disk, entry.place);
    let path = segment::path(&shared.root, place.segment);
    let io = |source| ReadError::Io {
        path: path.clone(),
        source,
    };
    let damaged = || ReadError::Damaged {
        path: path.clone(),
        offset: u64::from(place.offset),
    };
    let file = disk.open(&path).map_err(io)?;
    let seed = segment::seed(disk, &file, place.segment).map_err(io)?;
    let seed = seed.ok_or_else(damaged)?;
    let mut record = vec![0; entry.length as usize];
    match read_exact(disk, &file, &mut record, u64::from(place.offset)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
        read => read.map_err(io)?,
    }
    let (kind, payload) =
        segment::record_in(&record, seed, u64::from(place.offset)).ok_or_else(damaged)?;
    let message = MessagePayload::read(kind, payload).ok_or_else(damaged)?;
    let content = match message.content {
        PayloadContent::Here(content) => Content::Here(content.to_vec()),
        PayloadContent::Large(content) => Content::Large(LargeReader::open(shared, content)?),
    };
    Ok(Stored {
        envelope: message.envelope.to_vec(),
        headers: message.headers.to_vec(),
        content,
    })
}
