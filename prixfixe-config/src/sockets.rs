//! What is said of a listener beside its address.

use std::fmt;

use ipnet::IpNet;

/// Whose word is taken for where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    Network(IpNet),
    /// Whoever comes over a Unix socket.
    Unix,
}

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Trusted {
    pub fn networks(all: &[Self]) -> impl Iterator<Item = IpNet> {
        all.iter().filter_map(|it| match it {
            Self::Network(network) => Some(*network),
            Self::Unix => None,
        })
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
