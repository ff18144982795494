//! The time, in milliseconds since 1970.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::envelope::milliseconds;

/// Goes on by a clock that nobody sets, so that a correction of the time moves no delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// What was the time then.
    wall: u64,
    since: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            wall: milliseconds(SystemTime::now()),
            since: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.since.elapsed().as_millis());
        self.wall.saturating_add(elapsed.unwrap_or(u64::MAX))
    }

    /// That time, as a timer has it. Times gone by are now.
    pub(super) fn instant(&self, time: u64) -> Instant {
        // Timers have a limit, and a queue is looked at much more often.
        let until = time.saturating_sub(self.now()).min(LONGEST);
        Instant::now() + Duration::from_millis(until)
    }
}

const LONGEST: u64 = 3_600_000;
