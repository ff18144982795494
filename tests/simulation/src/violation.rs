//! What must hold, and how it shows that it does not.

use std::fmt;

use crate::runtime::Nanos;
use crate::scenario::seconds;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// Every `250` after a message has exactly one complete stored message, durable where that is
    /// promised.
    Acknowledged,
    /// No stored message is a part of one, or was never sent to its end, or differs from what was
    /// sent.
    Whole,
    /// A refused message is not stored.
    Refused,
    /// Replies come in order, one a command, well-formed, and are those that the command earned.
    Replies,
    /// No limit is exceeded: connections, recipients, errors, octets.
    Limits,
    /// A session holds no more than it may.
    Memory,
    /// Everything ends: a deadline always moves a session on.
    Ends,
    /// Nothing is polled again and again without progress.
    Spins,
    /// After a crash only messages may be missing that were not acknowledged.
    Survives,
    /// After a shutdown all sessions end within the drain timeout, and idle ones at once.
    Drains,
    /// Nothing is left behind: no file in `tmp/`, no task, no connection.
    Clean,
    /// Nothing panics but what was told to.
    Panics,
}

/// It does not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    pub invariant: Invariant,
    pub at: Nanos,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} violated at {}: {}",
            self.invariant,
            seconds(self.at),
            self.detail
        )
    }
}
