//! A message that is read from the log.

use std::io;

use crate::disk::{Disk, OsDisk, read_exact};
use crate::error::{MessageId, ReadError};
use crate::large::{self, LargeReader};
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

    /// Sets aside what is left of a damaged message, in `damaged/`: a large content now, its segment once nothing else of that is
    /// needed. It is not [done](Self::done) by that. This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn set_aside(&self, id: MessageId) -> Result<(), ReadError> {
        let shared = &*self.inner.shared;
        let entry = shared.ledger().live.get(&id).cloned();
        let entry = entry.ok_or(ReadError::Unknown)?;
        if let Some(large) = &entry.large {
            let path = large::path(&shared.root, large.number);
            let aside = shared.root.join("damaged");
            let to = aside.join(format!("{:016x}", large.number));
            let moved = match shared.disk.rename(&path, &to) {
                // That is what is wrong with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                moved => moved.and_then(|()| shared.disk.sync_directory(&aside)),
            };
            moved.map_err(|source| ReadError::Io { path, source })?;
        }
        let mut ledger = shared.ledger();
        ledger.leave_large(id);
        if let Some(segment) = ledger.segments.get_mut(&entry.place.segment) {
            segment.is_damaged = true;
        }
        Ok(())
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
