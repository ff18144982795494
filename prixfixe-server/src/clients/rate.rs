//! So many a minute, by [`governor`]: as many at once as a minute has, then one each time that its
//! share of the minute has passed.
//!
//! governor's own tables keep an entry for every client that ever came until somebody cleans up.
//! This one has an end.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::ClientKey;

/// Clients of one rate that are known at once.
///
/// Beyond that a client that is not known is let through uncounted. To refuse it would hand whoever
/// has many addresses a way to lock everybody else out; to forget another one would hand it a fresh
/// minute. And nobody gains by filling the table: that takes more connections a minute, each from
/// another address, than what it would then be spared. `max_connections` holds for all of them.
const MAX_CLIENTS: usize = 65_536;

/// A lock is held by one thread in sixteen cases, and while one part of the table is cleaned up,
/// not the whole.
const SHARDS: usize = 16;
const CLIENTS_A_SHARD: usize = MAX_CLIENTS / SHARDS;

/// In a table that stays full, looking for what has run out is not repeated for each client.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A limit for each client of how often something happens.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: RateLimiter<ClientKey, Table, SharedClock, NoOpMiddleware<Nanos>>,
    start: Instant,
}

/// The latest time that a session was given: no clock is read for a limit.
#[derive(Debug, Clone, Default)]
struct SharedClock(Arc<AtomicU64>);

/// For each client the time at which it will have its whole minute again.
#[derive(Debug)]
struct Table {
    clock: SharedClock,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// When it was last told that the table is full.
    warned: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    times: HashMap<ClientKey, Nanos>,
    /// When it was last cleaned up.
    swept: u64,
}

impl Rate {
    /// `None` without a limit.
    pub(super) fn new(a_minute: u32, now: Instant) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(a_minute)?);
        let clock = SharedClock::default();
        let table = Table {
            clock: clock.clone(),
            hasher: RandomState::new(),
            shards: Default::default(),
            warned: AtomicU64::new(0),
        };
        Some(Self {
            limiter: RateLimiter::new(quota, table, clock),
            start: now,
        })
    }

    /// Counts one, if it is allowed.
    pub(super) fn allows(&self, now: Instant, key: ClientKey) -> bool {
        let since = now.saturating_duration_since(self.start);
        self.limiter.clock().advance_to(since);
        self.limiter.check_key(&key).is_ok()
    }
}

impl SharedClock {
    /// Threads have read the time one after the other, and may come in another order.
    fn advance_to(&self, since: Duration) {
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_max(nanoseconds, Ordering::Relaxed);
    }

    fn nanoseconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for SharedClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.nanoseconds())
    }
}

impl StateStore for Table {
    type Key = ClientKey;

    fn measure_and_replace<T, F, E>(&self, key: &ClientKey, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let place = self.hasher.hash_one(key) % SHARDS as u64;
        let shard = usize::try_from(place)
            .ok()
            .and_then(|at| self.shards.get(at));
        let Some(shard) = shard else {
            return f(None).map(|(answer, _)| answer);
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = shard.times.get_mut(key) {
            let (answer, next) = f(Some(*time))?;
            *time = next;
            return Ok(answer);
        }
        let (answer, next) = f(None)?;
        if shard.has_room(self.clock.nanoseconds()) {
            shard.times.insert(*key, next);
        } else {
            drop(shard);
            self.warn();
        }
        Ok(answer)
    }
}

impl Table {
    fn warn(&self) {
        let now = self.clock.nanoseconds();
        let warned = self.warned.load(Ordering::Relaxed);
        let is_due = warned == 0 || passed(WARNING_INTERVAL, warned, now);
        let is_first = || {
            let swap = self.warned.compare_exchange(
                warned,
                now.max(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            swap.is_ok()
        };
        if is_due && is_first() {
            tracing::warn!(
                target: "prixfixe",
                clients = MAX_CLIENTS,
                "more clients than limits a minute can count; some are not limited"
            );
        }
    }
}

impl Shard {
    /// Whether one more client can be known, after what has run out is gone: who has its whole
    /// minute again is like one that never came.
    fn has_room(&mut self, now: u64) -> bool {
        if self.times.len() >= CLIENTS_A_SHARD && passed(SWEEP_INTERVAL, self.swept, now) {
            self.swept = now;
            self.times.retain(|_, time| time.as_u64() > now);
        }
        self.times.len() < CLIENTS_A_SHARD
    }
}

fn passed(interval: Duration, since: u64, now: u64) -> bool {
    u128::from(now.saturating_sub(since)) >= interval.as_nanos()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(number: u32) -> ClientKey {
        ClientKey::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_full_table_lets_in_who_is_not_known_and_holds_who_is() {
        let start = Instant::now();
        let rate = Rate::new(1, start).unwrap();
        // Half as many again as have room, so that every shard is full.
        for client in 0..100_000 {
            assert!(rate.allows(start, key(client)));
        }
        assert!(!rate.allows(start, key(0)), "it came first, so it is known");
        let late = key(100_000);
        assert!(rate.allows(start, late) && rate.allows(start, late));

        // A minute later the others are forgotten.
        let later = start + Duration::from_secs(60);
        assert!(rate.allows(later, late));
        assert!(!rate.allows(later, late));
        assert!(rate.allows(later, key(0)));
    }

    #[test]
    fn the_table_has_the_size_that_the_documentation_says() {
        let start = Instant::now();
        let rate = Rate::new(1, start).unwrap();
        for client in 0..100_000 {
            rate.allows(start, key(client));
        }
        let table = rate.limiter.into_state_store();
        let shards = table.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap();
            (shard.times.len(), shard.times.capacity())
        });
        let (clients, capacity) = shards.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        assert_eq!(clients, MAX_CLIENTS);
        // A table of hashbrown's is filled to seven eighths, with an octet beside each entry.
        let entry = size_of::<(ClientKey, Nanos)>() + 1;
        assert!(
            capacity * 8 / 7 * entry <= 3_300_000,
            "{capacity} of {entry}"
        );
    }

    #[test]
    fn time_that_comes_out_of_order_does_not_go_back() {
        let start = Instant::now();
        let rate = Rate::new(1, start).unwrap();
        let later = start + Duration::from_secs(60);
        assert!(rate.allows(later, key(1)));
        assert!(!rate.allows(start, key(1)));
        assert!(rate.allows(start, key(2)));
        assert!(!rate.allows(later, key(2)));
        assert!(rate.allows(later + Duration::from_secs(60), key(1)));
    }
}
