//! How long a client may take.

use std::time::{Duration, Instant};

use crate::Config;

/// A command, a body or a chunk, as it takes time.
///
/// Each octet buys time, so that what is large may take long; but only so much, so that a client
/// that sends an octet now and then to hold its place does not keep it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    start: Instant,
    /// When the last octet came.
    progress: Instant,
    octets: u64,
    paused: Option<Instant>,
    /// It is refused, and only its end is waited for: octets buy nothing.
    refused: bool,
}

impl Unit {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            start: now,
            progress: now,
            octets: 0,
            paused: None,
            refused: false,
        }
    }

    /// The unit is over, the next one begins.
    pub(crate) const fn next(&mut self, now: Instant) {
        let paused = self.paused;
        *self = Self::new(now);
        self.paused = paused;
    }

    /// The unit was refused: it has its time once more to come to its end, and no octet adds to
    /// that.
    pub(crate) const fn refuse(&mut self, now: Instant) {
        self.start = now;
        self.refused = true;
    }

    /// How many octets the unit may still have until it has so many.
    pub(crate) fn room(&self, octets: u64) -> usize {
        usize::try_from(octets.saturating_sub(self.octets)).unwrap_or(usize::MAX)
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// So many octets of the unit have come.
    pub(crate) const fn octets(&mut self, now: Instant, octets: u64) {
        if octets > self.octets {
            self.octets = octets;
            self.progress = now;
        }
    }

    /// So many more octets of the unit have come.
    pub(crate) const fn more_octets(&mut self, now: Instant, octets: u64) {
        self.octets(now, self.octets.saturating_add(octets));
    }

    /// The clock stands still.
    pub(crate) const fn pause(&mut self, now: Instant) {
        if self.paused.is_none() {
            self.paused = Some(now);
        }
    }

    /// The clock goes on.
    pub(crate) fn resume(&mut self, now: Instant) {
        if let Some(paused) = self.paused.take() {
            // What began during the pause waited only since then.
            let shift = |from: Instant| from + now.saturating_duration_since(paused.max(from));
            self.start = shift(self.start);
            self.progress = shift(self.progress);
        }
    }

    /// When the unit has to be complete. `None`: never, or the clock stands still.
    pub(crate) fn deadline(&self, config: &Config, is_body: bool) -> Option<Instant> {
        if self.paused.is_some() {
            return None;
        }
        let (from, allowance) = match u64::from(config.min_data_rate) {
            _ if self.refused => (self.start, Duration::ZERO),
            0 if is_body => (self.progress, Duration::ZERO),
            0 => (self.start, Duration::ZERO),
            rate => (self.start, time_for(self.octets, rate)),
        };
        from.checked_add(config.command_timeout)?
            .checked_add(allowance)
    }
}

/// The time that so many octets take at so many a second.
pub(crate) fn time_for(octets: u64, rate: u64) -> Duration {
    // Between two commands there are none, and a division costs more than all else here.
    if octets == 0 {
        return Duration::ZERO;
    }
    let part = Duration::from_secs(octets % rate);
    let part = u32::try_from(rate).map_or(Duration::ZERO, |rate| part / rate);
    Duration::from_secs(octets / rate).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config(min_data_rate: u32) -> Config {
        Config {
            command_timeout: 10 * SECOND,
            min_data_rate,
            ..Config::default()
        }
    }

    #[test]
    fn octets_buy_time_at_the_minimum_rate() {
        let start = Instant::now();
        let mut unit = Unit::new(start);
        assert_eq!(unit.deadline(&config(500), true), Some(start + 10 * SECOND));
        unit.more_octets(start + 9 * SECOND, 1000);
        unit.more_octets(start + 9 * SECOND, 250);
        assert_eq!(
            unit.deadline(&config(500), true),
            Some(start + 12 * SECOND + SECOND / 2)
        );
        unit.next(start + 9 * SECOND);
        assert_eq!(unit.deadline(&config(500), true), Some(start + 19 * SECOND));
    }

    #[test]
    fn without_a_minimum_a_body_may_take_as_long_as_octets_come() {
        let start = Instant::now();
        let mut unit = Unit::new(start);
        unit.more_octets(start + 9 * SECOND, 1);
        assert_eq!(unit.deadline(&config(0), true), Some(start + 19 * SECOND));
        assert_eq!(unit.deadline(&config(0), false), Some(start + 10 * SECOND));
    }

    #[test]
    fn octets_of_what_was_refused_buy_nothing() {
        let start = Instant::now();
        for rate in [0, 500] {
            let mut unit = Unit::new(start);
            unit.more_octets(start + SECOND, 100_000);
            unit.refuse(start + 2 * SECOND);
            unit.more_octets(start + 3 * SECOND, 1000);
            let expected = Some(start + 12 * SECOND);
            assert_eq!(unit.deadline(&config(rate), true), expected);
            assert_eq!(unit.room(101_001), 1);
            assert_eq!(unit.room(101_000), 0);
            unit.next(start + 3 * SECOND);
            let expected = Some(start + 13 * SECOND);
            assert_eq!(unit.deadline(&config(0), false), expected);
        }
    }

    #[test]
    fn a_pause_does_not_count() {
        let start = Instant::now();
        let mut unit = Unit::new(start);
        unit.pause(start + 2 * SECOND);
        unit.pause(start + 3 * SECOND);
        assert_eq!(unit.deadline(&config(500), true), None);
        unit.resume(start + 102 * SECOND);
        assert_eq!(
            unit.deadline(&config(500), true),
            Some(start + 110 * SECOND)
        );
        unit.resume(start + 200 * SECOND);
        assert_eq!(
            unit.deadline(&config(500), true),
            Some(start + 110 * SECOND)
        );
    }

    #[test]
    fn a_unit_that_begins_in_a_pause_waits_from_its_start() {
        let start = Instant::now();
        let mut unit = Unit::new(start);
        unit.pause(start);
        unit.next(start + 5 * SECOND);
        assert_eq!(unit.deadline(&config(500), true), None);
        unit.resume(start + 7 * SECOND);
        assert_eq!(unit.deadline(&config(500), true), Some(start + 17 * SECOND));
    }

    #[test]
    fn a_timeout_beyond_the_end_of_time_is_none() {
        let mut forever = config(1);
        forever.command_timeout = Duration::MAX;
        assert_eq!(Unit::new(Instant::now()).deadline(&forever, true), None);
        let mut unit = Unit::new(Instant::now());
        unit.more_octets(Instant::now(), u64::MAX);
        let _ = unit.deadline(&config(1), true);
    }
}
