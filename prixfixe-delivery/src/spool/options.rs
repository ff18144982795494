//! How a spool is kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prixfixe_spool::LogOptions;

use super::schedule::RetrySchedule;
use super::undelivered::{Bouncer, NoBounces};
use crate::MinFree;

/// How a [`Spool`](super::Spool) is kept.
#[derive(Clone)]
#[non_exhaustive]
pub struct SpoolOptions {
    /// How its log is kept: its size among others, 10 GiB.
    pub log: LogOptions,
    /// How long a message waits after each failed attempt.
    pub retry: RetrySchedule,
    /// For how long a delivery is tried: 5 days.
    pub give_up_after: Duration,
    /// Messages under way to each target at once: 16. A target's own limit holds too.
    pub concurrency: usize,
    /// The same for single targets, by their names.
    pub concurrency_of: HashMap<String, usize>,
    /// The least free space with which mail is taken.
    pub min_free: MinFree,
    /// Who writes to senders. Nobody: what cannot be delivered goes to `failed/`.
    pub bouncer: Arc<dyn Bouncer>,
}

const DAY: Duration = Duration::from_hours(24);

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            retry: RetrySchedule::default(),
            give_up_after: DAY * 5,
            concurrency: 16,
            concurrency_of: HashMap::new(),
            min_free: MinFree::OFF,
            bouncer: Arc::new(NoBounces),
        }
    }
}

impl SpoolOptions {
    pub(super) fn concurrency_of(&self, target: &str) -> usize {
        let own = self.concurrency_of.get(target).copied();
        own.unwrap_or(self.concurrency).max(1)
    }
}

impl fmt::Debug for SpoolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolOptions")
            .field("log", &self.log)
            .field("retry", &self.retry)
            .field("give_up_after", &self.give_up_after)
            .field("concurrency", &self.concurrency)
            .field("concurrency_of", &self.concurrency_of)
            .field("min_free", &self.min_free)
            .finish_non_exhaustive()
    }
}
