//! Limits of one client, so that none crowds out the others. Those a minute are off unless set.
//!
//! A client is an IPv4 address or the /64 of an IPv6 address: one host can have any address of a
//! /64, the least that a site is given (RFC 6177 section 2), so a limit on single addresses would
//! be none.

mod connections;
mod failures;
#[cfg(feature = "client-limits")]
mod rate;
#[cfg(not(feature = "client-limits"))]
#[path = "unlimited.rs"]
mod rate;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use self::connections::Connections;
pub(crate) use self::connections::{ConnectionLimit, Permit};
pub(crate) use self::failures::Failures;
use self::rate::Rate;

/// The limits as they are set; of those a minute 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClientLimits {
    /// Connections at once.
    pub(crate) connections: ConnectionLimit,
    pub(crate) connections_per_minute: u32,
    pub(crate) messages_per_minute: u32,
}

/// What clients have had of their limits.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    limits: ClientLimits,
    connections: Option<Connections>,
    connection_rate: Option<Arc<Rate>>,
    message_rate: Option<Arc<Rate>>,
}

/// The limit that a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverLimit {
    #[error("connections at once")]
    Connections,
    /// Nobody has set one.
    #[error("connections at once (half of max-connections)")]
    HalfOfConnections,
    #[error("connections a minute")]
    ConnectionRate,
}

/// A client as limits know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Clients {
    /// `max_connections`: of all clients together.
    pub(crate) fn new(limits: ClientLimits, max_connections: usize, now: Instant) -> Self {
        Self {
            limits,
            connections: Connections::new(limits.connections, max_connections),
            connection_rate: Rate::new(limits.connections_per_minute, now).map(Arc::new),
            message_rate: Rate::new(limits.messages_per_minute, now).map(Arc::new),
        }
    }

    /// The same clients under other limits. A rate that is the same goes on; one that is another
    /// begins anew. Connections are known where there was a limit to them.
    pub(crate) fn with_limits(
        &self,
        limits: ClientLimits,
        max_connections: usize,
        now: Instant,
    ) -> Self {
        let mut clients = Self::new(limits, max_connections, now);
        if let (Some(old), Some(new)) = (&self.connections, &mut clients.connections) {
            new.adopt(old);
        }
        if limits.connections_per_minute == self.limits.connections_per_minute {
            clients.connection_rate.clone_from(&self.connection_rate);
        }
        if limits.messages_per_minute == self.limits.messages_per_minute {
            clients.message_rate.clone_from(&self.message_rate);
        }
        clients
    }

    /// A client has connected. Its place is taken until it is dropped.
    pub(crate) fn connect(
        &self,
        now: Instant,
        address: IpAddr,
    ) -> Result<Option<Permit>, OverLimit> {
        let key = ClientKey::from(address);
        let place = match &self.connections {
            None => None,
            Some(connections) => connections.take(address)?,
        };
        // A connection that is turned away for another reason is not one of those in a minute.
        match &self.connection_rate {
            Some(rate) if !rate.allows(now, key) => Err(OverLimit::ConnectionRate),
            _ => Ok(place),
        }
    }

    /// Somebody is over a limit that nobody has set: what it is, for the first of them.
    pub(crate) fn tell_of_default(&self, over: OverLimit) -> Option<u32> {
        let connections = self.connections.as_ref()?;
        (over == OverLimit::HalfOfConnections)
            .then(|| connections.tell_once())
            .flatten()
    }

    /// Whether a client may begin one more message.
    pub(crate) fn allows_message(&self, now: Instant, address: IpAddr) -> bool {
        self.message_rate
            .as_ref()
            .is_none_or(|rate| rate.allows(now, ClientKey::from(address)))
    }
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let prefix = [a, b, c, d]
                    .iter()
                    .fold(0, |prefix, segment| prefix << 16 | u64::from(*segment));
                Self::V6(prefix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "client-limits")]
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const NONE: ClientLimits = ClientLimits {
        connections: ConnectionLimit::None,
        connections_per_minute: 0,
        messages_per_minute: 0,
    };

    #[test]
    fn without_limits_everything_is_allowed() {
        let now = Instant::now();
        let clients = Clients::new(NONE, 100, now);
        for _ in 0..10_000 {
            assert!(matches!(clients.connect(now, ip("192.0.2.1")), Ok(None)));
            assert!(clients.allows_message(now, ip("192.0.2.1")));
        }
    }

    #[test]
    fn without_a_limit_of_connections_a_stranger_has_half_of_them() {
        let now = Instant::now();
        let refused = |clients: &Clients, address: &str, expected: usize| {
            let mut places = Vec::new();
            while let Ok(place) = clients.connect(now, ip(address)) {
                places.push(place);
                if places.len() > 100 {
                    return;
                }
            }
            assert_eq!(places.len(), expected, "{address}");
            let error = clients.connect(now, ip(address)).unwrap_err();
            assert_eq!(error, OverLimit::HalfOfConnections);
        };
        for (all, half) in [(100, 50), (11, 5), (2, 1), (1, 1)] {
            let clients = Clients::new(ClientLimits::default(), all, now);
            refused(&clients, "192.0.2.1", half);
            refused(&clients, "2001:db8::1", half);
            for address in ["127.0.0.1", "10.0.0.1", "fd00::1", "fe80::1"] {
                refused(&clients, address, usize::MAX);
            }
        }
        // It is said once what the limit is, and under other limits not again.
        let clients = Clients::new(ClientLimits::default(), 100, now);
        let over = OverLimit::HalfOfConnections;
        assert_eq!(clients.tell_of_default(OverLimit::ConnectionRate), None);
        assert_eq!(clients.tell_of_default(over), Some(50));
        assert_eq!(clients.tell_of_default(over), None);
        let clients = clients.with_limits(ClientLimits::default(), 20, now);
        assert_eq!(clients.tell_of_default(over), None);
        refused(&clients, "192.0.2.1", 10);
    }

    #[test]
    fn an_ipv6_client_is_its_first_64_bits() {
        let key = |text| ClientKey::from(ip(text));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::2"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db9:1:2::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("0.0.0.0"), key("::"));
        assert_eq!(key("2001:db8:1:2::1"), ClientKey::V6(0x2001_0db8_0001_0002));
    }

    #[test]
    fn a_client_has_so_many_connections_at_once() {
        let now = Instant::now();
        let limits = ClientLimits {
            connections: ConnectionLimit::of(2),
            ..NONE
        };
        let clients = Clients::new(limits, 100, now);
        let first = clients.connect(now, ip("192.0.2.1")).unwrap();
        let _second = clients.connect(now, ip("192.0.2.1")).unwrap();
        let third = clients.connect(now, ip("192.0.2.1")).unwrap_err();
        assert_eq!(third, OverLimit::Connections);
        let _other = clients.connect(now, ip("192.0.2.2")).unwrap();
        drop(first);
        let _third = clients.connect(now, ip("192.0.2.1")).unwrap();
        assert!(clients.connect(now, ip("192.0.2.1")).is_err());
    }

    #[cfg(feature = "client-limits")]
    #[test]
    fn who_has_used_its_minute_waits_for_its_share_of_the_next() {
        let start = Instant::now();
        let limits = ClientLimits {
            connections_per_minute: 6,
            messages_per_minute: 3,
            ..NONE
        };
        let clients = Clients::new(limits, 100, start);
        let allowed = |after: u64| {
            let now = start + Duration::from_secs(after);
            let mut count = 0;
            while clients.connect(now, ip("192.0.2.1")).is_ok() {
                count += 1;
            }
            count
        };
        // All at once, then one every ten seconds, and the whole again after a minute of nothing.
        assert_eq!(allowed(0), 6);
        assert_eq!(allowed(9), 0);
        assert_eq!(allowed(10), 1);
        assert_eq!(allowed(30), 2);
        assert_eq!(allowed(90), 6);
        let now = start + Duration::from_secs(90);
        assert_eq!(
            clients.connect(now, ip("192.0.2.1")).unwrap_err(),
            OverLimit::ConnectionRate
        );
        assert!(clients.connect(now, ip("192.0.2.2")).is_ok());
        // Messages have a count of their own.
        let messages = (0..10).filter(|_| clients.allows_message(now, ip("192.0.2.1")));
        assert_eq!(messages.count(), 3);
    }

    #[cfg(feature = "client-limits")]
    #[test]
    fn new_limits_hold_for_what_clients_have_already() {
        let now = Instant::now();
        let limits = ClientLimits {
            connections: ConnectionLimit::of(2),
            connections_per_minute: 3,
            messages_per_minute: 1,
        };
        let clients = Clients::new(limits, 100, now);
        let _first = clients.connect(now, ip("192.0.2.1")).unwrap();
        let second = clients.connect(now, ip("192.0.2.1")).unwrap();
        assert!(clients.allows_message(now, ip("192.0.2.1")));

        let fewer = ClientLimits {
            connections: ConnectionLimit::of(1),
            ..limits
        };
        let clients = clients.with_limits(fewer, 100, now);
        let refused = |clients: &Clients| clients.connect(now, ip("192.0.2.1")).unwrap_err();
        drop(second);
        assert_eq!(refused(&clients), OverLimit::Connections);
        assert!(!clients.allows_message(now, ip("192.0.2.1")));

        let clients = clients.with_limits(limits, 100, now);
        let _third = clients.connect(now, ip("192.0.2.1")).unwrap();
        assert_eq!(refused(&clients), OverLimit::Connections);
        let at_once = ClientLimits {
            connections: ConnectionLimit::of(9),
            ..limits
        };
        let clients = clients.with_limits(at_once, 100, now);
        assert_eq!(refused(&clients), OverLimit::ConnectionRate);
    }

    #[cfg(feature = "client-limits")]
    #[test]
    fn a_connection_over_its_minute_holds_no_place() {
        let now = Instant::now();
        let limits = ClientLimits {
            connections: ConnectionLimit::of(1),
            connections_per_minute: 1,
            ..NONE
        };
        let clients = Clients::new(limits, 100, now);
        drop(clients.connect(now, ip("192.0.2.1")).unwrap());
        let refused = clients.connect(now, ip("192.0.2.1")).unwrap_err();
        assert_eq!(refused, OverLimit::ConnectionRate);
        let later = now + Duration::from_secs(60);
        assert!(clients.connect(later, ip("192.0.2.1")).is_ok());
    }
}
