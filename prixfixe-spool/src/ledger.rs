//! What is where, and which segments can go.
//!
//! A record may make one in another segment void: a message is done, or was copied. The file with the newer record must
//! then outlive the one with the older, or a message that is done would come back. So each segment knows which others its records
//! speak of (`needs`) and is removed after them, or after these records were written once more elsewhere.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::MessageId;
use crate::record::LargeContent;
use crate::segment::FIRST;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
}

/// A message that is not done. There may be millions.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) length: u32,
    /// How often its state was written.
    pub(crate) version: u32,
    /// Its latest state.
    pub(crate) state: Option<Place>,
    /// Apart, as few have one.
    pub(crate) large: Option<Box<Large>>,
}

/// What is remembered of a large content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Large {
    pub(crate) number: u64,
    pub(crate) length: u64,
}

impl From<LargeContent> for Box<Large> {
    fn from(content: LargeContent) -> Self {
        Self::new(content.into())
    }
}

impl From<LargeContent> for Large {
    fn from(content: LargeContent) -> Self {
        Self {
            number: content.number,
            length: content.length,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// By us.
    Here,
    /// By another process, as far as it was read.
    Elsewhere(u64),
    /// Nobody any more.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) length: u64,
    pub(crate) writing: Writing,
    live: u32,
    live_bytes: u64,
    /// Messages whose latest state is here.
    states: u32,
    needs: BTreeSet<u64>,
    /// What others must remember of it stands elsewhere too.
    pub(crate) is_emptied: bool,
    /// It has bytes that match no checksum: it is kept for whoever wants to look.
    pub(crate) is_damaged: bool,
}

impl Segment {
    pub(crate) fn new(length: u64, writing: Writing) -> Self {
        Self {
            length,
            writing,
            live: 0,
            live_bytes: 0,
            states: 0,
            needs: BTreeSet::new(),
            is_emptied: false,
            is_damaged: false,
        }
    }
}

/// What whoever appends a message has of it in memory, for whoever delivers it.
pub type Companion = Arc<dyn Any + Send + Sync>;

/// A message that a queue has not heard of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fresh {
    /// Its name.
    pub id: MessageId,
    /// What its writer wanted the queue to know.
    pub summary: Box<[u8]>,
    /// What it was [appended with](crate::Log::append_with).
    pub companion: Option<Companion>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) live: HashMap<MessageId, Entry>,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) large_bytes: u64,
    /// Whether this process delivers: then it keeps account, else it only writes.
    pub(crate) is_delivering: bool,
    pub(crate) fresh: Vec<Fresh>,
    /// No segment can be begun: what is void goes, even the last one's records.
    pub(crate) is_out_of_space: bool,
}

/// What the keeper is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Nothing.
    None,
    /// Write once more what is still needed of it.
    Empty(u64),
    /// These can go.
    Remove(Vec<u64>),
    /// All records of the last one can go. Its number stays.
    Clear(u64),
}

impl Ledger {
    /// A segment that is more than so many times longer than what is live of it is emptied.
    const MOSTLY_DEAD: u64 = 4;

    /// Bytes on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        let segments = self.segments.values().map(|segment| segment.length);
        segments.sum::<u64>().saturating_add(self.large_bytes)
    }

    pub(crate) fn add(&mut self, id: MessageId, entry: Entry) {
        if let Some(segment) = self.segments.get_mut(&entry.place.segment) {
            segment.live += 1;
            segment.live_bytes += u64::from(entry.length);
        }
        if let Some(state) = entry.state
            && let Some(segment) = self.segments.get_mut(&state.segment)
        {
            segment.states += 1;
        }
        if let Some(large) = &entry.large {
            self.large_bytes = self.large_bytes.saturating_add(large.length);
        }
        self.live.insert(id, entry);
    }

    /// A record that says that this message is done is durable in segment `by`.
    pub(crate) fn forget(&mut self, entry: &Entry, by: u64) {
        if let Some(large) = &entry.large {
            self.large_bytes = self.large_bytes.saturating_sub(large.length);
        }
        self.depend(by, entry.place.segment);
    }

    /// A message is done: its segment and that of its state need not stay for it.
    pub(crate) fn leave_done(&mut self, entry: &Entry) {
        self.leave(entry);
        if let Some(state) = entry.state {
            self.leave_state(state);
        }
    }

    /// A message's large content is not its own any more.
    pub(crate) fn leave_large(&mut self, id: MessageId) {
        let large = self.live.get_mut(&id).and_then(|entry| entry.large.take());
        if let Some(large) = large {
            self.large_bytes = self.large_bytes.saturating_sub(large.length);
        }
    }

    fn leave(&mut self, entry: &Entry) {
        if let Some(segment) = self.segments.get_mut(&entry.place.segment) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(u64::from(entry.length));
        }
    }

    fn leave_state(&mut self, state: Place) {
        if let Some(segment) = self.segments.get_mut(&state.segment) {
            segment.states = segment.states.saturating_sub(1);
        }
    }

    /// A copy of a message is durable.
    pub(crate) fn copied(&mut self, id: MessageId, from: Place, to: Place, length: u32) {
        self.depend(to.segment, from.segment);
        let Some(entry) = self.live.get_mut(&id).filter(|entry| entry.place == from) else {
            return;
        };
        let before = entry.clone();
        entry.place = to;
        entry.length = length;
        self.leave(&before);
        if let Some(segment) = self.segments.get_mut(&to.segment) {
            segment.live += 1;
            segment.live_bytes += u64::from(length);
        }
    }

    /// A state of this version is durable.
    pub(crate) fn stated(&mut self, id: MessageId, version: u32, at: Place) {
        let Some(entry) = self.live.get_mut(&id) else {
            return;
        };
        // A later one may have gone to another segment already.
        if entry.version != version && entry.state.is_some() {
            return;
        }
        if let Some(before) = entry.state.replace(at) {
            self.leave_state(before);
        }
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.states += 1;
        }
    }

    /// What a record in segment `by` says is about one in segment `on`.
    pub(crate) fn depend(&mut self, by: u64, on: u64) {
        if by != on
            && self.segments.contains_key(&on)
            && let Some(segment) = self.segments.get_mut(&by)
        {
            segment.needs.insert(on);
        }
    }

    pub(crate) fn chore(&self) -> Chore {
        if !self.is_delivering {
            return Chore::None;
        }
        let ended = || {
            let ended = |segment: &Segment| segment.writing == Writing::Ended;
            self.segments.iter().filter(move |(_, it)| ended(it))
        };
        let last = self.segments.last_key_value().map(|(number, _)| *number);
        // Numbers must go on rising: the last one stays.
        let can_go: Vec<u64> = ended()
            .filter(|(number, segment)| self.can_go(segment) && last != Some(**number))
            .map(|(number, _)| *number)
            .collect();
        if !can_go.is_empty() {
            return Chore::Remove(can_go);
        }
        if let Some((number, segment)) = self.segments.last_key_value()
            && self.is_out_of_space
            && segment.writing == Writing::Ended
            && segment.length > u64::from(FIRST)
            && !segment.is_damaged
            && self.can_go(segment)
        {
            return Chore::Clear(*number);
        }
        ended()
            .find(|(number, segment)| {
                let is_dead = segment.live == 0;
                let is_mostly_dead = segment.live_bytes * Self::MOSTLY_DEAD < segment.length;
                !segment.is_emptied && (is_dead || is_mostly_dead) && last != Some(**number)
            })
            .map_or(Chore::None, |(number, _)| Chore::Empty(*number))
    }

    fn can_go(&self, segment: &Segment) -> bool {
        let is_void = || {
            !segment
                .needs
                .iter()
                .any(|it| self.segments.contains_key(it))
        };
        segment.live == 0 && segment.states == 0 && (segment.is_emptied || is_void())
    }
}
