//! Panics as lines of the log.
//!
//! A panic is contained where it happens. Whoever has found out how to cause one may do so again
//! and again, so that those beyond the first of a minute are counted.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Panics that are told in a minute.
const MAX_TOLD: u32 = 20;

/// The hook, which writes a line for a panic.
pub(super) fn hook() -> impl Fn(&PanicHookInfo<'_>) + Send + Sync + 'static {
    let told = Mutex::new(Told::default());
    move |panic| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = told.allows(Instant::now());
        drop(told);
        if let Some(left_out) = left_out {
            let place = panic.location().map(ToString::to_string);
            let cause = panic.payload_as_str().unwrap_or("of unknown cause");
            let left_out = (left_out > 0).then_some(left_out);
            tracing::error!(target: "prixfixe", place, cause, left_out, "panic");
        }
    }
}

/// What was told in this minute.
#[derive(Debug, Default)]
struct Told {
    began: Option<Instant>,
    panics: u32,
    left_out: u64,
}

impl Told {
    /// How many were left out since the last one, if this one is to be told.
    fn allows(&mut self, now: Instant) -> Option<u64> {
        let is_over = |began| now.saturating_duration_since(began) >= MINUTE;
        if self.began.is_none_or(is_over) {
            self.began = Some(now);
            self.panics = 0;
        }
        if self.panics >= MAX_TOLD {
            self.left_out += 1;
            return None;
        }
        self.panics += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_beyond_the_twentieth_of_a_minute_are_counted() {
        let start = Instant::now();
        let mut told = Told::default();
        let mut lines = |now| -> Vec<u64> { (0..100).filter_map(|_| told.allows(now)).collect() };
        assert_eq!(lines(start), [0; 20]);
        assert_eq!(lines(start + Duration::from_secs(59)), [0; 0]);
        let again = lines(start + MINUTE);
        assert_eq!((again.len(), again[0], again[1]), (20, 180, 0));
    }
}
