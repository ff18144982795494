//! Who is at the other end.

use std::net::SocketAddr;

use prixfixe_tls::TlsInfo;

/// What is known of a client, as of now in its session.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) greeting: Option<Greeting>,
    pub(crate) tls: Option<Box<TlsInfo>>,
}

/// How a client introduced itself (RFC 5321 section 4.1.1.1).
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) name: Box<str>,
    pub(crate) extended: bool,
}

impl Client {
    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address of ours that the client connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The name that the client gave in HELO or EHLO, as it gave it: no more than a claim.
    #[must_use]
    pub fn helo(&self) -> Option<&str> {
        self.greeting.as_ref().map(|greeting| &*greeting.name)
    }

    /// True when the client greeted with EHLO and so speaks ESMTP.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.greeting
            .as_ref()
            .is_some_and(|greeting| greeting.extended)
    }

    /// The TLS connection, where there is one.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }
}
