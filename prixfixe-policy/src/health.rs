//! What the log says of a filter that fails, and of one that answers again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The log says that a filter fails at most once in so long: strangers decide how often it is
/// asked.
const QUIET: Duration = Duration::from_secs(10);

/// Whether a filter answers, and what the log says about it.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// It failed the last time.
    is_down: bool,
    /// The log says that it fails, since when it did so the last time.
    told: Told,
    /// Failures that began and of which the log says nothing.
    left_out: u64,
}

#[derive(Debug, Default, Clone, Copy)]
enum Told {
    #[default]
    Nothing,
    Down(Instant),
    Up(Instant),
}

/// What has to be said about an answer, or about one that did not come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    /// It fails, and has begun to so often since the last line without one.
    Down {
        left_out: u64,
    },
    Up,
}

impl Health {
    /// The filter has failed, or answered.
    pub(crate) fn is_now(&self, is_down: bool, now: Instant) -> News {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_begun = is_down && !state.is_down;
        state.is_down = is_down;
        match (is_down, state.told) {
            (true, Told::Up(since)) if now.saturating_duration_since(since) < QUIET => {
                state.left_out += u64::from(has_begun);
                News::Nothing
            }
            (true, Told::Nothing | Told::Up(_)) => {
                state.told = Told::Down(now);
                // A failure that goes on is counted, and this line is about it.
                let goes_on = u64::from(!has_begun);
                let left_out = std::mem::take(&mut state.left_out).saturating_sub(goes_on);
                News::Down { left_out }
            }
            (false, Told::Down(since)) => {
                state.told = Told::Up(since);
                News::Up
            }
            (true, Told::Down(_)) | (false, Told::Nothing | Told::Up(_)) => News::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_comes_and_goes_has_two_lines_in_ten_seconds() {
        let (health, begin) = (Health::default(), Instant::now());
        let after = |milliseconds| begin + Duration::from_millis(milliseconds);
        assert_eq!(health.is_now(false, begin), News::Nothing);
        assert_eq!(health.is_now(true, begin), News::Down { left_out: 0 });
        assert_eq!(health.is_now(true, after(1)), News::Nothing);
        assert_eq!(health.is_now(false, after(2)), News::Up);
        for time in (3..9_000).step_by(2) {
            assert_eq!(health.is_now(true, after(time)), News::Nothing);
            assert_eq!(health.is_now(false, after(time + 1)), News::Nothing);
        }
        let down = health.is_now(true, after(10_000));
        assert_eq!(down, News::Down { left_out: 4_499 });
        assert_eq!(health.is_now(false, after(10_001)), News::Up);
        // One that stays away has its line when the time is over.
        assert_eq!(health.is_now(true, after(10_002)), News::Nothing);
        assert_eq!(health.is_now(true, after(19_999)), News::Nothing);
        let down = health.is_now(true, after(20_000));
        assert_eq!(down, News::Down { left_out: 0 });
        assert_eq!(health.is_now(true, after(40_000)), News::Nothing);
        assert_eq!(health.is_now(false, after(40_001)), News::Up);
    }
}
