//! Connections at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ClientKey;

/// Counts the connections of each client that has any: there are never more entries than connections.
#[derive(Debug)]
pub(super) struct Connections {
    limit: u32,
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table(Mutex<HashMap<ClientKey, u32>>);

/// The place of one connection, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    key: ClientKey,
    table: Arc<Table>,
}

impl Connections {
    /// `None` without a limit.
    pub(super) fn new(limit: u32) -> Option<Self> {
        (limit > 0).then(|| Self {
            limit,
            table: Arc::default(),
        })
    }

    /// Counts on from where another limit has come to.
    pub(super) fn adopt(&mut self, old: &Self) {
        self.table = Arc::clone(&old.table);
    }

    /// `None`: the client has all of its places.
    pub(super) fn take(&self, key: ClientKey) -> Option<Place> {
        let mut counts = self.table.lock();
        let count = counts.entry(key).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place {
            key,
            table: Arc::clone(&self.table),
        })
    }
}

impl Table {
    /// Nothing under the lock panics.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.table.lock().entry(self.key) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn who_has_no_connection_has_no_entry() {
        let connections = Connections::new(2).unwrap();
        let keys = (0..1000).map(|n| ClientKey::V4(Ipv4Addr::from_bits(n)));
        let places: Vec<_> = keys.map(|key| connections.take(key).unwrap()).collect();
        assert_eq!(connections.table.lock().len(), 1000);
        drop(places);
        assert!(connections.table.lock().is_empty());
    }
}
