//! Durations by size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets that durations are counted in, in nanoseconds. One more bucket takes
/// what is over the last.
///
/// They are finer than those of [`EXPOSED`]: a server that keeps mail in memory answers within the
/// first of those, and a percentile there would be invented.
const BOUNDS: [u64; 27] = [
    10_000,
    20_000,
    30_000,
    50_000,
    70_000,
    100_000,
    150_000,
    200_000,
    300_000,
    500_000,
    700_000,
    1_000_000,
    1_500_000,
    2_500_000,
    5_000_000,
    7_000_000,
    10_000_000,
    15_000_000,
    20_000_000,
    30_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Upper bounds of the buckets of `/metrics`, whose text is promised. Each is one of [`BOUNDS`].
const EXPOSED: [u64; 13] = [
    100_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    15_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Counts durations; two atomic additions each.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Nanoseconds: five hundred years of them.
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Relaxed);
            self.sum.fetch_add(nanoseconds, Relaxed);
        }
    }
}

/// Durations as they were counted, by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurationHistogram {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl DurationHistogram {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (total, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += bucket.load(Relaxed);
        }
        self.sum = self.sum.wrapping_add(histogram.sum.load(Relaxed));
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The buckets of `/metrics`: an upper bound, inclusive, and how many durations are within it
    /// and over the bound before. The last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let mut fine = self.fine_buckets();
        let exposed = EXPOSED.map(|bound| Some(Duration::from_nanos(bound)));
        exposed.into_iter().chain([None]).map(move |wanted| {
            let mut sum = 0;
            for (bound, count) in fine.by_ref() {
                sum += count;
                if bound == wanted {
                    break;
                }
            }
            (wanted, sum)
        })
    }

    /// The same, as finely as they were counted: two to five buckets for each of a power of ten,
    /// from 10 microseconds on.
    pub fn fine_buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.map(|bound| Some(Duration::from_nanos(bound)));
        bounds.into_iter().chain([None]).zip(self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_is_not_over() {
        let histogram = Histogram::default();
        let durations = [
            0,
            100_000,
            100_001,
            5_000_000_000,
            5_000_000_001,
            u64::MAX / 4,
        ];
        for nanoseconds in durations {
            histogram.record(Duration::from_nanos(nanoseconds));
        }
        let mut read = DurationHistogram::default();
        read.add(&histogram);
        let counts: Vec<u64> = read.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(read.count(), 6);
        assert_eq!(read.sum(), Duration::from_nanos(durations.iter().sum()));
    }

    #[test]
    fn fast_messages_are_told_apart_below_the_first_bound_of_the_metrics() {
        let histogram = Histogram::default();
        let durations = [9, 10, 11, 45, 99];
        for microseconds in durations {
            histogram.record(Duration::from_micros(microseconds));
        }
        let mut read = DurationHistogram::default();
        read.add(&histogram);
        let fine: Vec<u64> = read.fine_buckets().map(|(_, count)| count).collect();
        assert_eq!(fine.get(..6), Some(&[2, 1, 0, 1, 0, 1][..]));
        assert_eq!(read.buckets().next().map(|(_, count)| count), Some(5));
    }

    #[test]
    fn each_bound_of_the_metrics_is_one_of_the_fine_ones() {
        assert!(EXPOSED.iter().all(|bound| BOUNDS.contains(bound)));
        assert!(BOUNDS.is_sorted() && EXPOSED.is_sorted());
    }

    #[test]
    fn two_histograms_add_up() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.record(Duration::from_millis(3));
        two.record(Duration::from_millis(4));
        let mut read = DurationHistogram::default();
        read.add(&one);
        read.add(&two);
        assert_eq!((read.count(), read.sum()), (2, Duration::from_millis(7)));
    }
}
