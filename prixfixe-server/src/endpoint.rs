//! Where a server listens, and how.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use prixfixe_network::{BindError, Listener};

/// Where a server listens and what comes first there: for [`ServerBuilder::endpoint`](crate::ServerBuilder::endpoint).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_server::{Endpoint, Server, inbox};
///
/// let (handler, _inbox) = inbox(1);
/// let behind_balancers = Endpoint::new(([127, 0, 0, 1], 0)).proxy_protocol_from(["10.1.0.0/16".parse()?]);
/// let server = Server::builder().endpoint(behind_balancers).handler(handler).start()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Endpoint {
    socket: Socket,
    pub(crate) rules: Rules,
}

#[derive(Debug)]
enum Socket {
    Address(SocketAddr),
    Bound(Listener),
}

/// What holds for the connections of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) implicit_tls: bool,
    pub(crate) balancers: Vec<IpNet>,
}

impl Endpoint {
    /// Listens on an address, in clear with STARTTLS where TLS is configured. Port 0: any free port.
    pub fn new(address: impl Into<SocketAddr>) -> Self {
        Self {
            socket: Socket::Address(address.into()),
            rules: Rules::none(),
        }
    }

    /// TLS comes before anything else (RFC 8314 section 3.3).
    pub fn implicit_tls(mut self) -> Self {
        self.rules.implicit_tls = true;
        self
    }

    /// A peer in one of these networks is a load balancer: its connections must begin with a PROXY protocol header,
    /// version 1 or 2, also before a TLS handshake, and the address in it is the
    /// [client's](crate::Client::peer). Without one within the command timeout, or with a bad one, the connection is
    /// closed and nothing is sent. From any other peer such a header is no more than an unknown command.
    ///
    /// A balancer in this list is believed whatever it says of its clients: name no more than your balancers.
    pub fn proxy_protocol_from(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.rules.balancers.extend(networks);
        self
    }

    pub(crate) fn bind(self) -> Result<Listener, BindError> {
        match self.socket {
            Socket::Address(address) => Listener::bind(address),
            Socket::Bound(listener) => Ok(listener),
        }
    }
}

/// Listens on a socket that is bound already.
impl From<Listener> for Endpoint {
    fn from(listener: Listener) -> Self {
        Self {
            socket: Socket::Bound(listener),
            rules: Rules::none(),
        }
    }
}

impl Rules {
    pub(crate) const fn none() -> Self {
        Self {
            implicit_tls: false,
            balancers: Vec::new(),
        }
    }

    pub(crate) fn is_balancer(&self, address: IpAddr) -> bool {
        self.balancers
            .iter()
            .any(|network| network.contains(&address))
    }
}
