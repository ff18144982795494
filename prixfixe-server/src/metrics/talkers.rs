//! Who sends most, for people: a table of the busiest clients that does not grow.

use std::net::IpAddr;

/// Clients that a table has room for.
const MOST_CLIENTS: usize = 64;

/// Seconds of a generation. What is told covers the one under way and the one before it.
pub(super) const GENERATION_SECONDS: u32 = 1800;

/// What a client did in the last half hour to hour.
///
/// There is room for the 64 busiest. A client that takes the place of a quieter one begins with
/// that one's counts, so that none is ever told to have done less than it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClientActivity {
    /// Its address, where it has one.
    pub client: Option<IpAddr>,
    /// Messages that were accepted.
    pub accepted: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Refusals and failures: connections, commands and messages.
    pub refused: u64,
}

impl ClientActivity {
    fn events(&self) -> u64 {
        self.accepted.saturating_add(self.refused)
    }

    fn add(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.refused = self.refused.saturating_add(other.refused);
    }
}

/// The busiest clients of this generation and of the one before ("space saving": Metwally, Agrawal,
/// El Abbadi).
#[derive(Debug, Default)]
pub(super) struct Talkers {
    generation: u32,
    current: Vec<ClientActivity>,
    previous: Vec<ClientActivity>,
}

impl Talkers {
    pub(super) fn count(
        &mut self,
        client: Option<IpAddr>,
        generation: u32,
        count: impl FnOnce(&mut ClientActivity),
    ) {
        self.turn_to(generation);
        if let Some(known) = self.current.iter_mut().find(|it| it.client == client) {
            return count(known);
        }
        if self.current.len() < MOST_CLIENTS {
            let mut newcomer = ClientActivity {
                client,
                ..ClientActivity::default()
            };
            count(&mut newcomer);
            return self.current.push(newcomer);
        }
        let quietest = self.current.iter_mut().min_by_key(|it| it.events());
        if let Some(place) = quietest {
            place.client = client;
            count(place);
        }
    }

    fn turn_to(&mut self, generation: u32) {
        if generation <= self.generation {
            return;
        }
        let current = std::mem::take(&mut self.current);
        let is_next = generation == self.generation + 1;
        self.previous = if is_next { current } else { Vec::new() };
        self.generation = generation;
    }

    pub(super) fn all(&mut self, generation: u32) -> Vec<ClientActivity> {
        self.turn_to(generation);
        add_up([self.current.as_slice(), self.previous.as_slice()].concat())
    }
}

/// One entry a client, the busiest first.
pub(super) fn add_up(all: Vec<ClientActivity>) -> Vec<ClientActivity> {
    let mut sums: Vec<ClientActivity> = Vec::new();
    for one in all {
        match sums.iter_mut().find(|sum| sum.client == one.client) {
            Some(sum) => sum.add(&one),
            None => sums.push(one),
        }
    }
    sums.sort_by_key(|one| std::cmp::Reverse((one.events(), one.bytes)));
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn the_busiest_stay_however_many_come_once() {
        let mut talkers = Talkers::default();
        for number in 1..10_000 {
            talkers.count(client(number), 0, |it| it.refused += 1);
            talkers.count(client(1), 0, |it| it.accepted += 1);
        }
        let all = talkers.all(0);
        assert_eq!(all.len(), MOST_CLIENTS);
        let first = all.first().map(|it| (it.client, it.accepted, it.refused));
        assert_eq!(first, Some((client(1), 9_999, 1)));
    }

    #[test]
    fn what_is_an_hour_old_is_forgotten() {
        let mut talkers = Talkers::default();
        talkers.count(client(1), 0, |it| it.accepted += 1);
        talkers.count(client(1), 1, |it| it.accepted += 2);
        talkers.count(client(2), 1, |it| it.accepted += 1);
        let counts = |talkers: &mut Talkers, generation| -> Vec<u64> {
            let all = talkers.all(generation);
            all.iter().map(|it| it.accepted).collect()
        };
        assert_eq!(counts(&mut talkers, 1), [3, 1]);
        assert_eq!(counts(&mut talkers, 2), [2, 1]);
        assert_eq!(counts(&mut talkers, 4), [0; 0]);
    }
}
