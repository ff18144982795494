//! Those who append at the same time.
//!
//! Where several messages came together, those who have had their answers are about to append the next ones. The writer waits
//! for most of them, so that one sync does for all: a sync costs the processor as much as several messages do. Whoever is
//! alone waits for nobody.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::log::{Inner, Resting, lock};

/// Fewer than this are no crowd.
const FEW: usize = 4;

/// The longest that anybody is waited for.
const LONGEST: Duration = Duration::from_millis(1);

/// Behind so many times in vain it does not matter how many more there were.
const MOST_IN_VAIN: u32 = 6;

/// What the writer knows of those who append.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Messages of the last batch.
    last: usize,
    /// Those, and what waited already when they had been written.
    all: usize,
    /// How long their write and sync took.
    took: Duration,
    /// Batches for which nobody is waited for.
    skipped: u32,
    /// How often those who were waited for did not come.
    in_vain: u32,
}

impl Crowd {
    /// Waits for those who are about to append.
    pub(crate) fn gather<D: Disk>(&mut self, inner: &Inner<D>) {
        let Some((wanted, patience)) = self.expected() else {
            return;
        };
        let began = Instant::now();
        let mut queue = lock(&inner.queue);
        while queue.awaited < wanted && !queue.is_closing {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return self.came(false);
            }
            queue.writer = Resting::ForMany(wanted);
            let woken = inner.woken.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            queue.writer = Resting::Not;
        }
        self.came(true);
    }

    /// How many are waited for, and how long. `None`: nobody is.
    fn expected(&mut self) -> Option<(usize, Duration)> {
        if self.last < FEW {
            return None;
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            return None;
        }
        // Three of four: some clients have nothing more, or are slow.
        let patience = (self.took / 2).min(LONGEST);
        Some((self.all * 3 / 4, patience))
    }

    /// Whether so many came. Where they do not, others are delayed for nothing: it is tried ever more seldom.
    fn came(&mut self, all: bool) {
        self.in_vain = match all {
            true => 0,
            false => (self.in_vain + 1).min(MOST_IN_VAIN),
        };
        if !all {
            self.skipped = 1 << self.in_vain;
        }
    }

    /// So many were written, which took so long, and so many wait already.
    pub(crate) fn was_written(&mut self, count: usize, took: Duration, waiting: usize) {
        self.last = count;
        self.all = count + waiting;
        self.took = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_micros(600);

    #[test]
    fn most_of_a_crowd_are_waited_for_and_nobody_by_one_who_is_alone() {
        let mut crowd = Crowd::default();
        assert_eq!(crowd.expected(), None);
        crowd.was_written(1, TOOK, 0);
        assert_eq!(crowd.expected(), None);
        crowd.was_written(20, TOOK, 20);
        assert_eq!(crowd.expected(), Some((30, TOOK / 2)));
        // A disk that takes its time has nobody wait for as long.
        crowd.was_written(20, Duration::from_secs(2), 20);
        assert_eq!(crowd.expected(), Some((30, LONGEST)));
    }

    #[test]
    fn those_who_do_not_come_are_waited_for_ever_more_seldom() {
        let mut crowd = Crowd::default();
        crowd.was_written(20, TOOK, 0);
        let mut waits = Vec::new();
        for batch in 0..100 {
            if crowd.expected().is_some() {
                waits.push(batch);
                crowd.came(false);
            }
        }
        assert_eq!(waits, [0, 3, 8, 17, 34, 67]);
        while crowd.expected().is_none() {}
        crowd.came(true);
        assert!(crowd.expected().is_some());
    }
}
