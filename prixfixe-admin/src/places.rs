//! Who has a place among the connections of the admin endpoints. A newcomer always gets one: probes
//! must be answered however many others hold a connection and ask nothing.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::{self, Receiver, Sender};

/// Connections at once.
const PLACES: usize = 64;

/// Of one address.
const PLACES_OF_ONE: usize = 16;

#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Table>>);

/// From the one that has asked for nothing for the longest time to the one that asked last.
#[derive(Debug, Default)]
struct Table {
    taken: Vec<Taken>,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    peer: IpAddr,
    /// Dropped with the place.
    _holder: Sender<()>,
}

/// A place, until this is dropped or another takes it.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
}

impl Places {
    /// A place, and what tells that it is lost. Where this address has as many as one may have, one
    /// of its own makes room, else, where all are taken, one of anybody's: the one that has asked
    /// for nothing for the longest time.
    pub(super) fn take(&self, peer: IpAddr) -> (Place, Receiver<()>) {
        let peer = peer.to_canonical();
        let (holder, lost) = oneshot::channel();
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        let own = table.taken.iter().filter(|taken| taken.peer == peer);
        let goes = if own.count() >= PLACES_OF_ONE {
            table.taken.iter().position(|taken| taken.peer == peer)
        } else {
            (table.taken.len() >= PLACES).then_some(0)
        };
        if let Some(goes) = goes {
            table.taken.remove(goes);
        }
        table.taken.push(Taken {
            number,
            peer,
            _holder: holder,
        });
        let places = self.clone();
        (Place { places, number }, lost)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<Taken> {
        let place = self.taken.iter().position(|taken| taken.number == number)?;
        Some(self.taken.remove(place))
    }
}

impl Place {
    /// Its client asks for something.
    pub(super) fn is_used(&self) {
        let mut table = self.places.lock();
        if let Some(taken) = table.remove(self.number) {
            table.taken.push(taken);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NEWCOMER: [u8; 4] = [192, 0, 2, 1];

    fn is_lost((_, lost): &mut (Place, Receiver<()>)) -> bool {
        lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    /// All places, an address a place.
    fn full(places: &Places) -> Vec<(Place, Receiver<()>)> {
        (0..64)
            .map(|host| places.take([10, 0, 0, host].into()))
            .collect()
    }

    #[test]
    fn a_newcomer_takes_the_place_of_who_was_idle_longest() {
        let places = Places::default();
        let mut held = full(&places);
        held[0].0.is_used();
        let mut newcomer = places.take(NEWCOMER.into());
        assert!(is_lost(&mut held[1]));
        assert!(!is_lost(&mut newcomer));
        held.remove(1);
        assert!(!held.iter_mut().any(is_lost));
    }

    #[test]
    fn a_place_that_is_given_back_is_free() {
        let places = Places::default();
        let mut held = full(&places);
        held.pop();
        let _newcomer = places.take(NEWCOMER.into());
        assert!(!held.iter_mut().any(is_lost));
    }

    #[test]
    fn one_address_displaces_itself_alone() {
        let places = Places::default();
        let mut other = places.take([10, 0, 0, 1].into());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let mut held: Vec<_> = (0..20)
            .map(|number| match number % 2 {
                0 => places.take(NEWCOMER.into()),
                _ => places.take(mapped),
            })
            .collect();
        assert!(!is_lost(&mut other));
        let lost: Vec<bool> = held.iter_mut().map(is_lost).collect();
        assert_eq!(lost, [vec![true; 4], vec![false; 16]].concat());
    }
}
