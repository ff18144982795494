//! All numbers, at one moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use crate::tls::TlsVersion;

use super::counts::{Counts, FIRST_CODE, VERSIONS};
use super::histogram::DurationHistogram;
use super::labels::{
    AuthMechanism, AuthResult, ConnectionResult, FailureReason, HandshakeFailure, TimeoutPhase,
};
#[cfg(feature = "metrics")]
use super::process::ProcessUsage;
use super::window;

/// Seconds over which [`messages_per_second`](MetricsSnapshot::messages_per_second) is told.
const RATE_SECONDS: u32 = 10;

/// The numbers of a server at one moment.
///
/// Counters go up from the start of the server. They are read while others count: of two that
/// belong together one may have the latest message and the other not yet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Messages that were accepted.
    pub messages_succeeded: u64,
    /// Messages that failed, by reason.
    pub messages_failed: Vec<(FailureReason, u64)>,
    /// Messages a second, over the last ten seconds.
    pub messages_per_second: f64,
    /// Of the messages of the last minute, the share that was accepted: 0 to 1, and 1 where there
    /// was none.
    pub success_rate: f64,
    /// From MAIL to the reply that ends the transaction, or to its loss: every message that
    /// succeeded or failed.
    pub processing: DurationHistogram,
    /// From the end of the content to the handler's answer.
    pub delivery: DurationHistogram,
    /// Octets that clients sent, commands and content, without what TLS adds.
    pub bytes_received: u64,
    /// TCP connections by what became of them.
    pub connections: Vec<(ConnectionResult, u64)>,
    /// Connections that are open.
    pub active_connections: usize,
    /// Connections that may be open at once.
    pub max_connections: usize,
    /// TLS handshakes that succeeded, by version.
    #[cfg(feature = "tls")]
    pub tls_handshakes: Vec<(TlsVersion, u64)>,
    #[cfg(not(feature = "tls"))]
    pub(crate) tls_handshakes: Vec<(TlsVersion, u64)>,
    /// TLS handshakes that did not, by how they ended.
    pub tls_handshake_failures: Vec<(HandshakeFailure, u64)>,
    /// Logins, by mechanism and what became of them. Those that did not come to an end with the
    /// connection are not among them.
    pub logins: Vec<(AuthMechanism, AuthResult, u64)>,
    /// Commands that were refused, by reply code; codes that were not used are left out.
    pub command_errors: Vec<(u16, u64)>,
    /// Sessions that ended because the client took too long, over a handshake, a command, a body or
    /// a chunk.
    pub timeouts: u64,
    /// The same, by what the client took too long over.
    pub timeouts_by_phase: Vec<(TimeoutPhase, u64)>,
    /// The certificates in use: a name and the end of validity. Of several for one name, the first
    /// to end.
    pub certificates: Vec<(String, SystemTime)>,
    /// What the process uses, where that can be told.
    #[cfg(feature = "metrics")]
    pub process: Option<ProcessUsage>,
}

impl MetricsSnapshot {
    /// All messages that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.messages_failed.iter().map(|(_, count)| count).sum()
    }

    /// All messages: those whose content began, whatever became of them.
    #[must_use]
    pub fn messages_received(&self) -> u64 {
        self.messages_succeeded + self.failed()
    }

    /// What is counted; the rest is as of a server that does nothing.
    pub(crate) fn of(counts: &Counts, now: Instant) -> Self {
        let mut snapshot = Self {
            messages_succeeded: 0,
            messages_failed: FailureReason::zero().into(),
            messages_per_second: 0.0,
            success_rate: 1.0,
            processing: DurationHistogram::default(),
            delivery: DurationHistogram::default(),
            bytes_received: 0,
            connections: ConnectionResult::zero().into(),
            active_connections: 0,
            max_connections: 0,
            tls_handshakes: VERSIONS.map(|version| (version, 0)).into(),
            tls_handshake_failures: HandshakeFailure::zero().into(),
            logins: logins(),
            command_errors: Vec::new(),
            timeouts: 0,
            timeouts_by_phase: TimeoutPhase::zero().into(),
            certificates: Vec::new(),
            #[cfg(feature = "metrics")]
            process: None,
        };
        snapshot.add_up(counts);
        snapshot.look_back(counts, now);
        snapshot
    }

    fn add_up(&mut self, counts: &Counts) {
        for shard in counts.shards() {
            self.messages_succeeded += shard.succeeded.load(Relaxed);
            add_all(&mut self.messages_failed, &shard.failed);
            self.processing.add(&shard.processing);
            self.delivery.add(&shard.delivery);
            self.bytes_received += shard.octets.load(Relaxed);
            add_all(&mut self.connections, &shard.connections);
            add_all(&mut self.tls_handshakes, &shard.handshakes);
            add_all(&mut self.tls_handshake_failures, &shard.failed_handshakes);
            add_all(&mut self.timeouts_by_phase, &shard.timeouts);
            for ((_, _, total), counter) in self.logins.iter_mut().zip(shard.logins.as_flattened())
            {
                *total += counter.load(Relaxed);
            }
            for (code, counter) in (FIRST_CODE..).zip(&shard.refused_commands) {
                self.add_code(code, counter.load(Relaxed));
            }
        }
        self.timeouts = self.timeouts_by_phase.iter().map(|(_, count)| count).sum();
        self.command_errors.sort_unstable();
    }

    fn add_code(&mut self, code: u16, count: u64) {
        match self.command_errors.iter_mut().find(|(it, _)| *it == code) {
            _ if count == 0 => {}
            Some((_, total)) => *total += count,
            None => self.command_errors.push((code, count)),
        }
    }

    fn look_back(&mut self, counts: &Counts, now: Instant) {
        let second = counts.second(now);
        let lately = |seconds| {
            counts.shards().fold((0, 0), |(succeeded, failed), shard| {
                (
                    succeeded + shard.succeeded_lately.last(seconds, second),
                    failed + shard.failed_lately.last(seconds, second),
                )
            })
        };
        let (succeeded, failed) = lately(RATE_SECONDS);
        // The second under way is not a whole one yet.
        let part = Duration::from_nanos(counts.age(now).subsec_nanos().into());
        let age = counts.age(now).as_secs_f64().max(1.0);
        let seconds = (f64::from(RATE_SECONDS - 1) + part.as_secs_f64()).min(age);
        self.messages_per_second = (succeeded + failed) as f64 / seconds;

        let (succeeded, failed) = lately(window::LONGEST);
        if succeeded + failed > 0 {
            self.success_rate = succeeded as f64 / (succeeded + failed) as f64;
        }
    }
}

fn logins() -> Vec<(AuthMechanism, AuthResult, u64)> {
    let results = |mechanism| AuthResult::ALL.iter().map(move |it| (mechanism, *it, 0));
    AuthMechanism::ALL
        .iter()
        .copied()
        .flat_map(results)
        .collect()
}

fn add_all<L>(totals: &mut [(L, u64)], counters: &[AtomicU64]) {
    for ((_, total), counter) in totals.iter_mut().zip(counters) {
        *total += counter.load(Relaxed);
    }
}
