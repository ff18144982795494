//! The one who writes: batches of records into the open segment.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use crate::assembly::{Again, Assembly, Effect, Open, State, Submission};
use crate::disk::{Disk, LockKind, append_all};
use crate::error::{AppendError, MessageId};
use crate::ledger::{Entry, Fresh, Segment, Writing};
use crate::record::{Frame, Seed};
use crate::segment::{self, FIRST};
use crate::shared::Shared;
use crate::ticket::{Answer, Woken};

/// Numbers of segments that others may take while one is made.
const MAX_ATTEMPTS: u64 = 1000;

pub(crate) struct Writer<D: Disk> {
    shared: Arc<Shared<D>>,
    open: Option<Open<D>>,
    next: u64,
    /// Written, not synced: states alone.
    unsynced: Vec<Effect>,
    /// States whose segment has failed.
    owed: Vec<State>,
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, next: u64) -> Self {
        Self {
            shared,
            open: None,
            next,
            unsynced: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Whether states wait for a sync.
    pub(crate) fn owes_a_sync(&self) -> bool {
        !self.unsynced.is_empty() || !self.owed.is_empty()
    }

    /// States that wait for a sync.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Another process delivers from now on. What could not be written is delivered once more.
    pub(crate) fn drop_states(&mut self) {
        self.unsynced.clear();
        self.owed.clear();
    }

    /// Writes a batch, syncs it where somebody waits or `sync` says so, and answers whoever waits.
    pub(crate) fn commit(&mut self, batch: Vec<Submission>, sync: bool) {
        let sync = sync || batch.iter().any(Submission::is_awaited);
        let room = batch.iter().map(Submission::size).sum();
        if let Err(error) = self.make_room(room) {
            self.shared.failed("begin a segment of the spool", &error);
            self.refuse(batch, AppendError::of(&error));
            if AppendError::of(&error) == AppendError::NoSpace {
                self.leave_what_is_done();
            }
            return;
        }
        let Some(mut open) = self.open.take() else {
            return self.refuse(batch, AppendError::Failed);
        };
        let (frames, effects) = self.assemble(&mut open, batch);
        self.unsynced.extend(effects);
        let written = write(&*self.shared.disk, &open, &frames).and_then(|()| match sync {
            true => self.shared.disk.sync(&open.file),
            false => Ok(()),
        });
        match written {
            Ok(()) => {
                if sync {
                    open.durable = open.length;
                    self.settle(open.number);
                }
                self.set_length(open.number, open.length);
                self.open = Some(open);
            }
            Err(error) => self.give_up(open, &error),
        }
    }

    /// Ends the open segment, so that the next start need not read its contents.
    pub(crate) fn finish(&mut self) {
        if self.owes_a_sync() {
            self.commit(Vec::new(), true);
        }
        self.roll_over();
    }

    /// Gives every record its place, and says what follows from each once it is durable.
    fn assemble(
        &mut self,
        open: &mut Open<D>,
        batch: Vec<Submission>,
    ) -> (Vec<Frame>, Vec<Effect>) {
        let mut assembly = Assembly {
            open,
            frames: Vec::with_capacity(batch.len()),
            effects: Vec::with_capacity(batch.len()),
        };
        for state in mem::take(&mut self.owed) {
            assembly.state(state);
        }
        for submission in batch {
            match submission {
                Submission::Message(message) => assembly.message(message),
                Submission::State { id, held, state } => {
                    let version = self.shared.ledger().live.get_mut(&id).map(|entry| {
                        entry.version += 1;
                        entry.version
                    });
                    if let Some(version) = version {
                        assembly.state(State::Attempt {
                            id,
                            held,
                            version,
                            state,
                        });
                    }
                }
                // From here on nobody finds it any more, and nothing copies it.
                Submission::Done(id) => {
                    let entry = self.shared.ledger().live.remove(&id);
                    if let Some(entry) = entry {
                        let is_left = false;
                        assembly.state(State::Done { id, entry, is_left });
                    }
                }
                Submission::Again(again, answer) => {
                    if self.is_current(&again) {
                        assembly.again(again);
                    }
                    assembly.effects.push(Effect::Answer(answer));
                }
            }
        }
        (assembly.frames, assembly.effects)
    }

    /// Whether what the keeper has read is still so.
    fn is_current(&self, again: &Again) -> bool {
        let ledger = self.shared.ledger();
        match again {
            Again::Message { id, from, .. } => {
                ledger.live.get(id).is_some_and(|it| it.place == *from)
            }
            Again::State {
                id, from, version, ..
            } => {
                let entry = ledger.live.get(id);
                entry.is_some_and(|it| it.state == Some(*from) && it.version == *version)
            }
            Again::Done { segment, .. } => ledger.segments.contains_key(segment),
        }
    }

    /// All that was written is durable.
    fn settle(&mut self, number: u64) {
        let mut large_done = Vec::new();
        let mut large_new = Vec::new();
        let mut answers: Vec<(Answer<MessageId>, MessageId)> = Vec::new();
        let mut others = Vec::new();
        let mut is_fresh = false;
        {
            let mut ledger = self.shared.ledger();
            for effect in self.unsynced.drain(..) {
                match effect {
                    Effect::New {
                        summary,
                        large,
                        companion,
                        answer,
                        at,
                        length,
                    } => {
                        let id = MessageId::new(at.segment, at.offset);
                        if ledger.is_delivering {
                            let entry = Entry {
                                place: at,
                                length,
                                version: 0,
                                state: None,
                                large: large.map(Into::into),
                            };
                            ledger.add(id, entry);
                            ledger.fresh.push(Fresh {
                                id,
                                summary,
                                companion,
                            });
                            is_fresh = true;
                        }
                        large_new.extend(large.map(|large| large.number));
                        answers.push((answer, id));
                    }
                    Effect::Copied {
                        id,
                        from,
                        at,
                        length,
                    } => ledger.copied(id, from, at, length),
                    Effect::Moved { id, version, at } => ledger.stated(id, version, at),
                    Effect::DoneAgain { segment } => ledger.depend(number, segment),
                    Effect::State(State::Attempt { id, version, .. }, at) => {
                        ledger.stated(id, version, at);
                    }
                    Effect::State(State::Done { entry, is_left, .. }, _) => {
                        if !is_left {
                            ledger.leave_done(&entry);
                        }
                        ledger.forget(&entry, number);
                        large_done.extend(entry.large.map(|large| *large));
                    }
                    Effect::Answer(answer) => others.push(answer),
                }
            }
        }
        // Each wake from another thread costs a system call.
        let mut woken = Woken::default();
        for (answer, id) in answers {
            answer.give_with_others(id, &mut woken);
        }
        woken.wake();
        for answer in others {
            answer.give(Ok(()));
        }
        if is_fresh && let Some(waker) = self.shared.fresh.get() {
            waker.wake_by_ref();
        }
        self.shared.arrived(&large_new);
        self.shared.remove_large(&large_done);
    }

    fn make_room(&mut self, room: u64) -> io::Result<()> {
        if let Some(open) = &self.open
            && open.length > u64::from(FIRST)
            && open.length + room > self.shared.options.segment_size
        {
            self.roll_over();
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        Ok(())
    }

    fn roll_over(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let at = open.length as u32;
        let index = mem::take(&mut open.index);
        match segment::seal(&*self.shared.disk, &open.file, open.seed, at, &index) {
            Ok(()) => {
                self.settle(open.number);
                let length = self.shared.disk.length(&open.file);
                self.end(open.number, length.unwrap_or(open.length));
            }
            Err(error) => self.give_up(open, &error),
        }
    }

    /// A failed write or sync is final: what of it is on the disk is unknown, and a second sync would report success for
    /// pages that the kernel has given up.
    fn give_up(&mut self, open: Open<D>, error: &io::Error) {
        self.shared.failed("write to the spool", error);
        // As far as it goes: so that what is answered 451 does not come back after a start.
        let _ = self.shared.disk.truncate(&open.file, open.durable);
        self.end(open.number, open.durable);
        for effect in self.unsynced.drain(..) {
            match effect {
                Effect::State(state, _) => self.owed.push(state),
                // A large content stays: its record may be there all the same. The next start knows.
                Effect::New { answer, large, .. } => {
                    let large = large.map(|large| large.number);
                    self.shared.arrived(large.as_slice());
                    answer.give(Err(AppendError::of(error)));
                }
                Effect::Answer(answer) => answer.give(Err(AppendError::of(error))),
                Effect::Copied { .. } | Effect::Moved { .. } | Effect::DoneAgain { .. } => {}
            }
        }
    }

    fn refuse(&mut self, batch: Vec<Submission>, error: AppendError) {
        for submission in batch {
            match submission {
                Submission::Message(message) => {
                    if let Some(large) = message.large {
                        self.shared.arrived(&[large.number]);
                        self.shared.remove_large(&[large.into()]);
                    }
                    message.answer.give(Err(error));
                }
                Submission::Again(_, answer) => answer.give(Err(error)),
                Submission::State { id, held, state } => {
                    if let Some(entry) = self.shared.ledger().live.get_mut(&id) {
                        entry.version += 1;
                        let version = entry.version;
                        self.owed.push(State::Attempt {
                            id,
                            held,
                            version,
                            state,
                        });
                    }
                }
                Submission::Done(id) => {
                    let entry = self.shared.ledger().live.remove(&id);
                    self.owed.extend(entry.map(|entry| State::Done {
                        id,
                        entry,
                        is_left: false,
                    }));
                }
            }
        }
    }

    /// Without space for another segment nobody can write that messages are done. A segment in which all are done goes without
    /// that: nothing is left of them, and there is space again.
    fn leave_what_is_done(&mut self) {
        let mut ledger = self.shared.ledger();
        ledger.is_out_of_space = true;
        for state in &mut self.owed {
            if let State::Done { entry, is_left, .. } = state
                && !*is_left
            {
                ledger.leave_done(entry);
                *is_left = true;
            }
        }
    }

    fn begin(&mut self) -> io::Result<Open<D>> {
        let disk = &*self.shared.disk;
        for number in self.next..self.next + MAX_ATTEMPTS {
            let path = segment::path(&self.shared.root, number);
            let file = match disk.create(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            self.next = number + 1;
            let nonce = random();
            let begun = match disk.try_lock(&file, LockKind::Exclusive) {
                // Another process has looked at it at this moment. There are more numbers.
                Ok(false) => continue,
                Ok(true) => self.write_beginning(&file, number, nonce),
                Err(error) => Err(error),
            };
            if let Err(error) = begun {
                let _ = disk.remove(&path);
                return Err(error);
            }
            let segment = Segment::new(u64::from(FIRST), Writing::Here);
            let mut ledger = self.shared.ledger();
            ledger.segments.insert(number, segment);
            ledger.is_out_of_space = false;
            drop(ledger);
            return Ok(Open {
                file,
                number,
                seed: Seed::new(number, nonce),
                length: u64::from(FIRST),
                durable: u64::from(FIRST),
                index: Vec::new(),
            });
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The header is synced with the first batch, its name now.
    fn write_beginning(&self, file: &D::File, number: u64, nonce: u64) -> io::Result<()> {
        let beginning = segment::beginning(number, nonce);
        let disk = &*self.shared.disk;
        append_all(disk, file, &mut [IoSlice::new(&beginning)])?;
        disk.sync_directory(&segment::directory(&self.shared.root))
    }

    fn set_length(&self, number: u64, length: u64) {
        if let Some(segment) = self.shared.ledger().segments.get_mut(&number) {
            segment.length = length;
        }
    }

    fn end(&self, number: u64, length: u64) {
        let mut ledger = self.shared.ledger();
        if let Some(segment) = ledger.segments.get_mut(&number) {
            segment.length = length;
            segment.writing = Writing::Ended;
        }
    }
}

fn write<D: Disk>(disk: &D, open: &Open<D>, frames: &[Frame]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|it| IoSlice::new(it.bytes())).collect();
    append_all(disk, &open.file, &mut slices)
}

/// Random bits. The keys of std's hash maps are such.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
