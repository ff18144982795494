//! Listening sockets, by socket2.  (SKELETON)
use std::net::SocketAddr;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {}

impl Listener {
    /// Binds, with SO_REUSEADDR, SO_REUSEPORT where it helps, a backlog of 4096. Port 0 is allowed.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> { todo!() }
    /// The address really bound.
    pub fn local_address(&self) -> SocketAddr { todo!() }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError { pub address: SocketAddr, pub source: std::io::Error }
