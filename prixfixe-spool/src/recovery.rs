//! Taking a spool over: what is in the segments that are there.
//!
//! Everything is read twice. First what is done and how far deliveries are, then the messages that are left: so that done ones,
//! which may be many more, cost a number each and no more.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, LockKind};
use crate::error::{MessageId, OpenError};
use crate::keeper::set_aside;
use crate::large;
use crate::ledger::{Entry, Ledger, Place, Segment, Writing};
use crate::record::{Note, Seed};
use crate::segment::{self, FIRST};
use crate::shared::Shared;

/// A message that was found.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Recovered<'a> {
    /// Its name.
    pub id: MessageId,
    /// What its writer wanted the queue to know.
    pub summary: &'a [u8],
    /// Its latest state, if it has any.
    pub state: Option<&'a [u8]>,
    /// Whether that state holds it.
    pub is_held: bool,
}

/// What was found beside messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Messages that are not done.
    pub messages: u64,
    /// Ends that a crash has torn: nothing in them was acknowledged.
    pub torn: Vec<(PathBuf, u64)>,
    /// What does not match its checksum: the file, and the bytes in it.
    pub damaged: Vec<(PathBuf, Range<u64>)>,
}

/// A segment whose records another process adds to.
pub(crate) struct Foreign<D: Disk> {
    pub(crate) file: D::File,
    pub(crate) number: u64,
    pub(crate) seed: Seed,
}

/// What is being put together.
struct Survey {
    ledger: Ledger,
    done: HashSet<MessageId>,
    states: HashMap<MessageId, State>,
    copies: HashMap<MessageId, u64>,
}

struct State {
    version: u32,
    is_held: bool,
    place: Place,
    state: Box<[u8]>,
}

/// Reads all segments. Called while nothing is written by this process, and `alone` with no other process about.
pub(crate) fn survey<D: Disk>(
    shared: &Shared<D>,
    alone: bool,
    mut visit: impl FnMut(Recovered<'_>),
) -> Result<(Recovery, Vec<Foreign<D>>), OpenError> {
    let mut recovery = Recovery::default();
    let mut survey = Survey {
        ledger: Ledger {
            is_delivering: true,
            ..Ledger::default()
        },
        done: HashSet::new(),
        states: HashMap::new(),
        copies: HashMap::new(),
    };
    let numbers = numbers(shared)?;
    for number in &numbers {
        let segment = Segment::new(0, Writing::Ended);
        survey.ledger.segments.insert(*number, segment);
    }
    let mut foreign = Vec::new();
    for number in &numbers {
        let found = first_look(shared, &mut survey, *number, alone, &mut recovery);
        foreign.extend(found.map_err(at(&segment::path(&shared.root, *number)))?);
    }
    let directory = segment::directory(&shared.root);
    let synced = shared.disk.sync_directory(&directory);
    synced.map_err(at(&directory))?;
    for number in &numbers {
        let found = second_look(shared, &mut survey, *number, &mut recovery, &mut visit);
        found.map_err(at(&segment::path(&shared.root, *number)))?;
    }
    if alone {
        sweep(shared, &survey.ledger)?;
    }
    *shared.ledger() = survey.ledger;
    shared.count();
    Ok((recovery, foreign))
}

/// The segments that are there, in the order of their numbers.
pub(crate) fn numbers<D: Disk>(shared: &Shared<D>) -> Result<Vec<u64>, OpenError> {
    let directory = segment::directory(&shared.root);
    let names = shared.disk.list(&directory).map_err(at(&directory))?;
    let numbers = names.iter().filter_map(|(name, _)| segment::number(name));
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Who writes it, what it says is done, and how far deliveries are. Ends a segment whose process has gone.
fn first_look<D: Disk>(
    shared: &Shared<D>,
    survey: &mut Survey,
    number: u64,
    alone: bool,
    recovery: &mut Recovery,
) -> io::Result<Option<Foreign<D>>> {
    let disk = &*shared.disk;
    let path = segment::path(&shared.root, number);
    let file = disk.open(&path)?;
    let length = disk.length(&file)?;
    let is_ours = shared
        .ledger()
        .segments
        .get(&number)
        .is_some_and(|it| it.writing == Writing::Here);
    let ended = !is_ours && disk.try_lock(&file, LockKind::Exclusive)?;
    let mut index = Vec::new();
    let reading = segment::read(disk, &file, number, |note| {
        if ended {
            note.put(&mut index);
        }
        survey.first(number, note);
    })?;
    let Some(seed) = reading.seed else {
        survey.ledger.segments.remove(&number);
        return lost(shared, number, length, ended && alone, recovery).map(|()| None);
    };
    let segment = Segment::new(length, Writing::Ended);
    let segment = survey.ledger.segments.entry(number).or_insert(segment);
    segment.length = length;
    if is_ours {
        segment.writing = Writing::Here;
        return Ok(None);
    }
    if !ended {
        // How far it was read is known after the second look.
        segment.writing = Writing::Elsewhere(u64::from(FIRST));
        return Ok(Some(Foreign { file, number, seed }));
    }
    segment.is_damaged = !reading.damaged.is_empty();
    let damaged = reading.damaged.iter().cloned();
    let damaged = damaged.map(|range| (path.clone(), range));
    recovery.damaged.extend(damaged);
    if reading.torn > 0 {
        recovery.torn.push((path.clone(), reading.torn));
    }
    // A process that was killed may have written this and not synced it. What follows from it must not outlive it.
    disk.sync(&file)?;
    if !reading.is_sealed && reading.damaged.is_empty() {
        let cut = disk.truncate(&file, reading.end);
        let sealed =
            cut.and_then(|()| segment::seal(disk, &file, seed, reading.end as u32, &index));
        if let Err(error) = sealed {
            tracing::warn!(path = %path.display(), %error, "cannot end a segment: each start reads all of it");
        }
        segment.length = disk.length(&file)?;
    }
    Ok(None)
}

/// A segment without a header: not begun, or with its beginning damaged.
fn lost<D: Disk>(
    shared: &Shared<D>,
    number: u64,
    length: u64,
    is_over: bool,
    recovery: &mut Recovery,
) -> io::Result<()> {
    // Another process may be about to write it.
    if !is_over {
        return Ok(());
    }
    let path = segment::path(&shared.root, number);
    // Nothing in it was acknowledged before the header was synced, and then there is more than that.
    if length <= u64::from(FIRST) {
        recovery.torn.push((path.clone(), length));
        return shared.disk.remove(&path);
    }
    recovery.damaged.push((path, 0..length));
    set_aside(shared, number)
}

/// The messages that are left.
fn second_look<D: Disk>(
    shared: &Shared<D>,
    survey: &mut Survey,
    number: u64,
    recovery: &mut Recovery,
    visit: &mut impl FnMut(Recovered<'_>),
) -> io::Result<()> {
    if !survey.ledger.segments.contains_key(&number) {
        return Ok(());
    }
    let disk = &*shared.disk;
    let file = disk.open(&segment::path(&shared.root, number))?;
    let reading = segment::read(disk, &file, number, |note| {
        if survey.second(number, note, visit) {
            recovery.messages += 1;
        }
    })?;
    if let Some(segment) = survey.ledger.segments.get_mut(&number)
        && let Writing::Elsewhere(read) = &mut segment.writing
    {
        *read = reading.end;
    }
    Ok(())
}

impl Survey {
    fn first(&mut self, number: u64, note: Note<'_>) {
        match note {
            Note::Message { id, from, .. } => {
                if from != 0 {
                    self.ledger.depend(number, from);
                    self.copies.insert(id, from);
                }
            }
            Note::Done { id, segment } => {
                self.ledger.depend(number, segment);
                self.done.insert(id);
            }
            Note::State {
                id,
                held,
                version,
                offset,
                state,
            } => {
                let before = self.states.get(&id).map(|it| it.version);
                if before.is_none_or(|before| before <= version) {
                    let place = Place {
                        segment: number,
                        offset,
                    };
                    let state = State {
                        version,
                        is_held: held,
                        place,
                        state: state.into(),
                    };
                    self.states.insert(id, state);
                }
            }
        }
    }

    /// True for a message that nobody has found yet.
    fn second(
        &mut self,
        number: u64,
        note: Note<'_>,
        visit: &mut impl FnMut(Recovered<'_>),
    ) -> bool {
        let Note::Message {
            id,
            from,
            offset,
            length,
            large,
            summary,
        } = note
        else {
            return false;
        };
        if self.done.contains(&id) {
            return false;
        }
        let place = Place {
            segment: number,
            offset,
        };
        if let Some(entry) = self.ledger.live.get(&id).cloned() {
            // A crash between a copy and the end of what was copied. The copy counts.
            if from == entry.place.segment || !self.copies.contains_key(&id) {
                self.ledger.copied(id, entry.place, place, length);
            }
            return false;
        }
        let state = self.states.remove(&id);
        let entry = Entry {
            place,
            length,
            version: state.as_ref().map_or(0, |state| state.version),
            state: state.as_ref().map(|state| state.place),
            large: large.map(Into::into),
        };
        self.ledger.add(id, entry);
        visit(Recovered {
            id,
            summary,
            state: state.as_ref().map(|state| &*state.state),
            is_held: state.as_ref().is_some_and(|state| state.is_held),
        });
        true
    }
}

/// Removes large contents that no record names.
fn sweep<D: Disk>(shared: &Shared<D>, ledger: &Ledger) -> Result<(), OpenError> {
    let directory = large::directory(&shared.root);
    let named = ledger
        .live
        .values()
        .filter_map(|entry| entry.large.as_ref());
    let mut named: HashSet<u64> = named.map(|large| large.number).collect();
    named.extend(shared.under_way().iter());
    let files = shared.disk.list(&directory).map_err(at(&directory))?;
    for (name, _) in files {
        if let Some(number) = large::number(&name)
            && !named.contains(&number)
        {
            let path = large::path(&shared.root, number);
            match shared.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a content without a message");
                }
                _ => {}
            }
        }
    }
    Ok(())
}
