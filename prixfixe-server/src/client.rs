//! Who is at the other end.

use std::net::SocketAddr;

use prixfixe_tls::TlsInfo;

/// What is known of a client, as of now in its session.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) via: Via,
    pub(crate) greeting: Option<Greeting>,
    pub(crate) tls: Option<Box<TlsInfo>>,
}

/// What stands between the client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Direct,
    /// A load balancer at this address, which has said whose connection it is.
    Balancer(SocketAddr),
    /// A load balancer that has come by itself.
    HealthCheck,
}

/// How a client introduced itself (RFC 5321 section 4.1.1.1).
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) name: Box<str>,
    pub(crate) extended: bool,
}

impl Client {
    /// The client's address. Behind a load balancer that speaks the PROXY protocol it is the one that the balancer
    /// gives.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client connected to: one of ours, or of the load balancer's.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The address of the load balancer that the connection came by
    /// ([`Endpoint::proxy_protocol_from`](crate::Endpoint::proxy_protocol_from)).
    #[must_use]
    pub fn balancer(&self) -> Option<SocketAddr> {
        match self.via {
            Via::Direct => None,
            Via::Balancer(address) => Some(address),
            Via::HealthCheck => Some(self.peer),
        }
    }

    /// True when the load balancer itself is the client, to see whether the server is there.
    #[must_use]
    pub fn is_health_check(&self) -> bool {
        self.via == Via::HealthCheck
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
