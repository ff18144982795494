//! The one who writes: batches of records into the open segment.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use crate::disk::{Disk, LockKind, append_all};
use crate::error::{AppendError, MessageId};
use crate::ledger::{Entry, Fresh, Place, Segment, Writing};
use crate::record::{Frame, LargeContent, Note, Seed, done_frame, state_frame};
use crate::segment::{self, FIRST};
use crate::shared::Shared;
use crate::ticket::Answer;

/// Numbers of segments that others may take while one is made.
const MAX_ATTEMPTS: u64 = 1000;

/// What somebody wants in the log.
#[derive(Debug)]
pub(crate) enum Submission {
    /// A new message. Its answer comes after the sync.
    Message(NewMessage),
    /// How far its delivery is. Never waited for.
    State {
        id: MessageId,
        held: bool,
        state: Box<[u8]>,
    },
    /// Its delivery is over.
    Done(MessageId),
    /// What the keeper has read elsewhere.
    Again(Again, Answer<()>),
}

#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) frame: Frame,
    pub(crate) summary: Box<[u8]>,
    pub(crate) large: Option<LargeContent>,
    pub(crate) answer: Answer<MessageId>,
}

/// A record that is written once more, so that its segment can go.
#[derive(Debug)]
pub(crate) enum Again {
    Message {
        id: MessageId,
        from: Place,
        summary: Box<[u8]>,
        large: Option<LargeContent>,
        frame: Frame,
    },
    State {
        id: MessageId,
        from: Place,
        held: bool,
        version: u32,
        state: Box<[u8]>,
    },
    Done {
        id: MessageId,
        segment: u64,
    },
}

impl Submission {
    /// About how long its record is.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::Message(message) => message.frame.len(),
            Self::State { state, .. } => 32 + state.len(),
            Self::Done(_) | Self::Again(Again::Done { .. }, _) => 32,
            Self::Again(Again::Message { frame, .. }, _) => frame.len(),
            Self::Again(Again::State { state, .. }, _) => 32 + state.len(),
        };
        size as u64
    }
}

/// A state that is on its way to the disk. Where the segment fails it is written to the next one.
#[derive(Debug)]
enum State {
    Attempt {
        id: MessageId,
        held: bool,
        version: u32,
        state: Box<[u8]>,
    },
    Done {
        id: MessageId,
        entry: Entry,
    },
}

/// What follows from a record that is durable.
#[derive(Debug)]
enum Effect {
    New {
        summary: Box<[u8]>,
        large: Option<LargeContent>,
        answer: Answer<MessageId>,
        at: Place,
        length: u32,
    },
    Copied {
        id: MessageId,
        from: Place,
        at: Place,
        length: u32,
    },
    Moved {
        id: MessageId,
        version: u32,
        at: Place,
    },
    DoneAgain {
        segment: u64,
    },
    State(State, Place),
    Answer(Answer<()>),
}

struct Open<D: Disk> {
    file: D::File,
    number: u64,
    seed: Seed,
    /// With what was not synced.
    length: u64,
    durable: u64,
    index: Vec<u8>,
}

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
        let waits = |it: &Submission| matches!(it, Submission::Message(_) | Submission::Again(..));
        let sync = sync || batch.iter().any(waits);
        let room = batch.iter().map(Submission::size).sum();
        if let Err(error) = self.make_room(room) {
            self.shared.failed("begin a segment of the spool", &error);
            return self.refuse(batch, AppendError::of(&error));
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
                        assembly.state(State::Done { id, entry });
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
        {
            let mut ledger = self.shared.ledger();
            for effect in self.unsynced.drain(..) {
                match effect {
                    Effect::New {
                        summary,
                        large,
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
                            ledger.fresh.push(Fresh { id, summary });
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
                    Effect::State(State::Done { entry, .. }, _) => {
                        ledger.forget(&entry, number);
                        large_done.extend(entry.large);
                    }
                    Effect::Answer(answer) => others.push(answer),
                }
            }
        }
        for (answer, id) in answers {
            answer.give(Ok(id));
        }
        for answer in others {
            answer.give(Ok(()));
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
                    self.owed
                        .extend(entry.map(|entry| State::Done { id, entry }));
                }
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
            self.shared.ledger().segments.insert(number, segment);
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

/// Records of a batch, each at its place.
struct Assembly<'a, D: Disk> {
    open: &'a mut Open<D>,
    frames: Vec<Frame>,
    effects: Vec<Effect>,
}

impl<D: Disk> Assembly<'_, D> {
    fn here(&self) -> Place {
        Place {
            segment: self.open.number,
            offset: self.open.length as u32,
        }
    }

    fn push(&mut self, mut frame: Frame) {
        frame.place(self.open.seed, self.open.length as u32);
        self.open.length += frame.len() as u64;
        self.frames.push(frame);
    }

    fn message(&mut self, message: NewMessage) {
        let at = self.here();
        let note = Note::Message {
            id: MessageId::new(at.segment, at.offset),
            from: 0,
            offset: at.offset,
            length: message.frame.len() as u32,
            large: message.large,
            summary: &message.summary,
        };
        note.put(&mut self.open.index);
        let length = message.frame.len() as u32;
        self.push(message.frame);
        self.effects.push(Effect::New {
            summary: message.summary,
            large: message.large,
            answer: message.answer,
            at,
            length,
        });
    }

    fn state(&mut self, state: State) {
        let at = self.here();
        let frame = match &state {
            State::Attempt {
                id,
                held,
                version,
                state,
            } => self.attempt(*id, *held, *version, state),
            State::Done { id, entry } => self.done(*id, entry.place.segment),
        };
        self.push(frame);
        self.effects.push(Effect::State(state, at));
    }

    fn attempt(&mut self, id: MessageId, held: bool, version: u32, state: &[u8]) -> Frame {
        let note = Note::State {
            id,
            held,
            version,
            offset: self.here().offset,
            state,
        };
        note.put(&mut self.open.index);
        state_frame(id, held, version, state)
    }

    fn done(&mut self, id: MessageId, segment: u64) -> Frame {
        Note::Done { id, segment }.put(&mut self.open.index);
        done_frame(id, segment)
    }

    fn again(&mut self, again: Again) {
        let at = self.here();
        let (frame, effect) = match again {
            Again::Message {
                id,
                from,
                summary,
                large,
                frame,
            } => {
                let length = frame.len() as u32;
                let note = Note::Message {
                    id,
                    from: from.segment,
                    offset: at.offset,
                    length,
                    large,
                    summary: &summary,
                };
                note.put(&mut self.open.index);
                let effect = Effect::Copied {
                    id,
                    from,
                    at,
                    length,
                };
                (frame, effect)
            }
            Again::State {
                id,
                held,
                version,
                state,
                ..
            } => {
                let frame = self.attempt(id, held, version, &state);
                (frame, Effect::Moved { id, version, at })
            }
            Again::Done { id, segment } => (self.done(id, segment), Effect::DoneAgain { segment }),
        };
        self.push(frame);
        self.effects.push(effect);
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
