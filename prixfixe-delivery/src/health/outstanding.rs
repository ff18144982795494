//! Which answers are owed: by the disk, or by whatever else mail is written to.
//!
//! Only work that was handed over counts. Whoever waits for a client's bytes owes nothing here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may be owed before that is a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Work that waits for a thread, and work that is under way.
#[derive(Debug, Default)]
pub(crate) struct Outstanding(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When each piece of work began, the oldest first.
    running: BTreeMap<u64, Instant>,
    next: u64,
    /// How many wait, and since when none of them has had its turn.
    waiting: usize,
    unmoved_since: Option<Instant>,
}

/// One piece of work. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    outstanding: Arc<Outstanding>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    Running(u64),
}

impl Outstanding {
    /// Work that waits for a thread.
    pub(crate) fn wait(self: &Arc<Self>, now: Instant) -> Ticket {
        let mut state = self.lock();
        state.waiting += 1;
        state.unmoved_since.get_or_insert(now);
        drop(state);
        self.ticket(Stage::Waiting)
    }

    /// Work that begins at once.
    pub(crate) fn run(self: &Arc<Self>, now: Instant) -> Ticket {
        let number = self.lock().start(now);
        self.ticket(Stage::Running(number))
    }

    /// For how long an answer has been owed. Work in a queue that moves is load and not a debt.
    pub(crate) fn owed_since(&self) -> Option<Instant> {
        let state = self.lock();
        let oldest = state.running.values().next().copied();
        oldest.into_iter().chain(state.unmoved_since).min()
    }

    fn ticket(self: &Arc<Self>, stage: Stage) -> Ticket {
        Ticket {
            outstanding: Arc::clone(self),
            stage,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start(&mut self, now: Instant) -> u64 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.running.insert(number, now);
        number
    }

    /// One that has waited does so no longer.
    fn leave_queue(&mut self, moved_at: Option<Instant>) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.unmoved_since = None;
        } else if moved_at.is_some() {
            self.unmoved_since = moved_at;
        }
    }
}

impl Ticket {
    /// A thread has taken it.
    pub(crate) fn begin(&mut self, now: Instant) {
        if let Stage::Waiting = self.stage {
            let mut state = self.outstanding.lock();
            state.leave_queue(Some(now));
            self.stage = Stage::Running(state.start(now));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.outstanding.lock();
        match self.stage {
            // Given up by its sender: the queue has not moved by that.
            Stage::Waiting => state.leave_queue(None),
            Stage::Running(number) => drop(state.running.remove(&number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_oldest_work_under_way_is_what_is_owed() {
        let (outstanding, start) = (Arc::new(Outstanding::default()), Instant::now());
        assert_eq!(outstanding.owed_since(), None);
        let first = outstanding.run(start);
        let second = outstanding.run(start + SECOND);
        assert_eq!(outstanding.owed_since(), Some(start));
        drop(first);
        assert_eq!(outstanding.owed_since(), Some(start + SECOND));
        drop(second);
        assert_eq!(outstanding.owed_since(), None);
    }

    #[test]
    fn a_queue_that_moves_owes_nothing_and_one_that_stands_does() {
        let (outstanding, start) = (Arc::new(Outstanding::default()), Instant::now());
        let mut queue: Vec<Ticket> = (0..100).map(|_| outstanding.wait(start)).collect();
        for number in 1..100 {
            let now = start + SECOND * number;
            let mut taken = queue.remove(0);
            taken.begin(now);
            assert_eq!(outstanding.owed_since(), Some(now));
            drop(taken);
        }
        // The last one waits, and nobody takes it.
        assert_eq!(outstanding.owed_since(), Some(start + SECOND * 99));
        let given_up = outstanding.wait(start + SECOND * 500);
        drop(given_up);
        assert_eq!(outstanding.owed_since(), Some(start + SECOND * 99));
        drop(queue);
        assert_eq!(outstanding.owed_since(), None);
    }
}
