//! How often something happened lately.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds that are remembered.
const SLOTS: usize = 64;

/// The longest time that can be asked about, in seconds. A slot is used again only a few seconds
/// later: so late can an addition come and still not be lost.
pub(crate) const LONGEST: u32 = 60;

/// The part of a slot that is the count.
const COUNT: u64 = 0xFFFF_FFFF;

/// Counts by the second. Each slot has the second that it is for in its upper half, and the count
/// in the lower.
#[derive(Debug)]
pub(crate) struct Window {
    slots: [AtomicU64; SLOTS],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Window {
    /// One more in this second. How many that makes; 0 if the second is long over.
    pub(crate) fn add(&self, second: u32) -> u64 {
        let Some(slot) = self.slots.get(second as usize % SLOTS) else {
            return 0;
        };
        let mut current = slot.load(Relaxed);
        loop {
            if second_of(current) == second {
                return (slot.fetch_add(1, Relaxed) & COUNT) + 1;
            }
            if second_of(current) > second {
                // It happened a minute ago, and is noticed now.
                return 0;
            }
            let first = u64::from(second) << 32 | 1;
            match slot.compare_exchange_weak(current, first, Relaxed, Relaxed) {
                Ok(_) => return 1,
                Err(other) => current = other,
            }
        }
    }

    /// How many there were in this second and those before it, `seconds` in all.
    pub(crate) fn last(&self, seconds: u32, second: u32) -> u64 {
        let first = (second + 1).saturating_sub(seconds.min(LONGEST));
        let within = |slot: &&AtomicU64| {
            let of = second_of(slot.load(Relaxed));
            first <= of && of <= second
        };
        let slots = self.slots.iter().filter(within);
        slots.map(|slot| slot.load(Relaxed) & COUNT).sum()
    }
}

const fn second_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_asked_for_does_not_count() {
        let window = Window::default();
        for second in 0..200 {
            window.add(second);
            window.add(second);
            assert_eq!(window.last(1, second), 2);
            assert_eq!(window.last(10, second), 2 * u64::from(second + 1).min(10));
            assert_eq!(window.last(60, second), 2 * u64::from(second + 1).min(60));
        }
        assert_eq!(window.last(10, 204), 10);
        assert_eq!(window.last(10, 209), 0);
        assert_eq!(window.last(60, 100_000), 0);
    }

    #[test]
    fn a_little_late_is_counted_and_a_minute_late_is_not() {
        let window = Window::default();
        window.add(100);
        window.add(97);
        assert_eq!(window.last(10, 100), 2);
        window.add(100 - 64);
        assert_eq!(window.last(60, 100), 2);
    }

    #[test]
    fn additions_of_several_threads_are_all_there() {
        let window = Window::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..60).for_each(|second| {
                        (0..100).for_each(|_| {
                            window.add(second);
                        })
                    })
                });
            }
        });
        assert_eq!(window.last(60, 59), 4 * 60 * 100);
    }
}
