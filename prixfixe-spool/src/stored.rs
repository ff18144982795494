//! A message that is read from the log.

use std::io::{self, IoSlice};
use std::path::PathBuf;

use crate::disk::{Disk, OsDisk, append_all, read_exact};
use crate::error::{MessageId, ReadError};
use crate::large::{self, LargeReader};
use crate::ledger::{Entry, Large};
use crate::log::Log;
use crate::record::{MessagePayload, PayloadContent, Seed};
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
                    let number = entry.place.segment;
                    // It may be a large content that is damaged, and its record as it was.
                    if let ReadError::Damaged { path, .. } = &error
                        && *path == segment::path(&shared.root, number)
                        && let Some(segment) = shared.ledger().segments.get_mut(&number)
                    {
                        segment.is_damaged = true;
                    }
                    return Err(error);
                }
                read => return read,
            }
        }
    }

    /// Sets aside what is left of a damaged message, in `damaged/`: a large content now, with its
    /// envelope. Where its record is damaged, that is its segment, once nothing else of it is
    /// needed. The message is not [done](Self::done) by that. This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn set_aside(&self, id: MessageId) -> Result<(), ReadError> {
        let shared = &*self.inner.shared;
        let (entry, record) = loop {
            let entry = shared.ledger().live.get(&id).cloned();
            let entry = entry.ok_or(ReadError::Unknown)?;
            match Record::read(shared, &entry) {
                // It was copied meanwhile.
                Err(ReadError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && self.has_moved(id, &entry) => {}
                // Without it, for whatever reason, the segment has to stay.
                record => break (entry, record.ok()),
            }
        };
        let envelope = record.as_ref().and_then(Record::envelope_of_large);
        if let Some(large) = &entry.large {
            set_content_aside(shared, large, envelope)?;
        }
        let mut ledger = shared.ledger();
        ledger.leave_large(id);
        if envelope.is_none()
            && let Some(segment) = ledger.segments.get_mut(&entry.place.segment)
        {
            segment.is_damaged = true;
        }
        Ok(())
    }

    fn has_moved(&self, id: MessageId, entry: &Entry) -> bool {
        let now = self.inner.shared.ledger().live.get(&id).map(|it| it.place);
        now != Some(entry.place)
    }
}

/// Moves a large content to `damaged/`, and writes whose it was beside it. It can be repeated.
fn set_content_aside<D: Disk>(
    shared: &Shared<D>,
    large: &Large,
    envelope: Option<&[u8]>,
) -> Result<(), ReadError> {
    let disk = &*shared.disk;
    let path = large::path(&shared.root, large.number);
    let aside = shared.root.join("damaged");
    let name = format!("{:016x}", large.number);
    let io = |source| ReadError::Io {
        path: path.clone(),
        source,
    };
    if let Some(envelope) = envelope {
        let beside = aside.join(format!("{name}.envelope"));
        let part = aside.join(format!("{name}.part"));
        // A process that was killed may have left it.
        match disk.remove(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let file = disk.create(&part).map_err(io)?;
        append_all(disk, &file, &mut [IoSlice::new(envelope)]).map_err(io)?;
        disk.sync(&file).map_err(io)?;
        disk.rename(&part, &beside).map_err(io)?;
    }
    match disk.rename(&path, &aside.join(name)) {
        // That is what is wrong with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        moved => moved.map_err(io)?,
    }
    disk.sync_directory(&aside).map_err(io)
}

/// A message's record, as it is on the disk.
struct Record {
    bytes: Vec<u8>,
    seed: Seed,
    at: u64,
    path: PathBuf,
}

impl Record {
    fn read<D: Disk>(shared: &Shared<D>, entry: &Entry) -> Result<Self, ReadError> {
        let (disk, place) = (&*shared.disk, entry.place);
        let path = segment::path(&shared.root, place.segment);
        let io = |source| ReadError::Io {
            path: path.clone(),
            source,
        };
        let at = u64::from(place.offset);
        let damaged = || ReadError::Damaged {
            path: path.clone(),
            offset: at,
        };
        let file = disk.open(&path).map_err(io)?;
        let seed = segment::seed(disk, &file, place.segment).map_err(io)?;
        let seed = seed.ok_or_else(damaged)?;
        let mut bytes = vec![0; entry.length as usize];
        match read_exact(disk, &file, &mut bytes, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
            read => read.map_err(io)?,
        }
        Ok(Self {
            bytes,
            seed,
            at,
            path,
        })
    }

    /// `None`: the content is here too, or the record is not as it was written.
    fn envelope_of_large(&self) -> Option<&[u8]> {
        let message = self.message().ok()?;
        let is_large = matches!(message.content, PayloadContent::Large(_));
        is_large.then_some(message.envelope)
    }

    fn message(&self) -> Result<MessagePayload<'_>, ReadError> {
        let record = segment::record_in(&self.bytes, self.seed, self.at);
        let message = record.and_then(|(kind, payload)| MessagePayload::read(kind, payload));
        message.ok_or_else(|| ReadError::Damaged {
            path: self.path.clone(),
            offset: self.at,
        })
    }
}

fn read_message<D: Disk>(shared: &Shared<D>, entry: &Entry) -> Result<Stored<D>, ReadError> {
    let record = Record::read(shared, entry)?;
    let message = record.message()?;
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
