//! What waits for the writer, and how a batch of it becomes records.

use crate::disk::Disk;
use crate::error::MessageId;
use crate::ledger::{Companion, Entry, Place};
use crate::record::{Frame, LargeContent, Note, Seed, done_frame, state_frame};
use crate::ticket::Answer;

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
    pub(crate) companion: Option<Companion>,
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
    /// Whether somebody waits for its sync.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self, Self::Message(_) | Self::Again(..))
    }

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
pub(crate) enum State {
    Attempt {
        id: MessageId,
        held: bool,
        version: u32,
        state: Box<[u8]>,
    },
    Done {
        id: MessageId,
        entry: Entry,
        /// The ledger does not count its message any more.
        is_left: bool,
    },
}

/// What follows from a record that is durable.
#[derive(Debug)]
pub(crate) enum Effect {
    New {
        summary: Box<[u8]>,
        large: Option<LargeContent>,
        companion: Option<Companion>,
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

/// The segment that is written.
pub(crate) struct Open<D: Disk> {
    pub(crate) file: D::File,
    pub(crate) number: u64,
    pub(crate) seed: Seed,
    /// With what was not synced.
    pub(crate) length: u64,
    pub(crate) durable: u64,
    pub(crate) index: Vec<u8>,
}

/// Records of a batch, each at its place.
pub(crate) struct Assembly<'a, D: Disk> {
    pub(crate) open: &'a mut Open<D>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) effects: Vec<Effect>,
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

    pub(crate) fn message(&mut self, message: NewMessage) {
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
            companion: message.companion,
            answer: message.answer,
            at,
            length,
        });
    }

    pub(crate) fn state(&mut self, state: State) {
        let at = self.here();
        let frame = match &state {
            State::Attempt {
                id,
                held,
                version,
                state,
            } => self.attempt(*id, *held, *version, state),
            State::Done { id, entry, .. } => self.done(*id, entry.place.segment),
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

    pub(crate) fn again(&mut self, again: Again) {
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
