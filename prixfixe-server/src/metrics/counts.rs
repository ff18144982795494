//! Counting, where mail is received.
//!
//! A counter is an atomic addition without order or lock. There is a set of counters for each core,
//! on cache lines of its own: a thread always uses the same, so that threads do not wait for each
//! other's lines. Whoever reads adds them up.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::tls::TlsVersion;
use crossbeam_utils::CachePadded;

use super::accepted::{AcceptedNote, LISTED_PER_SECOND, LatestAccepted};
use super::histogram::Histogram;
use super::labels::{
    AuthMechanism, AuthResult, ConnectionResult, FailureReason, HandshakeFailure, TimeoutPhase,
};
use super::recent::{Incident, RawIncident, Recent};
use super::talkers::{ClientActivity, GENERATION_SECONDS, Talkers, add_up};
use super::window::Window;

/// More sets of counters than this are not worth their memory (at most 10 KiB each).
const MOST_SHARDS: usize = 64;

/// Reply codes are 400 to 599.
pub(super) const FIRST_CODE: u16 = 400;
const CODES: usize = 200;

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Counts {
    since: Instant,
    first: CachePadded<Shard>,
    others: Box<[CachePadded<Shard>]>,
    /// One less than how many there are, which is a power of two.
    mask: usize,
    recent: Recent,
    pub(super) accepted: LatestAccepted,
}

/// The counters of a thread, or of several.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) succeeded: AtomicU64,
    pub(super) failed: [AtomicU64; FailureReason::COUNT],
    pub(super) succeeded_lately: Window,
    pub(super) failed_lately: Window,
    pub(super) processing: Histogram,
    pub(super) delivery: Histogram,
    pub(super) octets: AtomicU64,
    pub(super) connections: [AtomicU64; ConnectionResult::COUNT],
    /// By the version that was agreed on.
    pub(super) handshakes: [AtomicU64; VERSIONS.len()],
    pub(super) failed_handshakes: [AtomicU64; HandshakeFailure::COUNT],
    /// By mechanism, and then by what became of them.
    pub(super) logins: [[AtomicU64; AuthResult::COUNT]; AuthMechanism::COUNT],
    pub(super) refused_commands: [AtomicU64; CODES],
    pub(super) timeouts: [AtomicU64; TimeoutPhase::COUNT],
    /// A thread of another core waits for it only where there are more threads than sets of
    /// counters.
    talkers: Mutex<Talkers>,
}

/// The TLS versions that can be agreed on.
pub(super) const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// How long a message took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// When it was known what became of the message.
    pub(crate) now: Instant,
    /// From MAIL.
    pub(crate) processing: Duration,
    /// From the end of the content to the handler's answer; `None` where it was not asked for.
    pub(crate) delivery: Option<Duration>,
}

impl Counts {
    pub(crate) fn new(now: Instant) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = cores.min(MOST_SHARDS).next_power_of_two();
        let shard = || CachePadded::new(Shard::new());
        Self {
            since: now,
            first: shard(),
            others: (1..shards).map(|_| shard()).collect(),
            mask: shards - 1,
            recent: Recent::default(),
            accepted: LatestAccepted::default(),
        }
    }

    /// `note` is made for those that are listed for people.
    pub(crate) fn message_succeeded(
        &self,
        times: Times,
        client: Option<IpAddr>,
        size: u64,
        note: impl FnOnce() -> AcceptedNote,
    ) {
        let shard = self.shard();
        let second = self.second(times.now);
        add(&shard.succeeded, 1);
        let in_this_second = shard.succeeded_lately.add(second);
        shard.message(times);
        shard.accepted_from(client, size, generation(second));
        if in_this_second <= LISTED_PER_SECOND {
            self.accepted.note(note());
        }
    }

    pub(crate) fn message_failed(&self, reason: FailureReason, times: Times) {
        let shard = self.shard();
        if let Some(counter) = shard.failed.get(reason as usize) {
            add(counter, 1);
        }
        shard.failed_lately.add(self.second(times.now));
        shard.message(times);
    }

    pub(crate) fn octets(&self, octets: usize) {
        add(&self.shard().octets, octets as u64);
    }

    pub(crate) fn connection(&self, result: ConnectionResult) {
        if let Some(counter) = self.shard().connections.get(result as usize) {
            add(counter, 1);
        }
    }

    pub(crate) fn handshake(&self, version: TlsVersion) {
        let place = VERSIONS.iter().position(|other| *other == version);
        if let Some(counter) = place.and_then(|place| self.shard().handshakes.get(place)) {
            add(counter, 1);
        }
    }

    pub(crate) fn handshake_failed(&self, failure: HandshakeFailure) {
        if let Some(counter) = self.shard().failed_handshakes.get(failure as usize) {
            add(counter, 1);
        }
    }

    pub(crate) fn login(&self, mechanism: AuthMechanism, result: AuthResult) {
        let counters = self.shard().logins.get(mechanism as usize);
        if let Some(counter) = counters.and_then(|it| it.get(result as usize)) {
            add(counter, 1);
        }
    }

    pub(crate) fn command_refused(&self, code: u16) {
        let place = usize::from(code.wrapping_sub(FIRST_CODE));
        if let Some(counter) = self.shard().refused_commands.get(place) {
            add(counter, 1);
        }
    }

    pub(crate) fn timeout(&self, phase: TimeoutPhase) {
        if let Some(counter) = self.shard().timeouts.get(phase as usize) {
            add(counter, 1);
        }
    }

    /// For people: what a client was refused.
    pub(crate) fn note(&self, note: RawIncident) {
        self.recent
            .note(note, generation(self.second(Instant::now())));
    }

    /// The latest first.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.recent.incidents()
    }

    pub(super) fn clients(&self, now: Instant) -> Vec<ClientActivity> {
        let generation = generation(self.second(now));
        let mut all = self.recent.clients(generation);
        for shard in self.shards() {
            let mut talkers = shard.talkers.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(talkers.all(generation));
        }
        add_up(all)
    }

    /// Whole seconds since counting began.
    pub(super) fn second(&self, now: Instant) -> u32 {
        u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = &Shard> {
        std::iter::once(&*self.first).chain(self.others.iter().map(|shard| &**shard))
    }

    /// The counters of this thread.
    fn shard(&self) -> &Shard {
        let place = this_thread() & self.mask;
        self.others
            .get(place)
            .map_or(&*self.first, |shard| &**shard)
    }
}

fn generation(second: u32) -> u32 {
    second / GENERATION_SECONDS
}

/// Threads are numbered as they come.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| match number.get() {
        Some(number) => number,
        None => {
            let next = NEXT.fetch_add(1, Relaxed);
            number.set(Some(next));
            next
        }
    })
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Shard {
    fn new() -> Self {
        Self {
            succeeded: AtomicU64::new(0),
            failed: Default::default(),
            succeeded_lately: Window::default(),
            failed_lately: Window::default(),
            processing: Histogram::default(),
            delivery: Histogram::default(),
            octets: AtomicU64::new(0),
            connections: Default::default(),
            handshakes: Default::default(),
            failed_handshakes: Default::default(),
            logins: Default::default(),
            refused_commands: std::array::from_fn(|_| AtomicU64::new(0)),
            timeouts: Default::default(),
            talkers: Mutex::default(),
        }
    }

    fn accepted_from(&self, client: Option<IpAddr>, size: u64, generation: u32) {
        let mut talkers = self.talkers.lock().unwrap_or_else(PoisonError::into_inner);
        talkers.count(client, generation, |activity| {
            activity.accepted = activity.accepted.saturating_add(1);
            activity.bytes = activity.bytes.saturating_add(size);
        });
    }

    fn message(&self, times: Times) {
        self.processing.record(times.processing);
        if let Some(delivery) = times.delivery {
            self.delivery.record(delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_many_threads_add_up() {
        let counts = Counts::new(Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..1000).for_each(|_| counts.octets(3)));
            }
        });
        let octets = counts.shards().map(|shard| shard.octets.load(Relaxed));
        assert_eq!(octets.sum::<u64>(), 16 * 3 * 1000);
    }

    #[test]
    fn a_code_that_is_none_is_left_out() {
        let counts = Counts::new(Instant::now());
        for code in [0, 250, 399, 600, u16::MAX] {
            counts.command_refused(code);
        }
        counts.command_refused(400);
        counts.command_refused(599);
        let all = counts.shards().flat_map(|shard| &shard.refused_commands);
        assert_eq!(all.map(|counter| counter.load(Relaxed)).sum::<u64>(), 2);
    }
}
