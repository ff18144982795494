//! Connections at once, of each client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ClientKey, OverLimit};

/// How many connections one client may have at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ConnectionLimit {
    /// Nobody has said: half of all that there may be, so that no public address locks everybody
    /// else out. Loopback, private and link-local addresses, of which the operator knows whose they
    /// are, have no limit.
    #[default]
    Unset,
    None,
    AtMost(NonZeroU32),
}

impl ConnectionLimit {
    /// 0: none.
    pub(crate) fn of(connections: u32) -> Self {
        NonZeroU32::new(connections).map_or(Self::None, Self::AtMost)
    }
}

/// Counts the connections of each client that has any: there are never more entries than
/// connections.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    limit: u32,
    over: OverLimit,
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    counts: Mutex<HashMap<ClientKey, u32>>,
    /// It was said that nobody has set the limit which somebody was over.
    told: AtomicBool,
}

/// The place of one connection, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    key: ClientKey,
    table: Arc<Table>,
}

impl Connections {
    /// `None` without a limit.
    pub(super) fn new(limit: ConnectionLimit, max_connections: usize) -> Option<Self> {
        let (limit, over) = match limit {
            ConnectionLimit::None => return None,
            ConnectionLimit::AtMost(limit) => (limit.get(), OverLimit::Connections),
            ConnectionLimit::Unset => {
                let half = u32::try_from(max_connections / 2).unwrap_or(u32::MAX);
                (half.max(1), OverLimit::HalfOfConnections)
            }
        };
        Some(Self {
            limit,
            over,
            table: Arc::default(),
        })
    }

    /// Counts on from where another limit has come to.
    pub(super) fn adopt(&mut self, old: &Self) {
        self.table = Arc::clone(&old.table);
    }

    /// `None`: this client has no limit, and is not counted.
    pub(super) fn take(&self, address: IpAddr) -> Result<Option<Permit>, OverLimit> {
        if self.over == OverLimit::HalfOfConnections && !is_public(address) {
            return Ok(None);
        }
        let key = ClientKey::from(address);
        let mut counts = self.table.lock();
        let count = counts.entry(key).or_default();
        if *count >= self.limit {
            return Err(self.over);
        }
        *count += 1;
        Ok(Some(Permit {
            key,
            table: Arc::clone(&self.table),
        }))
    }

    /// The limit, the first time that it is asked for.
    pub(super) fn tell_once(&self) -> Option<u32> {
        let told = self.table.told.swap(true, Ordering::Relaxed);
        (!told).then_some(self.limit)
    }
}

impl Table {
    /// Nothing under the lock panics.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.table.lock().entry(self.key) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Neither loopback, nor private (RFC 1918, RFC 4193), nor link-local.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn public_addresses_are_those_of_strangers() {
        for (address, expected) in [
            ("127.0.0.1", false),
            ("127.255.0.9", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("192.169.1.1", true),
            ("169.254.1.1", false),
            ("100.64.0.1", true),
            ("192.0.2.1", true),
            ("::1", false),
            ("fc00::1", false),
            ("fdff::1", false),
            ("fe80::1", false),
            ("febf::1", false),
            ("fec0::1", true),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn who_has_no_connection_has_no_entry() {
        let connections = Connections::new(ConnectionLimit::of(2), 100).unwrap();
        let addresses = (0..1000).map(|n| Ipv4Addr::from_bits(n).into());
        let places: Vec<_> = addresses.map(|it| connections.take(it).unwrap()).collect();
        assert_eq!(connections.table.lock().len(), 1000);
        drop(places);
        assert!(connections.table.lock().is_empty());
    }
}
