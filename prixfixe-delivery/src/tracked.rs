//! A target under its configured name, with what has become of the mail for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::{Failure, FailureKind, Fault, Health, Outcomes, Target};

/// A target that mail is routed to.
pub(crate) struct Tracked {
    name: Box<str>,
    target: Arc<dyn Target>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    attempts: [AtomicU64; 4],
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The upper bounds of the histogram, in seconds: those of a message's own duration.
pub(crate) const BUCKETS: [f64; 13] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// What came of an attempt to hand a message over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptResult {
    /// The target has it, for every recipient.
    Delivered,
    /// Not now, for a recipient at least.
    Deferred,
    /// Never, for a recipient at least, and for none not now.
    Refused,
    /// The target owed its answer for too long, or the connection was lost after the content: it
    /// may have it.
    Timeout,
}

impl AttemptResult {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Delivered,
        Self::Deferred,
        Self::Refused,
        Self::Timeout,
    ];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Delivered => 0,
            Self::Deferred => 1,
            Self::Refused => 2,
            Self::Timeout => 3,
        }
    }

    fn of(outcomes: &Outcomes) -> Self {
        let outcomes = match outcomes {
            Outcomes::All(outcome) => std::slice::from_ref(outcome),
            Outcomes::Each(outcomes) => outcomes,
        };
        let kinds = || outcomes.iter().filter_map(|it| it.as_ref().err());
        let any = |kind| kinds().any(|failure: &Failure| failure.kind() == kind);
        if any(FailureKind::Unknown) {
            Self::Timeout
        } else if any(FailureKind::NotNow) {
            Self::Deferred
        } else if any(FailureKind::Never) {
            Self::Refused
        } else {
            Self::Delivered
        }
    }
}

/// A target's numbers, at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TargetStatus {
    /// Its configured name.
    pub name: String,
    /// It is at the other end of a connection, or a program.
    pub is_remote: bool,
    /// What stands in the way of mail for it; `None` while it works.
    pub fault: Option<Arc<Fault>>,
    /// Attempts by result, in the order of [`AttemptResult::ALL`].
    pub attempts: [u64; 4],
    /// How many attempts took at most so many seconds: upper bounds, and counts that are not
    /// cumulative.
    pub durations: Vec<(f64, u64)>,
    /// How many attempts were timed, longer ones included.
    pub timed: u64,
    /// How long they took together.
    pub total_duration: Duration,
}

impl Tracked {
    pub(crate) fn new(name: impl Into<Box<str>>, target: Arc<dyn Target>) -> Self {
        Self {
            name: name.into(),
            target,
            counts: Arc::default(),
        }
    }

    /// Another target under the same name, with this one's numbers.
    pub(crate) fn replaced_by(&self, other: &Self) -> Self {
        Self {
            name: other.name.clone(),
            target: Arc::clone(&other.target),
            counts: Arc::clone(&self.counts),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn target(&self) -> &dyn Target {
        &*self.target
    }

    pub(crate) fn health(&self) -> Health {
        self.target.health()
    }

    pub(crate) fn status(&self) -> TargetStatus {
        let load = |counts: &[AtomicU64]| -> Vec<u64> {
            counts.iter().map(|count| count.load(Relaxed)).collect()
        };
        TargetStatus {
            name: self.name.to_string(),
            is_remote: !self.target.is_local(),
            fault: self.health().fault(),
            attempts: std::array::from_fn(|index| {
                self.counts
                    .attempts
                    .get(index)
                    .map_or(0, |count| count.load(Relaxed))
            }),
            durations: BUCKETS
                .into_iter()
                .zip(load(&self.counts.buckets))
                .collect(),
            timed: self.counts.count.load(Relaxed),
            total_duration: Duration::from_nanos(self.counts.nanoseconds.load(Relaxed)),
        }
    }

    /// An attempt has ended.
    pub(crate) fn count(&self, outcomes: &Outcomes, duration: Duration) {
        let result = AttemptResult::of(outcomes);
        self.count_result(result);
        self.counts.count.fetch_add(1, Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts.nanoseconds.fetch_add(nanoseconds, Relaxed);
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = bucket.and_then(|bucket| self.counts.buckets.get(bucket)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// An attempt has ended before the content: nothing to be timed.
    pub(crate) fn count_failure(&self, failure: &Failure) {
        let outcomes = Outcomes::All(Err(failure.clone()));
        self.count_result(AttemptResult::of(&outcomes));
    }

    fn count_result(&self, result: AttemptResult) {
        if let Some(count) = self.counts.attempts.get(result.index()) {
            count.fetch_add(1, Relaxed);
        }
    }
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
