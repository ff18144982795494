//! How the run went over time, in a bounded number of intervals whose length doubles as the run
//! goes on.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::has_samples;

/// Intervals kept at most; twice this many halve the resolution.
const MAX_INTERVALS: usize = 240;
/// The first length of an interval: a burst that is over in a tenth of a second is still a curve.
const FIRST_LENGTH: Duration = Duration::from_millis(10);
/// Latencies of an interval are kept to two significant digits, in microseconds, up to this.
const MAX_MICROSECONDS: u64 = 3_600_000_000;

/// Counts by the time since the start of the run.
#[derive(Debug)]
pub(crate) struct Timeline {
    length: Duration,
    intervals: Vec<Interval>,
}

/// What ended within one interval.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
    pub(crate) octets: u64,
    latency: Option<Histogram<u32>>,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            length: FIRST_LENGTH,
            intervals: Vec::new(),
        }
    }

    /// The length of an interval, and the intervals from the start of the run.
    pub(crate) fn intervals(&self) -> (Duration, &[Interval]) {
        (self.length, &self.intervals)
    }

    /// P50 and P99 in microseconds, of so many intervals together.
    pub(crate) fn percentiles(&self, each: usize) -> (Vec<Option<u64>>, Vec<Option<u64>>) {
        let together = |intervals: &[Interval]| {
            let mut latencies = intervals.iter().filter_map(|it| it.latency.as_ref());
            let mut all = latencies.next()?.clone();
            // All have the same bounds, so every value fits.
            for latency in latencies {
                let _ = all.add(latency);
            }
            Some(all)
        };
        let of = |intervals: &[Interval]| match together(intervals) {
            Some(all) => (
                Interval::percentile(&all, 50.0),
                Interval::percentile(&all, 99.0),
            ),
            None => (None, None),
        };
        self.intervals.chunks(each.max(1)).map(of).unzip()
    }

    pub(crate) fn accept(&mut self, at: Duration, octets: u64, latency: Duration) {
        if let Some(interval) = self.at(at) {
            interval.accepted += 1;
            interval.octets += octets;
            let histogram = match &mut interval.latency {
                Some(histogram) => Some(histogram),
                none => {
                    *none = Histogram::new_with_bounds(1, MAX_MICROSECONDS, 2).ok();
                    none.as_mut()
                }
            };
            if let Some(histogram) = histogram {
                histogram.saturating_record(
                    u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROSECONDS),
                );
            }
        }
    }

    pub(crate) fn fail(&mut self, at: Duration) {
        if let Some(interval) = self.at(at) {
            interval.failed += 1;
        }
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        while self.length < other.length {
            self.halve();
        }
        while other.length < self.length {
            other.halve();
        }
        for (i, interval) in other.intervals.into_iter().enumerate() {
            match self.intervals.get_mut(i) {
                Some(mine) => mine.add(interval),
                None => self.intervals.push(interval),
            }
        }
    }

    fn at(&mut self, at: Duration) -> Option<&mut Interval> {
        let index = loop {
            let index = usize::try_from(at.as_nanos() / self.length.as_nanos().max(1))
                .unwrap_or(usize::MAX);
            if index < MAX_INTERVALS {
                break index;
            }
            self.halve();
        };
        if self.intervals.len() <= index {
            self.intervals.resize_with(index + 1, Interval::default);
        }
        self.intervals.get_mut(index)
    }

    /// Half as many intervals, each twice as long.
    fn halve(&mut self) {
        self.length = self.length.saturating_mul(2);
        let mut halved = Vec::with_capacity(self.intervals.len() / 2 + 1);
        let mut intervals = std::mem::take(&mut self.intervals).into_iter();
        while let Some(mut interval) = intervals.next() {
            if let Some(next) = intervals.next() {
                interval.add(next);
            }
            halved.push(interval);
        }
        self.intervals = halved;
    }
}

impl Interval {
    /// A latency percentile in microseconds; `None` where too little was accepted.
    fn percentile(latency: &Histogram<u32>, percentile: f64) -> Option<u64> {
        let enough = has_samples(percentile, latency.len());
        enough.then(|| latency.value_at_percentile(percentile))
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.failed += other.failed;
        self.octets += other.octets;
        match (&mut self.latency, other.latency) {
            (Some(mine), Some(other)) => drop(mine.add(other)),
            (mine @ None, other) => *mine = other,
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_any_length_fits_and_nothing_is_lost() {
        let mut timeline = Timeline::new();
        for second in 0..100_000 {
            timeline.accept(Duration::from_secs(second), 5, Duration::from_micros(100));
        }
        timeline.fail(Duration::from_secs(7));
        let (length, intervals) = timeline.intervals();
        assert!(intervals.len() <= MAX_INTERVALS);
        assert!(length * u32::try_from(intervals.len()).unwrap() >= Duration::from_secs(100_000));
        assert_eq!(
            intervals
                .iter()
                .map(|interval| interval.accepted)
                .sum::<u64>(),
            100_000
        );
        assert_eq!(
            intervals
                .iter()
                .map(|interval| interval.octets)
                .sum::<u64>(),
            500_000
        );
        assert_eq!(intervals[0].failed, 1);
        let (p50, p99) = timeline.percentiles(1);
        assert_eq!((p50[0], p99[0]), (Some(100), Some(100)));
    }

    #[test]
    fn a_percentile_wants_enough_messages_and_intervals_together_have_them() {
        let mut timeline = Timeline::new();
        for at in 0..100 {
            timeline.accept(Duration::from_millis(at), 5, Duration::from_micros(100));
        }
        let (p50, p99) = timeline.percentiles(1);
        assert_eq!((p50.len(), p50[0], p99[0]), (10, Some(100), None));
        let (p50, p99) = timeline.percentiles(10);
        assert_eq!((p50, p99), (vec![Some(100)], vec![Some(100)]));
    }

    #[test]
    fn timelines_of_different_resolution_add_up() {
        let mut short = Timeline::new();
        short.accept(Duration::from_millis(15), 1, Duration::from_millis(1));
        let mut long = Timeline::new();
        long.accept(Duration::from_secs(60), 1, Duration::from_millis(1));
        let at_60 = long.intervals().1.len();
        short.add(long);
        assert_eq!(short.intervals().1.len(), at_60);
        assert_eq!(
            short
                .intervals()
                .1
                .iter()
                .map(|interval| interval.accepted)
                .sum::<u64>(),
            2
        );
    }
}
