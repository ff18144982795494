//! Free space, and how much of it there should be.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Fault;

/// Free space of a file system, for those who are not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreeSpace {
    /// Bytes that can be written.
    pub bytes: u64,
    /// Files that can be made; `None` for a file system that does not count them.
    pub inodes: Option<u64>,
}

impl FreeSpace {
    /// So many bytes, and so many files where they are counted.
    #[must_use]
    pub const fn new(bytes: u64, inodes: Option<u64>) -> Self {
        Self { bytes, inodes }
    }
}

/// The least free space with which mail is taken.
///
/// Below it MAIL is answered `452 4.3.1`, before a client sends a message that would not fit, until
/// there is a tenth more. A file system that does not count inodes has no limit of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MinFree {
    /// Bytes; 0 for no limit.
    pub bytes: u64,
    /// Inodes; 0 for no limit.
    pub inodes: u64,
}

/// A message takes one; the rest is room for those under way and for who reads them.
const MIN_FREE_INODES: u64 = 1000;

/// Where messages have no limit. As for the server's default limit, 10 MiB.
const UNLIMITED_MESSAGES: u64 = 10 << 20;

impl MinFree {
    /// Mail is taken until the disk says no. The default.
    pub const OFF: Self = Self {
        bytes: 0,
        inodes: 0,
    };

    /// So many bytes and 1,000 inodes; with 0 it is [`OFF`](Self::OFF).
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        match bytes {
            0 => Self::OFF,
            bytes => Self {
                bytes,
                inodes: MIN_FREE_INODES,
            },
        }
    }

    /// What goes with a server's `max_message_size`: one and a half times as much. With 0, for no
    /// limit, 15 MiB.
    #[must_use]
    pub const fn for_messages_of(max_message_size: u64) -> Self {
        let largest = match max_message_size {
            0 => UNLIMITED_MESSAGES,
            size => size,
        };
        Self::bytes(largest.saturating_add(largest / 2))
    }

    fn with_a_tenth_more(self) -> Self {
        let more = |least: u64| least.saturating_add(least / 10);
        Self {
            bytes: more(self.bytes),
            inodes: more(self.inodes),
        }
    }

    fn lacks_bytes(self, free: FreeSpace) -> bool {
        free.bytes < self.bytes
    }

    fn lacks_inodes(self, free: FreeSpace) -> bool {
        free.inodes.is_some_and(|inodes| inodes < self.inodes)
    }
}

impl Default for MinFree {
    fn default() -> Self {
        Self::OFF
    }
}

/// A file system that mail is written to, as it was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Storage {
    /// Where mail is written on it.
    pub path: PathBuf,
    /// What is free.
    pub free: FreeSpace,
    /// The least that should be.
    pub min_free: MinFree,
    /// Mail is refused for want of space.
    pub is_short: bool,
}

/// What is known of the free space in one place.
#[derive(Debug)]
pub(crate) struct Gauge {
    state: Mutex<State>,
    /// Bytes that a message may declare; everything while there is no limit.
    room: AtomicU64,
    /// Bytes that may be written before it is time to look again.
    budget: AtomicU64,
}

#[derive(Debug)]
struct State {
    min_free: MinFree,
    free: Option<FreeSpace>,
    is_short: bool,
}

/// Less than this is not worth a look before its time.
const LEAST_BUDGET: u64 = 1 << 20;

impl Gauge {
    pub(crate) fn new(min_free: MinFree) -> Self {
        let state = State {
            min_free,
            free: None,
            is_short: false,
        };
        Self {
            state: Mutex::new(state),
            room: AtomicU64::new(u64::MAX),
            budget: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes what was seen, and gives what is wrong with it.
    pub(crate) fn sample(&self, subject: &str, free: FreeSpace) -> Option<Fault> {
        let mut state = self.state();
        state.free = Some(free);
        self.judge(subject, &mut state)
    }

    pub(crate) fn set_min_free(&self, subject: &str, min_free: MinFree) -> Option<Fault> {
        let mut state = self.state();
        if state.min_free != min_free {
            state.min_free = min_free;
            state.is_short = false;
        }
        self.judge(subject, &mut state)
    }

    pub(crate) fn min_free(&self) -> MinFree {
        self.state().min_free
    }

    /// Counts what was written. True: it is time to look again.
    pub(crate) fn wrote(&self, bytes: u64) -> bool {
        let spend = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(bytes));
        let spent = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        spent.is_ok_and(|left| left > 0 && left <= bytes)
    }

    /// False: a message of this declared size does not fit.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        bytes <= self.room.load(Ordering::Relaxed)
    }

    /// `None` before the first look, and where nobody can look.
    pub(crate) fn storage(&self, path: PathBuf) -> Option<Storage> {
        let state = self.state();
        Some(Storage {
            path,
            free: state.free?,
            min_free: state.min_free,
            is_short: state.is_short,
        })
    }

    fn judge(&self, subject: &str, state: &mut State) -> Option<Fault> {
        let free = state.free?;
        let needed = match state.is_short {
            true => state.min_free.with_a_tenth_more(),
            false => state.min_free,
        };
        let (bytes, inodes) = (needed.lacks_bytes(free), needed.lacks_inodes(free));
        state.is_short = bytes || inodes;
        let is_on = state.min_free != MinFree::OFF;
        let room = if is_on { free.bytes } else { u64::MAX };
        self.room.store(room, Ordering::Relaxed);
        let margin = free.bytes.saturating_sub(state.min_free.bytes) / 2;
        let budget = if is_on {
            margin.max(LEAST_BUDGET)
        } else {
            u64::MAX
        };
        self.budget.store(budget, Ordering::Relaxed);

        let needed = state.min_free.with_a_tenth_more();
        let lacking = match (bytes, inodes, free.inodes) {
            (true, _, _) => format!("{} bytes are free, {} are needed", free.bytes, needed.bytes),
            (_, true, Some(left)) => {
                format!("{left} inodes are free, {} are needed", needed.inodes)
            }
            _ => return None,
        };
        let error = std::io::Error::new(std::io::ErrorKind::StorageFull, lacking);
        Some(Fault::new("take mail for", subject, error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Option<u64> = Some(1 << 20);

    #[test]
    fn below_the_least_it_is_short_until_a_tenth_more_is_free() {
        let gauge = Gauge::new(MinFree::bytes(1000));
        let is_short = |bytes, inodes| {
            let fault = gauge.sample("/mail", FreeSpace::new(bytes, inodes));
            assert!(fault.as_ref().is_none_or(Fault::is_no_space));
            fault.is_some()
        };
        for (bytes, inodes, expected) in [
            (1000, PLENTY, false),
            (999, PLENTY, true),
            (1000, PLENTY, true),
            (1099, PLENTY, true),
            (1100, PLENTY, false),
            (1000, PLENTY, false),
            (2000, Some(1000), false),
            (2000, Some(999), true),
            (2000, Some(1099), true),
            (2000, Some(1100), false),
            (2000, None, false),
            (0, None, true),
        ] {
            assert_eq!(is_short(bytes, inodes), expected, "{bytes} {inodes:?}");
        }
    }

    #[test]
    fn what_is_wrong_names_path_free_and_needed() {
        let gauge = Gauge::new(MinFree::bytes(1000));
        let short = |free| gauge.sample("/mail", free).unwrap().to_string();
        assert_eq!(
            short(FreeSpace::new(10, Some(5000))),
            "cannot take mail for /mail: 10 bytes are free, 1100 are needed"
        );
        assert_eq!(
            short(FreeSpace::new(5000, Some(7))),
            "cannot take mail for /mail: 7 inodes are free, 1100 are needed"
        );
    }

    #[test]
    fn a_new_least_holds_at_once() {
        let gauge = Gauge::new(MinFree::OFF);
        assert!(gauge.sample("/mail", FreeSpace::new(0, Some(0))).is_none());
        assert!(gauge.has_room_for(u64::MAX));
        assert!(gauge.set_min_free("/mail", MinFree::bytes(1)).is_some());
        assert!(!gauge.has_room_for(1));
        assert!(gauge.set_min_free("/mail", MinFree::OFF).is_none());
    }

    #[test]
    fn much_that_is_written_asks_for_one_look() {
        let gauge = Gauge::new(MinFree::bytes(1000));
        assert!(!gauge.wrote(1 << 40), "nothing is known yet");
        gauge.sample("/mail", FreeSpace::new(1000 + (8 << 20), PLENTY));
        assert!(!gauge.wrote(3 << 20));
        assert!(gauge.wrote(1 << 20));
        assert!(!gauge.wrote(1 << 20));
    }

    #[test]
    fn the_least_goes_with_the_largest_message() {
        for (size, bytes) in [(1000, 1500), (10_485_760, 15_728_640), (0, 15_728_640)] {
            let min_free = MinFree::for_messages_of(size);
            assert_eq!((min_free.bytes, min_free.inodes), (bytes, 1000));
        }
        assert_eq!(MinFree::for_messages_of(u64::MAX).bytes, u64::MAX);
        assert_eq!(MinFree::bytes(0), MinFree::OFF);
    }
}
