//! What happens when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::task::Waker;

use fastrand::Rng;

use crate::network::Notice;
use crate::runtime::{Key, Nanos};

pub(super) enum Event {
    Connect(usize),
    Accept(usize),
    Client(usize),
    Network(usize, Notice),
    Deadline(usize, Nanos),
    Runnable(Key),
    Dispatch,
    Timer(Waker),
    Disk,
    Stop(usize),
    DrainOver(usize),
    Start,
}

/// Events in the order of their times; those of one time in any order, but the same each time.
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    rng: Rng,
    count: u64,
}

struct Entry {
    at: Nanos,
    tie: (u8, u64),
    event: Event,
}

impl Queue {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            heap: BinaryHeap::new(),
            rng: Rng::with_seed(seed ^ 0x71E5),
            count: 0,
        }
    }

    pub(super) fn push(&mut self, at: Nanos, event: Event) {
        self.count += 1;
        let tie = (self.rng.u8(..), self.count);
        self.heap.push(Entry { at, tie, event });
    }

    pub(super) fn pop(&mut self) -> Option<(Nanos, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl Entry {
    fn key(&self) -> (Nanos, (u8, u64)) {
        (self.at, self.tie)
    }
}

// The first is the greatest.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}
