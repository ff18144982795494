//! When which connection wants a turn at the latest.

use std::collections::BTreeSet;
use std::time::Instant;

/// One entry a connection at most. It is moved only when the deadline comes nearer: deadlines move
/// away with every command, and to find out once, when the old one is due, is cheaper.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    entries: BTreeSet<(Instant, usize)>,
}

/// A connection's deadline, and where its entry is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Armed {
    deadline: Option<Instant>,
    entry: Option<Instant>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first().map(|&(at, _)| at)
    }

    pub(super) fn set(&mut self, key: usize, armed: &mut Armed, deadline: Option<Instant>) {
        armed.deadline = deadline;
        let Some(deadline) = deadline else { return };
        if armed.entry.is_none_or(|entry| entry > deadline) {
            self.remove(key, armed);
            self.entries.insert((deadline, key));
            armed.entry = Some(deadline);
        }
    }

    /// Takes out an entry that is due. Its connection has to be asked by [`is_due`](Self::is_due)
    /// whether it is, too.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        let &(at, _) = self.entries.first()?;
        if at > now {
            return None;
        }
        self.entries.pop_first().map(|(_, key)| key)
    }

    /// Whether a connection whose entry was taken out is due. If it isn't there is an entry again
    /// for when it will be.
    pub(super) fn is_due(&mut self, key: usize, armed: &mut Armed, now: Instant) -> bool {
        armed.entry = None;
        match armed.deadline {
            Some(deadline) if deadline <= now => true,
            later => {
                self.set(key, armed, later);
                false
            }
        }
    }

    pub(super) fn remove(&mut self, key: usize, armed: &mut Armed) {
        if let Some(entry) = armed.entry.take() {
            self.entries.remove(&(entry, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_that_moves_away_is_found_when_the_old_one_is_due() {
        let (mut deadlines, mut armed, start) =
            (Deadlines::default(), Armed::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for seconds in 1..100 {
            deadlines.set(7, &mut armed, Some(after(seconds)));
        }
        assert_eq!(deadlines.next(), Some(after(1)));
        assert_eq!(deadlines.pop(start), None);
        assert_eq!(deadlines.pop(after(1)), Some(7));
        assert!(!deadlines.is_due(7, &mut armed, after(1)));
        assert_eq!(deadlines.next(), Some(after(99)));
        assert_eq!(deadlines.pop(after(99)), Some(7));
        assert!(deadlines.is_due(7, &mut armed, after(99)));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_that_comes_nearer_counts_at_once() {
        let (mut deadlines, mut armed, start) =
            (Deadlines::default(), Armed::default(), Instant::now());
        deadlines.set(1, &mut armed, Some(start + Duration::from_secs(9)));
        deadlines.set(1, &mut armed, Some(start));
        assert_eq!(deadlines.pop(start), Some(1));
        assert!(deadlines.is_due(1, &mut armed, start));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_that_is_given_up_is_never_due() {
        let (mut deadlines, mut armed, start) =
            (Deadlines::default(), Armed::default(), Instant::now());
        deadlines.set(1, &mut armed, Some(start));
        deadlines.set(1, &mut armed, None);
        assert_eq!(deadlines.pop(start), Some(1));
        assert!(!deadlines.is_due(1, &mut armed, start));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_connection_that_goes_leaves_nothing_behind() {
        let (mut deadlines, mut armed, start) =
            (Deadlines::default(), Armed::default(), Instant::now());
        deadlines.set(1, &mut armed, Some(start));
        deadlines.remove(1, &mut armed);
        assert_eq!(deadlines.next(), None);
    }
}
