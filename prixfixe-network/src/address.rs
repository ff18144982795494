//! Where connections come to, and where they come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An address in a network.
    Ip(SocketAddr),
    /// The file of a Unix socket. Without a path it is one that was inherited and has no name.
    Unix(PathBuf),
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An address in a network.
    Ip(SocketAddr),
    /// A process on this machine, over a Unix socket, with what the system knows of it.
    Unix(Option<Credentials>),
}

/// Who runs the process at the other end of a Unix socket, as the operating system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Credentials {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// The process's number, where the system tells it. That of another container is not known.
    pub process: Option<u32>,
}

impl Address {
    /// The address in a network, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The address in a network, or one that says nothing.
    pub(crate) fn ip_or_none(&self) -> SocketAddr {
        self.ip()
            .unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip().as_ref() == Some(other)
    }
}

/// As it is configured: `127.0.0.1:25` or `unix:/run/smtp.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Peer {
    /// The address in a network, if that is where the connection comes from.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(_) => f.write_str("unix"),
        }
    }
}

impl Credentials {
    /// Those of a process, for tests.
    #[must_use]
    pub const fn new(user: u32, group: u32, process: Option<u32>) -> Self {
        Self {
            user,
            group,
            process,
        }
    }
}
