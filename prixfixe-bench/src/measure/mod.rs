//! What is counted while the load runs. All of it is bounded, however long the run.

mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

pub(crate) use self::timeline::Timeline;

use crate::dialogue;
use crate::failure::{Failure, Kind, Stage};

/// Kinds of failure told apart. There are more only if a server makes up reply codes.
const MAX_KINDS: usize = 64;
/// Latencies beyond this are recorded as this.
const MAX_LATENCY: u64 = 24 * 3600 * 1_000_000_000;

/// Whether so many values say anything of a percentile. The least and the greatest are what they
/// are; P90 and P95 want 20, P99 100, P99.9 1000, and so on.
pub(crate) fn has_samples(percentile: f64, count: u64) -> bool {
    let wanted = match percentile {
        at if at <= 0.0 || at >= 100.0 => 1.0,
        at if at <= 50.0 => 10.0,
        at if at <= 95.0 => 20.0,
        at => (100.0 / (100.0 - at)).round(),
    };
    #[expect(clippy::cast_precision_loss, reason = "compared with small numbers")]
    let count = count as f64;
    count >= wanted
}

/// A latency histogram in nanoseconds, to three significant digits.
///
/// It grows with the largest value, to 400 KiB for a day.
#[derive(Debug, Clone)]
pub(crate) struct Latency {
    histogram: Option<Histogram<u64>>,
}

/// What one thread has seen of a run, or all threads together.
#[derive(Debug)]
pub(crate) struct Measurements {
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
    /// Replies for recipients of messages whose last reply was read.
    pub(crate) recipients: Recipients,
    /// Octets of content of accepted messages.
    pub(crate) octets: u64,
    /// When the last message was accepted or failed, from the start of the run.
    pub(crate) last: Duration,
    /// Connections that reached the end of their EHLO.
    pub(crate) connections: u64,
    /// From `connect` to the TCP connection.
    pub(crate) connect: Latency,
    /// From there, or from the end of the handshake with implicit TLS, to the greeting.
    pub(crate) greeting: Latency,
    /// The TLS handshake, from the first octet sent.
    pub(crate) tls: Latency,
    /// A message from its MAIL to its last reply.
    pub(crate) transaction: Latency,
    /// A message from the time when it was due to its last reply.
    pub(crate) message: Latency,
    pub(crate) timeline: Timeline,
    pub(crate) failures: BTreeMap<(Stage, Kind), Failures>,
    /// Failures beyond the kinds that are told apart.
    pub(crate) other_failures: u64,
    /// Accepted and failed by target.
    pub(crate) targets: Vec<(u64, u64)>,
    pub(crate) idle: Background,
    pub(crate) slow: Background,
    /// A server that does not answer was given up.
    pub(crate) gave_up: bool,
}

/// One kind of failure at one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    /// What was said the first time.
    pub(crate) example: String,
}

/// What became of connections in the background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Background {
    /// Connections that got through EHLO.
    pub opened: u64,
    /// Connections that did not.
    pub failed: u64,
    /// Connections that the server ended.
    pub lost: u64,
    /// Messages accepted.
    pub messages: u64,
}

/// What recipients were told, each at its RCPT or at the end of its message.
///
/// With SMTP the reply to the content is for all recipients that were taken at RCPT. With LMTP each
/// of them has a reply of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Recipients {
    /// Recipients that have the message.
    pub accepted: u64,
    /// Recipients that were refused.
    pub refused: u64,
}

impl Recipients {
    /// Those still pending belong to a message that DATA refused.
    pub(crate) fn add(&mut self, message: dialogue::Recipients) {
        self.accepted += message.accepted;
        self.refused += message.refused + message.pending;
    }
}

impl Latency {
    pub(crate) fn new() -> Self {
        Self {
            histogram: Histogram::new_with_bounds(1, MAX_LATENCY, 3).ok(),
        }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(MAX_LATENCY));
        }
    }

    /// What was recorded; `None` before anything was.
    pub(crate) fn histogram(&self) -> Option<&Histogram<u64>> {
        self.histogram
            .as_ref()
            .filter(|histogram| !histogram.is_empty())
    }

    fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds, so every value fits.
            let _ = histogram.add(other);
        }
    }
}

impl Measurements {
    pub(crate) fn new(targets: usize) -> Self {
        Self {
            accepted: 0,
            failed: 0,
            recipients: Recipients::default(),
            octets: 0,
            last: Duration::ZERO,
            connections: 0,
            connect: Latency::new(),
            greeting: Latency::new(),
            tls: Latency::new(),
            transaction: Latency::new(),
            message: Latency::new(),
            timeline: Timeline::new(),
            failures: BTreeMap::new(),
            other_failures: 0,
            targets: vec![(0, 0); targets],
            idle: Background::default(),
            slow: Background::default(),
            gave_up: false,
        }
    }

    /// A message was accepted, `at` after the start of the run.
    pub(crate) fn accept(
        &mut self,
        at: Duration,
        target: usize,
        size: u64,
        transaction: Duration,
        message: Duration,
    ) {
        self.accepted += 1;
        self.octets += size;
        self.last = self.last.max(at);
        self.transaction.record(transaction);
        self.message.record(message);
        self.timeline.accept(at, size, message);
        if let Some((accepted, _)) = self.targets.get_mut(target) {
            *accepted += 1;
        }
    }

    /// A message failed, `at` after the start of the run.
    pub(crate) fn fail(&mut self, at: Duration, target: usize, failure: Failure) {
        self.failed += 1;
        self.last = self.last.max(at);
        self.timeline.fail(at);
        if let Some((_, failed)) = self.targets.get_mut(target) {
            *failed += 1;
        }
        self.count_failure((failure.stage, failure.kind), 1, failure.detail);
    }

    /// Adds what another thread has seen.
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.failed += other.failed;
        self.recipients.accepted += other.recipients.accepted;
        self.recipients.refused += other.recipients.refused;
        self.octets += other.octets;
        self.last = self.last.max(other.last);
        self.connections += other.connections;
        self.connect.add(&other.connect);
        self.greeting.add(&other.greeting);
        self.tls.add(&other.tls);
        self.transaction.add(&other.transaction);
        self.message.add(&other.message);
        self.timeline.add(other.timeline);
        self.other_failures += other.other_failures;
        for (key, failures) in other.failures {
            self.count_failure(key, failures.count, failures.example);
        }
        for (sum, counts) in self.targets.iter_mut().zip(other.targets) {
            *sum = (sum.0 + counts.0, sum.1 + counts.1);
        }
        self.idle.add(other.idle);
        self.slow.add(other.slow);
        self.gave_up |= other.gave_up;
    }

    fn count_failure(&mut self, key: (Stage, Kind), count: u64, example: String) {
        if self.failures.len() >= MAX_KINDS && !self.failures.contains_key(&key) {
            self.other_failures += count;
            return;
        }
        let failures = self.failures.entry(key).or_default();
        failures.count += count;
        if failures.example.is_empty() {
            failures.example = example;
        }
    }
}

impl Background {
    fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.failed += other.failed;
        self.lost += other.lost;
        self.messages += other.messages;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_failure_are_bounded_and_none_is_lost() {
        let mut all = Measurements::new(1);
        let mut one = Measurements::new(1);
        for code in 400..600 {
            one.fail(
                Duration::ZERO,
                0,
                Failure::with_detail(Stage::Mail, Kind::Reply(code), "no"),
            );
        }
        all.add(one);
        assert_eq!(all.failures.len(), MAX_KINDS);
        let told_apart: u64 = all.failures.values().map(|failures| failures.count).sum();
        assert_eq!((all.failed, told_apart + all.other_failures), (200, 200));
        assert_eq!(all.targets, [(0, 200)]);
    }

    #[test]
    fn threads_add_up() {
        let mut all = Measurements::new(2);
        for target in 0..2 {
            let mut one = Measurements::new(2);
            one.accept(
                Duration::from_secs(1),
                target,
                10,
                Duration::from_millis(1),
                Duration::from_millis(2),
            );
            all.add(one);
        }
        assert_eq!((all.accepted, all.octets), (2, 20));
        assert_eq!(all.targets, [(1, 0), (1, 0)]);
        let histogram = all.message.histogram().unwrap();
        assert_eq!(histogram.len(), 2);
        assert!(histogram.max().abs_diff(2_000_000) < 2_000_000 / 1000);
    }
}
