//! Who delivers: one process at a time, also of what others append.

use std::io;

use crate::disk::{Disk, LockKind};
use crate::error::OpenError;
use crate::ledger::{Entry, Fresh, Place, Segment, Writing};
use crate::log::{Inner, Log, lock};
use crate::prepare::{open_or_create, share};
use crate::record::Note;
use crate::recovery::{Foreign, Recovered, Recovery, at, numbers, survey};
use crate::segment;
use crate::shared::Shared;

/// The lock, and the segments of others.
pub(crate) struct Delivering<D: Disk> {
    _lock: D::File,
    foreign: Vec<Foreign<D>>,
}

impl<D: Disk> Log<D> {
    /// Becomes the one who delivers, unless another process is. Tells of each message that is not done. What is appended from
    /// then on is in [`take_fresh`](Self::take_fresh).
    ///
    /// Appends wait meanwhile.
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    pub fn take_over(
        &self,
        visit: impl FnMut(Recovered<'_>),
    ) -> Result<Option<Recovery>, OpenError> {
        let inner = &*self.inner;
        let shared = &*inner.shared;
        let mut delivery = lock(&inner.delivery);
        let path = shared.root.join("lock");
        let held = open_or_create(shared, &path)?;
        if delivery.is_some()
            || !(shared.disk.try_lock(&held, LockKind::Exclusive)).map_err(at(&path))?
        {
            return Ok(None);
        }
        let writer = lock(&inner.writer);
        let about = shared.root.join("format");
        let disk = &*shared.disk;
        disk.unlock(&inner.about).map_err(at(&about))?;
        let alone = disk.try_lock(&inner.about, LockKind::Exclusive);
        let found = alone
            .map_err(at(&about))
            .and_then(|alone| survey(shared, alone, visit));
        disk.unlock(&inner.about).map_err(at(&about))?;
        share(shared, &inner.about, &about)?;
        drop(writer);
        let (recovery, foreign) = found?;
        for (path, bytes) in &recovery.torn {
            tracing::warn!(path = %path.display(), bytes, "dropped the end of a segment that a crash has torn");
        }
        for (path, range) in &recovery.damaged {
            tracing::error!(
                path = %path.display(), from = range.start, to = range.end,
                "part of a segment does not match its checksum and is set aside"
            );
        }
        *delivery = Some(Delivering {
            _lock: held,
            foreign,
        });
        Ok(Some(recovery))
    }

    /// Stops being the one who delivers: syncs all states, and gives up the lock. Appending goes on.
    pub fn hand_over(&self) {
        let mut delivery = lock(&self.inner.delivery);
        // No chore is under way in files that a successor reads.
        let _keeping = lock(&self.inner.keeping);
        while self.turn_with(true) {}
        lock(&self.inner.writer).drop_states();
        let mut ledger = self.inner.shared.ledger();
        ledger.is_delivering = false;
        ledger.live = Default::default();
        ledger.fresh = Vec::new();
        drop(ledger);
        *delivery = None;
    }

    /// Looks for what other processes have appended. For the one who delivers, about once a second.
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    pub fn follow(&self) -> Result<(), OpenError> {
        match lock(&self.inner.delivery).as_mut() {
            Some(delivering) => self.inner.follow(delivering),
            None => Ok(()),
        }
    }
}

impl<D: Disk> Inner<D> {
    pub(crate) fn follow(&self, delivering: &mut Delivering<D>) -> Result<(), OpenError> {
        let shared = &*self.shared;
        let disk = &*shared.disk;
        // Else a segment that our own writer is about to begin would be another's.
        let writer = lock(&self.writer);
        for number in numbers(shared)? {
            if shared.ledger().segments.contains_key(&number) {
                continue;
            }
            let path = segment::path(&shared.root, number);
            let file = disk.open(&path).map_err(at(&path))?;
            // Without one it has not been begun.
            if let Some(seed) = segment::seed(disk, &file, number).map_err(at(&path))? {
                let writing = Writing::Elsewhere(u64::from(segment::FIRST));
                let segment = Segment::new(0, writing);
                shared.ledger().segments.insert(number, segment);
                delivering.foreign.push(Foreign { file, number, seed });
            }
        }
        drop(writer);
        let mut failed = None;
        delivering.foreign.retain(|foreign| {
            follow_one(shared, foreign).unwrap_or_else(|error| {
                failed = Some((foreign.number, error));
                true
            })
        });
        shared.count();
        match failed {
            Some((number, error)) => Err(at(&segment::path(&shared.root, number))(error)),
            None => Ok(()),
        }
    }
}

/// False when its writer has gone and all of it was read.
fn follow_one<D: Disk>(shared: &Shared<D>, foreign: &Foreign<D>) -> io::Result<bool> {
    let disk = &*shared.disk;
    let number = foreign.number;
    let from = match shared.ledger().segments.get(&number).map(|it| it.writing) {
        Some(Writing::Elsewhere(from)) => from,
        _ => return Ok(false),
    };
    // Asked first: what is written until its writer goes is read then.
    let ended = disk.try_lock(&foreign.file, LockKind::Exclusive)?;
    let mut fresh = Vec::new();
    let end = segment::follow(disk, &foreign.file, number, foreign.seed, from, |note| {
        if let Note::Message {
            id,
            from: 0,
            offset,
            length,
            large,
            summary,
        } = note
        {
            let entry = Entry {
                place: Place {
                    segment: number,
                    offset,
                },
                length,
                version: 0,
                state: None,
                large: large.map(Into::into),
            };
            fresh.push((
                entry,
                Fresh {
                    id,
                    summary: summary.into(),
                    companion: None,
                },
            ));
        }
    })?;
    let length = disk.length(&foreign.file)?;
    if ended {
        disk.sync(&foreign.file)?;
        disk.unlock(&foreign.file)?;
    }
    let mut ledger = shared.ledger();
    for (entry, fresh) in fresh {
        ledger.add(fresh.id, entry);
        ledger.fresh.push(fresh);
    }
    if let Some(segment) = ledger.segments.get_mut(&number) {
        segment.length = length;
        segment.writing = match ended {
            true => Writing::Ended,
            false => Writing::Elsewhere(end),
        };
    }
    Ok(!ended)
}
