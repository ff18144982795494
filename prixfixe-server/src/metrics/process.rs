//! What the process uses. Its memory is read from `/proc`, so it is told on Linux alone.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Use of the processor is told for no shorter time than this, unless the process is younger.
const SHORTEST: Duration = Duration::from_secs(5);

/// Readings closer together than this are one.
const SPACING: Duration = Duration::from_secs(1);

/// What the process uses now.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ProcessUsage {
    /// Resident memory, in octets.
    pub memory_bytes: u64,
    /// Use of the processor since an earlier reading, at least five seconds ago; of one core all
    /// the time is 100.
    pub cpu_percent: f64,
}

/// Remembers the processor time at earlier readings: about one a second, of the last five, and the
/// one before.
#[derive(Debug, Default)]
pub(super) struct Process {
    readings: Mutex<VecDeque<(Instant, Duration)>>,
}

impl Process {
    pub(super) fn new(now: Instant) -> Self {
        let process = Self::default();
        process.usage(now);
        process
    }

    /// `None`: it cannot be told here.
    pub(super) fn usage(&self, now: Instant) -> Option<ProcessUsage> {
        let (memory_bytes, processor_time) = read()?;
        Some(ProcessUsage {
            memory_bytes,
            cpu_percent: self.percent(now, processor_time),
        })
    }

    fn percent(&self, now: Instant, processor_time: Duration) -> f64 {
        let age = |reading: &(Instant, Duration)| now.saturating_duration_since(reading.0);
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        // The first one stays, the latest that is old enough.
        while readings
            .get(1)
            .is_some_and(|second| age(second) >= SHORTEST)
        {
            readings.pop_front();
        }
        if readings.back().is_none_or(|last| age(last) >= SPACING) {
            readings.push_back((now, processor_time));
        }
        let Some((since, before)) = readings.front() else {
            return 0.0;
        };
        let elapsed = now.saturating_duration_since(*since).as_secs_f64();
        if elapsed == 0.0 {
            return 0.0;
        }
        100.0 * processor_time.saturating_sub(*before).as_secs_f64() / elapsed
    }
}

/// Resident memory in octets, and processor time so far.
#[cfg(target_os = "linux")]
fn read() -> Option<(u64, Duration)> {
    use rustix::time::{ClockId, clock_gettime};

    // Pages, of which the second number are resident: proc_pid_statm(5).
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    let memory = resident.saturating_mul(page);
    Some((memory, Duration::new(seconds, nanoseconds)))
}

#[cfg(not(target_os = "linux"))]
fn read() -> Option<(u64, Duration)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn use_of_the_processor_is_that_of_the_last_seconds() {
        let process = Process::default();
        let start = Instant::now();
        let at = |seconds: u32, used: u32| process.percent(start + SECOND * seconds, SECOND * used);
        assert_eq!(at(0, 7), 0.0);
        assert_eq!(at(1, 8), 100.0, "it is young");
        assert_eq!(at(10, 8), 0.0, "since the reading before");
        assert_eq!(at(11, 9), 10.0, "since five seconds or more");
        assert_eq!(at(15, 18), 200.0);
        assert_eq!(at(15, 18), 200.0, "asked twice");
        assert_eq!(at(75, 48), 50.0);
    }

    #[test]
    fn few_readings_are_kept_however_often_one_asks() {
        let process = Process::default();
        let start = Instant::now();
        for step in 0..10_000 {
            process.percent(start + Duration::from_millis(10) * step, SECOND);
            assert!(process.readings.lock().unwrap().len() <= 7);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_uses_memory() {
        let (memory, time) = read().unwrap();
        assert!(memory > 100_000, "{memory}");
        assert!(time > Duration::ZERO);
    }
}
