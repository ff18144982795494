//! Where a connection comes from.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use prixfixe_network::Credentials;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An address in a network.
    Ip(SocketAddr),
    /// A process on this machine, over a Unix socket, with what the system knows of it.
    Unix(Option<Credentials>),
    /// A stream that the program [serves](crate::Server::serve) itself.
    Other,
}

impl Peer {
    /// The address in a network, if that is where the connection comes from.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) | Self::Other => None,
        }
    }
}

impl From<prixfixe_network::Peer> for Peer {
    fn from(peer: prixfixe_network::Peer) -> Self {
        match peer {
            prixfixe_network::Peer::Ip(address) => Self::Ip(address),
            prixfixe_network::Peer::Unix(credentials) => Self::Unix(credentials),
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(SocketAddr::V4(address)) if f.width().is_none() => write_v4(*address, f),
            Self::Ip(address) => address.fmt(f),
            Self::Unix(_) => f.write_str("unix"),
            Self::Other => f.write_str("stream"),
        }
    }
}

/// As the standard library does it, in one piece: each line of the log has one.
fn write_v4(address: SocketAddrV4, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = FromBehind::default();
    text.push_number(address.port());
    let mut before = b':';
    for octet in address.ip().octets().into_iter().rev() {
        text.push(before);
        text.push_number(u16::from(octet));
        before = b'.';
    }
    f.write_str(text.as_str())
}

/// A short text that is written from its end.
#[derive(Default)]
struct FromBehind {
    bytes: [u8; "255.255.255.255:65535".len()],
    length: usize,
}

impl FromBehind {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.iter_mut().rev().nth(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_number(&mut self, number: u16) {
        let mut rest = number;
        loop {
            self.push(b'0' + u8::try_from(rest % 10).unwrap_or_default());
            rest /= 10;
            if rest == 0 {
                return;
            }
        }
    }

    fn as_str(&self) -> &str {
        let text = self.bytes.get(self.bytes.len() - self.length..);
        std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_the_standard_library_shows_it() {
        for text in [
            "0.0.0.0:0",
            "192.0.2.1:1024",
            "255.255.255.255:65535",
            "10.200.30.4:25",
            "[2001:db8::1]:25",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let peer = Peer::Ip(address);
            assert_eq!(peer.to_string(), text);
            assert_eq!(format!("{peer:>24}|"), format!("{address:>24}|"));
        }
    }
}
