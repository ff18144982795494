//! When a message is tried again.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// Without any of the operator's.
pub(super) const DEFAULT: [Duration; 7] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(4 * 3600),
];

/// How long after so many attempts the next one is. The last of these repeats. It is ten percent more or less, by the
/// message's name, so that what failed together does not come back together.
pub(super) fn after(retry: &[Duration], attempts: u32, digest: &str) -> Duration {
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let step = retry.get(place).or(retry.last());
    let step = step.copied().unwrap_or(Duration::from_secs(60));
    let hash = Sha256::new()
        .chain_update(digest)
        .chain_update(attempts.to_be_bytes())
        .finalize();
    let [first, second, ..] = <[u8; 32]>::from(hash);
    let share = f64::from(u16::from_be_bytes([first, second])) / f64::from(u16::MAX);
    step.mul_f64(0.9 + 0.2 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_repeats_and_all_are_a_tenth_more_or_less() {
        for (attempts, minutes) in [(1, 1.0), (2, 5.0), (3, 15.0), (7, 240.0), (8, 240.0), (u32::MAX, 240.0)] {
            let seconds = |digest: &str| after(&DEFAULT, attempts, digest).as_secs_f64();
            let all: Vec<f64> = (0..50).map(|it| seconds(&it.to_string())).collect();
            let within = |it: &f64| (minutes * 54.0..=minutes * 66.0).contains(it);
            assert!(all.iter().all(within), "{attempts}: {all:?}");
            assert!(all.iter().any(|it| (it - all[0]).abs() > 1.0), "{all:?}");
            assert!((seconds("x") - seconds("x")).abs() < 1e-9);
        }
        assert!(after(&[], 1, "x") > Duration::from_secs(50));
    }
}
