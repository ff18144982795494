//! What all parts of a log share.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::large;
use crate::ledger::{Large, Ledger};

/// How a log is kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// Bytes of a segment: 64 MiB, and no more.
    pub segment_size: u64,
    /// Bytes of everything together, beyond which no message is taken: 10 GiB.
    pub max_size: u64,
    /// How long the state of a delivery may be written and not synced: 50 ms. A message's sync takes it along.
    pub state_delay: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_size: MAX_SEGMENT,
            max_size: 10 << 30,
            state_delay: Duration::from_millis(50),
        }
    }
}

/// Between two lines of the log about a disk that fails.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// An id has 26 bits for an offset.
pub(crate) const MAX_SEGMENT: u64 = 64 << 20;

pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) root: PathBuf,
    pub(crate) options: LogOptions,
    ledger: Mutex<Ledger>,
    used: AtomicU64,
    max_size: AtomicU64,
    /// When a failure was last logged.
    told: Mutex<Option<Instant>>,
    /// Large contents that no record names yet.
    pub(crate) under_way: Mutex<HashSet<u64>>,
    /// Who wants to know of fresh messages.
    pub(crate) fresh: OnceLock<Waker>,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(disk: D, root: &Path, options: LogOptions) -> Self {
        let max_size = AtomicU64::new(options.max_size);
        let segment_size = options.segment_size.min(MAX_SEGMENT);
        Self {
            disk: Arc::new(disk),
            root: root.to_owned(),
            options: LogOptions {
                segment_size,
                ..options
            },
            ledger: Mutex::default(),
            used: AtomicU64::new(0),
            max_size,
            told: Mutex::default(),
            under_way: Mutex::default(),
            fresh: OnceLock::new(),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn under_way(&self) -> MutexGuard<'_, HashSet<u64>> {
        let set = self.under_way.lock();
        set.unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on the disk, when it was last counted.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self) {
        let used = self.ledger().bytes();
        self.used.store(used, Ordering::Relaxed);
    }

    pub(crate) fn max_size(&self) -> u64 {
        self.max_size.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_size(&self, bytes: u64) {
        self.max_size.store(bytes, Ordering::Relaxed);
    }

    /// A disk that fails does so for each batch: one line in a while says it.
    pub(crate) fn failed(&self, what: &'static str, error: &io::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < BETWEEN_LINES) {
            return;
        }
        *told = Some(Instant::now());
        tracing::error!(path = %self.root.display(), %error, "cannot {what}");
    }

    /// Records that name these contents are there, or will never be.
    pub(crate) fn arrived(&self, contents: &[u64]) {
        if !contents.is_empty() {
            let mut under_way = self.under_way();
            for content in contents {
                under_way.remove(content);
            }
        }
    }

    /// Removes contents whose messages are done. One that stays is removed at the next start.
    pub(crate) fn remove_large(&self, contents: &[Large]) {
        for content in contents {
            let path = large::path(&self.root, content.number);
            if let Err(error) = self.disk.remove(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a content that is done");
            }
        }
    }
}
