//! How many log lines strangers can make us write.
//!
//! Anybody can be refused as often as they like, and each refusal is a line that somebody may look
//! for. So each client has some lines a minute, all clients together have more, and part of those
//! is kept for clients that had none yet: who is refused during another one's flood still finds out
//! why.
//!
//! A minute begins with the first line after the last one. Two minutes can meet in the middle of a
//! flood, so within any 60 seconds a client can have its lines twice.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::clients::ClientKey;

/// For how long lines are counted together.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The lines that one client can cause in a minute.
const MAX_OF_CLIENT: u32 = 20;

/// The lines that all clients together can cause in a minute. No more clients than that are known
/// at once, since a client is known by its first line: the table has an end (about 30 KB).
const MAX_LINES: u32 = 600;

/// Of those, the lines that only a client without one in that minute can cause.
const KEPT_FOR_NEWCOMERS: u32 = 100;

/// The lines of strangers in this minute.
#[derive(Debug)]
pub(super) struct LineLimit {
    began: Instant,
    lines: u32,
    clients: HashMap<ClientKey, u32>,
    /// What was left out and not told yet.
    left_out: Option<LeftOut>,
    told: Option<Instant>,
    /// When a connection over the connection limit was told whatever the bound says.
    crowd_told: Option<Instant>,
}

/// Lines that were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: u64,
    /// Whom the latest of them was about.
    pub(super) client: IpAddr,
}

impl LineLimit {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            lines: 0,
            clients: HashMap::new(),
            left_out: None,
            told: None,
            crowd_told: None,
        }
    }

    /// Whether one more line about this client may be written. If not, it is counted.
    pub(super) fn allows(&mut self, now: Instant, client: IpAddr) -> bool {
        self.turn_over(now);
        let key = ClientKey::from(client);
        let had = self.clients.get(&key).copied().unwrap_or(0);
        let room = match had {
            0 => MAX_LINES,
            _ => MAX_LINES - KEPT_FOR_NEWCOMERS,
        };
        if had >= MAX_OF_CLIENT || self.lines >= room {
            let lines = self.left_out.map_or(0, |it| it.lines).saturating_add(1);
            self.left_out = Some(LeftOut { lines, client });
            return false;
        }
        self.lines += 1;
        self.clients.insert(key, had + 1);
        true
    }

    /// The same for a connection over the connection limit. The first in a minute is always told:
    /// it says that nobody is served.
    pub(super) fn allows_crowd(&mut self, now: Instant, client: IpAddr) -> bool {
        if is_due(self.crowd_told, now) {
            self.crowd_told = Some(now);
            return true;
        }
        self.allows(now, client)
    }

    /// What was left out, if that is to be told now: the first at once, the others once a minute.
    pub(super) fn due(&mut self, now: Instant) -> Option<LeftOut> {
        let left_out = self.left_out.filter(|_| is_due(self.told, now))?;
        self.told = Some(now);
        self.left_out = None;
        Some(left_out)
    }

    /// What was left out, whenever that was.
    pub(super) fn rest(&mut self) -> Option<LeftOut> {
        self.left_out.take()
    }

    /// Something was left out that was not told yet.
    pub(super) fn owes(&self) -> bool {
        self.left_out.is_some()
    }

    fn turn_over(&mut self, now: Instant) {
        if is_due(Some(self.began), now) {
            self.began = now;
            self.lines = 0;
            self.clients.clear();
        }
    }
}

/// Threads have read the time one after the other, and may come in another order.
fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= MINUTE)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    /// How many of so many lines about a client are written.
    fn written(limit: &mut LineLimit, now: Instant, client: IpAddr, lines: usize) -> usize {
        (0..lines).filter(|_| limit.allows(now, client)).count()
    }

    #[test]
    fn a_client_has_twenty_lines_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limit = LineLimit::new(start);
        assert_eq!(written(&mut limit, at(0), ip(1), 15), 15);
        assert_eq!(written(&mut limit, at(59), ip(1), 100), 5);
        assert_eq!(written(&mut limit, at(59), ip(2), 100), 20);
        assert_eq!(written(&mut limit, at(60), ip(1), 100), 20);
        assert_eq!(written(&mut limit, at(119), ip(1), 100), 0);
    }

    #[test]
    fn an_ipv6_client_is_a_network_of_64_bits() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        let lines = (0..100_u16).filter(|host| {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, *host]);
            limit.allows(start, address)
        });
        assert_eq!(lines.count(), 20);
        assert!(limit.allows(start, IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1])));
    }

    #[test]
    fn all_together_have_six_hundred_of_which_newcomers_have_the_last_hundred() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        let flood: usize = (0..1000)
            .map(|client| written(&mut limit, start, ip(client), 20))
            .sum();
        // 25 clients with all of their 20 lines, then one line for each of the next hundred.
        assert_eq!(flood, 600);
        assert_eq!(limit.clients.len(), 125);
        assert!(!limit.allows(start, ip(5000)));
        let later = start + MINUTE;
        assert_eq!(written(&mut limit, later, ip(5000), 100), 20);
    }

    #[test]
    fn a_victim_of_a_flood_has_its_line() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        for client in 0..100 {
            written(&mut limit, start, ip(client), 1000);
        }
        // The flood has spent what it can: 25 clients all of theirs, the others a line each.
        assert_eq!(limit.lines, 575);
        let victims: usize = (1000..1025)
            .map(|client| written(&mut limit, start, ip(client), 3))
            .sum();
        assert_eq!(victims, 25, "one line each");
    }

    #[test]
    fn the_table_has_an_end() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        for client in 0..100_000 {
            limit.allows(start, ip(client));
        }
        assert_eq!(limit.clients.len(), 600);
        assert!(limit.clients.capacity() <= 1024);
    }

    #[test]
    fn what_is_left_out_is_told_at_once_and_then_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limit = LineLimit::new(start);
        let left_out = |lines, client| Some(LeftOut { lines, client });
        written(&mut limit, at(0), ip(1), 20);
        assert_eq!(limit.due(at(0)), None, "nothing was left out");
        written(&mut limit, at(1), ip(1), 1);
        assert_eq!(limit.due(at(1)), left_out(1, ip(1)));
        written(&mut limit, at(2), ip(1), 5000);
        written(&mut limit, at(60), ip(2), 21);
        assert!(limit.owes());
        assert_eq!(limit.due(at(60)), None);
        assert_eq!(limit.due(at(61)), left_out(5001, ip(2)));
        assert_eq!(limit.due(at(200)), None);
        assert!(!limit.owes());
        // Who stops tells all of it.
        written(&mut limit, at(61), ip(2), 7);
        assert_eq!(limit.rest(), left_out(7, ip(2)));
        assert_eq!(limit.rest(), None);
    }

    #[test]
    fn the_first_connection_over_the_limit_is_told_in_every_flood() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        for client in 0..1000 {
            written(&mut limit, start, ip(client), 20);
        }
        let told = |limit: &mut LineLimit, now| {
            (0..100).filter(|_| limit.allows_crowd(now, ip(7))).count()
        };
        assert_eq!(told(&mut limit, start), 1);
        assert_eq!(told(&mut limit, start + MINUTE), 21);
    }

    #[test]
    fn time_that_comes_out_of_order_begins_no_minute() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        let later = start + MINUTE;
        assert_eq!(written(&mut limit, later, ip(1), 100), 20);
        assert_eq!(written(&mut limit, start, ip(1), 100), 0);
    }
}
