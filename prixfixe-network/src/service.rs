//! What makes sessions.

use std::net::SocketAddr;
use std::time::Instant;

use crate::{Peer, Session};

/// Makes a session for every connection that a transport accepts.
pub trait Service: Send + Sync + 'static {
    /// The sessions it makes.
    type Session: Session;

    /// A connection was accepted, within the connection limit.
    ///
    /// A panic here costs that connection and no other.
    fn session(&self, now: Instant, connection: &Connection) -> Self::Session;

    /// A connection was accepted over the limit: the bytes it is told before it is closed. Empty,
    /// the default: nothing.
    ///
    /// They are sent as far as the socket takes them at once, which a short reply always is.
    fn over_limit(&self, now: Instant, connection: &Connection) -> &[u8] {
        let _ = (now, connection);
        &[]
    }
}

/// A function that makes a session, for a service that is nothing else.
impl<F, S> Service for F
where
    F: Fn(Instant, &Connection) -> S + Send + Sync + 'static,
    S: Session,
{
    type Session = S;

    fn session(&self, now: Instant, connection: &Connection) -> S {
        self(now, connection)
    }
}

/// What is known of a connection when it is accepted.
///
/// IPv4 addresses are IPv4 addresses, also on an inherited dual-stack listener that has them mapped
/// into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Who connected.
    pub peer: Peer,
    /// The address that the peer connected to, where it came by a network.
    pub local: Option<SocketAddr>,
    /// Which of the listeners, in the order in which they were given to the transport.
    pub listener: usize,
}

impl Connection {
    /// For a transport of your own, and for tests.
    pub fn new(peer: impl Into<Peer>, local: Option<SocketAddr>, listener: usize) -> Self {
        Self {
            peer: peer.into(),
            local,
            listener,
        }
    }
}

/// The address itself, without the disguise that an IPv4 address has on a dual-stack socket
/// (`::ffff:192.0.2.1`).
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => address,
        },
    }
}
