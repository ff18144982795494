//! Waiting for what comes about without telling.

use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything takes on a loaded machine: a test that would hang fails instead.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is so.
///
/// # Panics
///
/// When it has not become so within [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
