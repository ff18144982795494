//! When a delivery is tried again.

use std::time::Duration;

/// How long a message waits after each failed attempt.
///
/// The first attempt is made at once. After the last entry of the list it repeats. Each wait is up to a tenth longer or
/// shorter, so that messages that failed together do not come back together.
///
/// ```
/// use std::time::Duration;
/// use prixfixe_delivery::RetrySchedule;
///
/// let schedule = RetrySchedule::default();
/// let first = schedule.wait(1);
/// assert!((Duration::from_secs(54)..=Duration::from_secs(66)).contains(&first));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule(Box<[Duration]>);

/// The least that a message waits, whatever the list says: a mistake there is no reason to spin.
const SHORTEST: Duration = Duration::from_millis(10);

const MINUTE: Duration = Duration::from_mins(1);

impl RetrySchedule {
    /// These waits. Without any, the default ones.
    #[must_use]
    pub fn new(waits: impl IntoIterator<Item = Duration>) -> Self {
        let waits: Box<[_]> = waits.into_iter().map(|it| it.max(SHORTEST)).collect();
        match waits.is_empty() {
            true => Self::default(),
            false => Self(waits),
        }
    }

    /// The list.
    #[must_use]
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }

    /// How long to wait after so many attempts, without jitter.
    #[must_use]
    pub fn wait_exactly(&self, attempts: u32) -> Duration {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.0.get(index).or(self.0.last());
        wait.copied().unwrap_or(MINUTE)
    }

    /// How long to wait after so many attempts.
    #[must_use]
    pub fn wait(&self, attempts: u32) -> Duration {
        let wait = self.wait_exactly(attempts);
        let tenth = u64::try_from(wait.as_millis() / 10).unwrap_or(u64::MAX / 4);
        let shortest = wait.saturating_sub(Duration::from_millis(tenth));
        let jitter = Duration::from_millis(fastrand::u64(0..=tenth.saturating_mul(2)));
        shortest.saturating_add(jitter)
    }
}

/// 1, 5, 15 and 30 minutes, 1, 2 and 4 hours.
impl Default for RetrySchedule {
    fn default() -> Self {
        Self([1, 5, 15, 30, 60, 120, 240].map(|it| MINUTE * it).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_gone_through_and_its_last_entry_repeats() {
        let schedule = RetrySchedule::default();
        for (attempts, minutes) in [
            (1, 1),
            (2, 5),
            (3, 15),
            (4, 30),
            (5, 60),
            (6, 120),
            (7, 240),
        ] {
            assert_eq!(schedule.wait_exactly(attempts), MINUTE * minutes);
        }
        assert_eq!(schedule.wait_exactly(8), MINUTE * 240);
        assert_eq!(schedule.wait_exactly(u32::MAX), MINUTE * 240);
    }

    #[test]
    fn a_wait_is_up_to_a_tenth_longer_or_shorter() {
        let schedule = RetrySchedule::new([Duration::from_secs(100)]);
        let waits: Vec<_> = (0..200).map(|_| schedule.wait(1).as_secs()).collect();
        assert!(waits.iter().all(|it| (90..=110).contains(it)), "{waits:?}");
        assert!(waits.iter().any(|it| *it < 100) && waits.iter().any(|it| *it > 100));
    }

    #[test]
    fn the_longest_wait_is_none_too_long() {
        let schedule = RetrySchedule::new([Duration::MAX]);
        (0..100).for_each(|_| assert!(schedule.wait(1) > Duration::MAX / 2));
    }

    #[test]
    fn a_list_of_nothing_is_the_default_and_no_wait_is_none() {
        assert_eq!(RetrySchedule::new([]), RetrySchedule::default());
        assert_eq!(
            RetrySchedule::new([Duration::ZERO]).wait_exactly(1),
            SHORTEST
        );
    }
}
