//! Group commit: one fsync of `new/` for every message that was renamed before it began.
//!
//! A worker that has renamed a message puts it on the list. If nobody syncs at the moment it
//! becomes the one who does: it takes the list, syncs, answers all that were on it, and goes on
//! while the list has filled up meanwhile. The others have nothing to wait for and turn to the next
//! message. So under load there is always one sync under way, it carries all that came during the
//! one before, and a lone message pays for no more than its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::FileSystem;
use super::store::{Answer, Store};

/// Messages that are in `new/` and not yet known to be there after a loss of power. One a
/// connection at the most.
#[derive(Debug, Default)]
pub(crate) struct Commits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    renamed: Vec<Renamed>,
    /// Somebody syncs, and will look at the list again.
    led: bool,
}

#[derive(Debug)]
struct Renamed {
    name: String,
    answer: Answer,
}

impl<F: FileSystem> Store<F> {
    /// Makes the name of a renamed message durable and answers it, here or in the worker that does
    /// so for all.
    pub(crate) fn commit(&self, name: String, answer: Answer) {
        let Some(lead) = self.commits.join(Renamed { name, answer }) else {
            return;
        };
        self.commit_all(&lead);
    }

    /// Commits what a worker has left that panicked while it did so for all.
    pub(crate) fn commit_the_rest(&self) {
        if let Some(lead) = self.commits.take_over() {
            self.commit_all(&lead);
        }
    }

    fn commit_all(&self, lead: &Lead<'_>) {
        while let Some(group) = lead.next() {
            self.commit_group(group);
        }
    }

    fn commit_group(&self, group: Vec<Renamed>) {
        let Err(fault) = self.sync_directory(&self.new) else {
            for Renamed { name, answer } in group {
                self.stored(&name, answer);
            }
            return;
        };
        // Not tried again: the kernel may have dropped what it could not write and would now report
        // success. Nothing is known of these names, so none of them may stay.
        let error = self.failed(fault);
        for Renamed { name, answer } in group {
            self.remove(&self.new.join(name));
            answer.give(Err(error.clone()));
        }
    }
}

impl Commits {
    /// Puts a message on the list. `Some`: it is up to the caller to sync.
    fn join(&self, renamed: Renamed) -> Option<Lead<'_>> {
        let mut state = self.lock();
        state.renamed.push(renamed);
        match state.led {
            true => None,
            false => {
                state.led = true;
                Some(Lead(self))
            }
        }
    }

    /// The lead, where messages wait and nobody has it.
    fn take_over(&self) -> Option<Lead<'_>> {
        let mut state = self.lock();
        let left = !state.led && !state.renamed.is_empty();
        state.led |= left;
        left.then_some(Lead(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a single step: a poisoned one holds a whole state all the
        // same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lead<'a>(&'a Commits);

impl Lead<'_> {
    /// All that is on the list now. `None`: nothing is, and the lead is free again.
    fn next(&self) -> Option<Vec<Renamed>> {
        let mut state = self.0.lock();
        if state.renamed.is_empty() {
            state.led = false;
            return None;
        }
        Some(std::mem::take(&mut state.renamed))
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // A lead that panicked would leave all that come after waiting for it.
        if thread::panicking() {
            self.0.lock().led = false;
        }
    }
}
