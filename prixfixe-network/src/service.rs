//! What makes sessions.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Session;

/// Makes a session for every connection that a transport accepts.
pub trait Service: Send + Sync + 'static {
    /// The sessions it makes.
    type Session: Session;

    /// A connection was accepted, within the connection limit.
    fn session(&self, now: Instant, connection: &Connection) -> Self::Session;

    /// A connection was accepted over the limit: the bytes it is told before it is closed. Empty: nothing.
    fn over_limit(&self, connection: &Connection) -> &[u8];
}

/// What is known of a TCP connection when it is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The address that the peer connected to.
    pub local: SocketAddr,
    /// Which of the listeners, in the order in which they were given to the transport.
    pub listener: usize,
}
