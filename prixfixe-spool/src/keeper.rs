//! The one who makes room: removes segments that are void, and writes what is left of others once more.
//!
//! The keeper submits records as everybody does and waits for their sync. The writer looks again at each whether it is still so,
//! since deliveries go on meanwhile.

use std::io;
use std::path::PathBuf;

use crate::assembly::Again;
use crate::disk::{Disk, read_exact};
use crate::error::{AppendError, MessageId};
use crate::ledger::{Chore, Place};
use crate::record::{Frame, LargeContent, MessagePayload, Note, Seed};
use crate::segment::{self, FIRST};
use crate::shared::Shared;

/// Bytes that are copied at once, so that clients never wait for more.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Why a chore was not done. It is tried again later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// An operation failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is left of a segment could not be written elsewhere.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A record of the segment that may have to be written again.
enum Wanted {
    Message {
        id: MessageId,
        offset: u32,
        length: u32,
        large: Option<LargeContent>,
        summary: Box<[u8]>,
    },
    Ready(Again),
}

/// Does the next chore. `false`: there was none. `submit` returns when all is synced.
pub(crate) fn keep<D: Disk>(
    shared: &Shared<D>,
    submit: impl FnMut(Vec<Again>) -> Result<(), AppendError>,
) -> Result<bool, KeepError> {
    let chore = shared.ledger().chore();
    match chore {
        Chore::None => return Ok(false),
        Chore::Remove(numbers) => remove(shared, &numbers)?,
        Chore::Clear(number) => clear(shared, number)?,
        Chore::Empty(number) => empty(shared, number, submit)?,
    }
    shared.count();
    Ok(true)
}

fn remove<D: Disk>(shared: &Shared<D>, numbers: &[u64]) -> Result<(), KeepError> {
    let directory = segment::directory(&shared.root);
    for number in numbers {
        let path = segment::path(&shared.root, *number);
        let ledger = shared.ledger();
        let is_damaged = ledger.segments.get(number).is_some_and(|it| it.is_damaged);
        drop(ledger);
        let removed = match is_damaged {
            true => set_aside(shared, *number),
            false => shared.disk.remove(&path),
        };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(KeepError::Io { path, source });
            }
            _ => {}
        }
    }
    // What their records made void must not come back while these stay gone.
    let synced = shared.disk.sync_directory(&directory);
    synced.map_err(|source| KeepError::Io {
        path: directory,
        source,
    })?;
    let mut ledger = shared.ledger();
    for number in numbers {
        ledger.segments.remove(number);
    }
    Ok(())
}

/// Leaves the header alone: as the last segment it says which number is next.
fn clear<D: Disk>(shared: &Shared<D>, number: u64) -> Result<(), KeepError> {
    let path = segment::path(&shared.root, number);
    let disk = &*shared.disk;
    let cleared = disk.open(&path).and_then(|file| {
        disk.truncate(&file, u64::from(FIRST))?;
        disk.sync(&file)
    });
    cleared.map_err(|source| KeepError::Io { path, source })?;
    if let Some(segment) = shared.ledger().segments.get_mut(&number) {
        segment.length = u64::from(FIRST);
    }
    Ok(())
}

/// Moves a segment out of the way, for whoever wants to look at it.
pub(crate) fn set_aside<D: Disk>(shared: &Shared<D>, number: u64) -> io::Result<()> {
    let aside = shared.root.join("damaged");
    let to = aside.join(format!("{number}.seg"));
    shared
        .disk
        .rename(&segment::path(&shared.root, number), &to)?;
    shared.disk.sync_directory(&aside)
}

fn empty<D: Disk>(
    shared: &Shared<D>,
    number: u64,
    mut submit: impl FnMut(Vec<Again>) -> Result<(), AppendError>,
) -> Result<(), KeepError> {
    let path = segment::path(&shared.root, number);
    let io = |source| KeepError::Io {
        path: path.clone(),
        source,
    };
    let file = shared.disk.open(&path).map_err(io)?;
    let mut wanted = Vec::new();
    let reading = segment::read(&*shared.disk, &file, number, |note| {
        wanted.extend(want(shared, number, note));
    })
    .map_err(io)?;
    let mut again = Vec::new();
    let mut size = 0;
    for wanted in wanted {
        let message = match wanted {
            Wanted::Ready(record) => {
                again.push(record);
                size += 64;
                None
            }
            Wanted::Message {
                id,
                offset,
                length,
                large,
                summary,
            } => Some((
                id,
                Place {
                    segment: number,
                    offset,
                },
                length,
                large,
                summary,
            )),
        };
        if let (Some((id, from, length, large, summary)), Some(seed)) = (message, reading.seed) {
            let record = copy(shared, &file, seed, from, length, id).map_err(io)?;
            let Some(frame) = record else {
                // Whoever delivers it will find the same, and say so.
                tracing::error!(%id, path = %path.display(), "a message is damaged and cannot be copied");
                continue;
            };
            size += frame.len();
            again.push(Again::Message {
                id,
                from,
                summary,
                large,
                frame,
            });
        }
        if size >= COPIED_AT_ONCE {
            submit(std::mem::take(&mut again))?;
            size = 0;
        }
    }
    if !again.is_empty() {
        submit(again)?;
    }
    if let Some(segment) = shared.ledger().segments.get_mut(&number) {
        segment.is_emptied = true;
        segment.is_damaged |= !reading.damaged.is_empty();
    }
    Ok(())
}

fn want<D: Disk>(shared: &Shared<D>, number: u64, note: Note<'_>) -> Option<Wanted> {
    let ledger = shared.ledger();
    let here = |offset| Place {
        segment: number,
        offset,
    };
    match note {
        Note::Message {
            id,
            offset,
            length,
            large,
            summary,
            ..
        } => {
            let entry = ledger.live.get(&id)?;
            (entry.place == here(offset)).then(|| Wanted::Message {
                id,
                offset,
                length,
                large,
                summary: summary.into(),
            })
        }
        Note::State {
            id,
            held,
            version,
            offset,
            state,
        } => {
            let entry = ledger.live.get(&id)?;
            (entry.state == Some(here(offset))).then(|| {
                Wanted::Ready(Again::State {
                    id,
                    from: here(offset),
                    held,
                    version,
                    state: state.into(),
                })
            })
        }
        Note::Done { id, segment } => {
            let is_needed = segment != number && ledger.segments.contains_key(&segment);
            is_needed.then_some(Wanted::Ready(Again::Done { id, segment }))
        }
    }
}

/// The message's record for another place. `None`: it is damaged.
fn copy<D: Disk>(
    shared: &Shared<D>,
    file: &D::File,
    seed: Seed,
    from: Place,
    length: u32,
    id: MessageId,
) -> io::Result<Option<Frame>> {
    let mut record = vec![0; length as usize];
    match read_exact(&*shared.disk, file, &mut record, u64::from(from.offset)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let payload = segment::record_in(&record, seed, u64::from(from.offset));
    let payload = payload.and_then(|(kind, payload)| MessagePayload::read(kind, payload));
    Ok(payload.map(|payload| {
        let copy = MessagePayload {
            id: Some(id),
            from: from.segment,
            ..payload
        };
        copy.frame()
    }))
}
