//! Failed logins, of each client and of each client with one name, in ten minutes.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ClientKey;
use super::connections::is_public;
use crate::settings::FailureLimits;

/// Entries of a table. When it is full, an eighth of it is forgotten: those that have failed least.
/// Not to count the newcomer would hand whoever has many addresses (a /48 of IPv6 is enough) a way
/// to guess without end, and to refuse it a way to lock everybody else out.
const MAX_ENTRIES: usize = 65_536;
const FORGOTTEN: usize = MAX_ENTRIES / 8;

const MINUTE: Duration = Duration::from_secs(60);

/// Ten whole minutes, and the one that is under way.
const MINUTES: usize = 11;

const DEFAULT_OF_NAME: u32 = 5;
const DEFAULT_OF_CLIENT: u32 = 50;

/// What clients have failed at.
#[derive(Debug)]
pub(crate) struct Failures {
    start: Instant,
    hasher: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    clients: Table<ClientKey>,
    /// The name by its hash, with keys that nobody knows.
    names: Table<(ClientKey, u64)>,
}

#[derive(Debug)]
struct Table<K> {
    entries: HashMap<K, Counted>,
}

/// Failures of one client, by the minute.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// The latest minute in which there was one.
    minute: u32,
    counts: [u16; MINUTES],
}

impl Failures {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            start: now,
            hasher: RandomState::new(),
            tables: Mutex::default(),
        }
    }

    /// Whether this client has failed more often than it may, with any name or with this one.
    pub(crate) fn are_too_many(
        &self,
        now: Instant,
        limits: FailureLimits,
        client: IpAddr,
        name: Option<&str>,
    ) -> bool {
        let (of_client, of_name) = limits_of(limits, client);
        if of_client.or(of_name).is_none() {
            return false;
        }
        let key = ClientKey::from(client);
        let minute = self.minute(now);
        let tables = self.lock();
        let is_over = |limit: Option<u32>, count| limit.is_some_and(|limit| count > limit);
        is_over(of_client, tables.clients.count(&key, minute))
            || name.is_some_and(|name| {
                is_over(of_name, tables.names.count(&(key, self.hash(name)), minute))
            })
    }

    /// Counts one. Where the client has no limit, nothing is kept.
    pub(crate) fn add(
        &self,
        now: Instant,
        limits: FailureLimits,
        client: IpAddr,
        name: Option<&str>,
    ) {
        let (of_client, of_name) = limits_of(limits, client);
        let key = ClientKey::from(client);
        let minute = self.minute(now);
        let mut tables = self.lock();
        if of_client.is_some() {
            tables.clients.add(key, minute);
        }
        if let (Some(_), Some(name)) = (of_name, name) {
            let hash = self.hash(name);
            tables.names.add((key, hash), minute);
        }
    }

    /// Case hardly ever makes another user.
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name.to_lowercase())
    }

    /// From 1, so that an entry that was never used is of none.
    fn minute(&self, now: Instant) -> u32 {
        let minutes = now.saturating_duration_since(self.start).as_secs() / MINUTE.as_secs();
        u32::try_from(minutes).map_or(u32::MAX, |minutes| minutes.saturating_add(1))
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of all names together, and of one. `None`: as often as it likes.
fn limits_of(limits: FailureLimits, client: IpAddr) -> (Option<u32>, Option<u32>) {
    let limit = |set: Option<u32>, default| match set {
        Some(0) => None,
        Some(limit) => Some(limit),
        None => is_public(client).then_some(default),
    };
    (
        limit(limits.of_client, DEFAULT_OF_CLIENT),
        limit(limits.of_name, DEFAULT_OF_NAME),
    )
}

impl<K: Eq + Hash> Table<K> {
    fn count(&self, key: &K, minute: u32) -> u32 {
        let counted = self.entries.get(key);
        counted.map_or(0, |counted| counted.sum(minute))
    }

    fn add(&mut self, key: K, minute: u32) {
        if let Some(counted) = self.entries.get_mut(&key) {
            return counted.add(minute);
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.make_room(minute);
        }
        let mut counted = Counted::default();
        counted.add(minute);
        self.entries.insert(key, counted);
    }

    fn make_room(&mut self, minute: u32) {
        let mut sums: Vec<u32> = self.entries.values().map(|it| it.sum(minute)).collect();
        let last = FORGOTTEN.min(sums.len().saturating_sub(1));
        let least = *sums.select_nth_unstable(last).1;
        // Of those that have failed as often as the last one to go, only so many go.
        let mut more = FORGOTTEN
            - sums
                .iter()
                .filter(|sum| **sum < least)
                .count()
                .min(FORGOTTEN);
        self.entries.retain(|_, counted| {
            let sum = counted.sum(minute);
            let goes = sum == 0 || sum < least || (sum == least && more > 0);
            more -= usize::from(goes && sum == least && more > 0);
            !goes
        });
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }
}

impl Counted {
    fn add(&mut self, minute: u32) {
        self.advance(minute);
        let [latest, ..] = &mut self.counts;
        *latest = latest.saturating_add(1);
    }

    fn sum(mut self, minute: u32) -> u32 {
        self.advance(minute);
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }

    /// The first count becomes that of this minute. Threads have read the time one after the other,
    /// and may come in another order.
    fn advance(&mut self, minute: u32) {
        let passed = minute.saturating_sub(self.minute);
        let passed = usize::try_from(passed).unwrap_or(MINUTES).min(MINUTES);
        self.counts.rotate_right(passed % MINUTES);
        self.counts.iter_mut().take(passed).for_each(|it| *it = 0);
        self.minute = self.minute.max(minute);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const DEFAULT: FailureLimits = FailureLimits {
        of_name: None,
        of_client: None,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Failures until they are too many.
    fn until_too_many(limits: FailureLimits, client: &str, name: impl Fn(u32) -> String) -> u32 {
        let now = Instant::now();
        let failures = Failures::new(now);
        for count in 0..200 {
            if failures.are_too_many(now, limits, ip(client), Some(&name(count))) {
                return count;
            }
            failures.add(now, limits, ip(client), Some(&name(count)));
        }
        200
    }

    #[test]
    fn strangers_may_fail_five_times_with_a_name_and_fifty_times_in_all() {
        let one = |_| "ann".to_owned();
        let in_any_case = |count| if count % 2 == 0 { "ann" } else { "ANN" }.to_owned();
        let many = |count: u32| count.to_string();
        assert_eq!(until_too_many(DEFAULT, "192.0.2.1", one), 6);
        assert_eq!(until_too_many(DEFAULT, "2001:db8::1", in_any_case), 6);
        assert_eq!(until_too_many(DEFAULT, "192.0.2.1", many), 51);
        for local in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "fd00::1"] {
            assert_eq!(until_too_many(DEFAULT, local, one), 200);
        }
        let set = FailureLimits {
            of_name: Some(2),
            of_client: Some(7),
        };
        assert_eq!(until_too_many(set, "127.0.0.1", one), 3);
        assert_eq!(until_too_many(set, "127.0.0.1", many), 8);
        let none = FailureLimits {
            of_name: Some(0),
            of_client: Some(0),
        };
        assert_eq!(until_too_many(none, "192.0.2.1", one), 200);
    }

    #[test]
    fn one_client_and_one_name_are_counted_and_no_other() {
        let now = Instant::now();
        let failures = Failures::new(now);
        let ann = Some("ann");
        for _ in 0..6 {
            failures.add(now, DEFAULT, ip("192.0.2.1"), ann);
        }
        let are_too_many = |client, name| failures.are_too_many(now, DEFAULT, ip(client), name);
        assert!(are_too_many("192.0.2.1", ann));
        assert!(!are_too_many("192.0.2.1", Some("bob")) && !are_too_many("192.0.2.1", None));
        assert!(!are_too_many("192.0.2.2", ann));
    }

    #[test]
    fn they_are_forgotten_ten_minutes_later() {
        let start = Instant::now();
        let failures = Failures::new(start);
        let at = |minute: u64| start + Duration::from_secs(60 * minute);
        let (client, ann) = (ip("192.0.2.1"), Some("ann"));
        for minute in [0, 0, 3, 3, 3, 9] {
            failures.add(at(minute), DEFAULT, client, ann);
        }
        let are_too_many = |minute| failures.are_too_many(at(minute), DEFAULT, client, ann);
        assert!(are_too_many(9) && are_too_many(10));
        assert!(!are_too_many(11) && !are_too_many(14) && !are_too_many(1000));
        // Two of the first are gone, so two more make six.
        failures.add(at(12), DEFAULT, client, ann);
        assert!(!are_too_many(12));
        failures.add(at(12), DEFAULT, client, ann);
        assert!(are_too_many(13) && !are_too_many(14));
    }

    #[test]
    fn a_full_table_forgets_who_has_failed_least_and_counts_who_comes() {
        let start = Instant::now();
        let failures = Failures::new(start);
        let stranger = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x2d00_0000 + number));
        let strict = FailureLimits {
            of_name: Some(1),
            of_client: Some(1),
        };
        let guesser = 100_000;
        (0..2).for_each(|_| failures.add(start, strict, stranger(guesser), Some("ann")));
        for number in 0..70_000 {
            failures.add(start, strict, stranger(number), Some("ann"));
        }
        assert!(failures.are_too_many(start, strict, stranger(guesser), Some("ann")));
        assert!(failures.are_too_many(start, strict, stranger(guesser), None));
        let failures_of = |now, number| {
            (0..3).for_each(|_| failures.add(now, strict, stranger(number), None));
            failures.are_too_many(now, strict, stranger(number), None)
        };
        assert!(failures_of(start, 69_999) && failures_of(start, 70_000));
        let tables = failures.lock();
        for entries in [tables.clients.entries.len(), tables.names.entries.len()] {
            assert!((MAX_ENTRIES - FORGOTTEN..=MAX_ENTRIES).contains(&entries));
        }
        // A table of hashbrown's is filled to seven eighths, with an octet beside each entry.
        let size = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let clients = size_of::<(ClientKey, Counted)>();
        let names = size_of::<((ClientKey, u64), Counted)>();
        let memory = size(tables.clients.entries.capacity(), clients)
            + size(tables.names.entries.capacity(), names);
        assert!(
            memory <= 14_000_000,
            "{memory}: the documentation says 14 MB"
        );
        drop(tables);
        // Whose minutes are over is forgotten first.
        let later = start + 11 * MINUTE;
        for number in 0..MAX_ENTRIES as u32 {
            failures.add(later, strict, stranger(200_000 + number), None);
        }
        assert!(failures.lock().clients.entries.len() <= MAX_ENTRIES);
        assert!(failures_of(later, 200_000));
    }
}
