//! Where a server listens, and how.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "proxy-protocol")]
use ipnet::{IpNet, Ipv4Net};
use prixfixe_core::Protocol;
#[cfg(unix)]
use prixfixe_network::UnixSocket;
use prixfixe_network::{Listener, Peer};

use crate::{AuthMode, Client, StartError};

/// How many bits IPv4-mapped addresses have in common (RFC 4291 section 2.5.5.2).
#[cfg(feature = "proxy-protocol")]
const MAPPED_PREFIX: u8 = 96;

/// Where a server listens and what comes first there: for
/// [`ServerBuilder::listen`](crate::ServerBuilder::listen).
///
/// An address, a [`Listener`] and a [`UnixSocket`](crate::UnixSocket) are endpoints by themselves.
/// A text is one, too, as an IP address and a port; one that is none of these is an error when the
/// server starts.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_server::{Endpoint, Server, inbox};
///
/// let (handler, _inbox) = inbox();
/// let behind_balancers = Endpoint::new(([127, 0, 0, 1], 0)).proxy_protocol_from(["10.1.0.0/16".parse()?]);
/// let server = Server::builder().listen(behind_balancers).handler(handler).start()?;
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
    /// What was meant to be one.
    NoAddress(String),
    #[cfg(unix)]
    Unix(UnixSocket),
    Bound(Listener),
}

/// What holds for the connections that come by an [`Endpoint`], so that it can change while the
/// server runs: [`Settings::endpoint_rules`](crate::Settings::endpoint_rules).
#[derive(Debug, Clone)]
pub struct EndpointRules(pub(crate) Rules);

impl EndpointRules {
    /// TLS comes before anything else.
    #[must_use]
    pub fn is_implicit_tls(&self) -> bool {
        self.0.implicit_tls
    }

    /// What is spoken there.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }
}

/// What holds for the connections of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// What the program calls the listener.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) implicit_tls: bool,
    pub(crate) protocol: Protocol,
    /// `None`: as the settings have it.
    pub(crate) auth: Option<AuthMode>,
    /// `None`: as the settings have it.
    pub(crate) early_talker: Option<Duration>,
    /// Where DSN is offered beside what the settings say. `None`: nowhere.
    pub(crate) dsn: Option<Offer>,
    #[cfg(feature = "proxy-protocol")]
    pub(crate) balancers: Vec<IpNet>,
    #[cfg(feature = "proxy-protocol")]
    pub(crate) balancers_on_unix: bool,
    #[cfg(feature = "proxy-protocol")]
    pub(crate) proxies: Vec<IpNet>,
    #[cfg(feature = "proxy-protocol")]
    pub(crate) proxies_on_unix: bool,
}

/// Something that is offered as long as somebody says so.
#[derive(Clone)]
pub(crate) struct Offer(Arc<dyn Fn() -> bool + Send + Sync>);

impl Offer {
    pub(crate) fn is_made(&self) -> bool {
        self.0()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Offer").field(&self.is_made()).finish()
    }
}

impl Endpoint {
    /// Listens on an address, in clear with STARTTLS where TLS is configured. Port 0: any free
    /// port.
    pub fn new(address: impl Into<SocketAddr>) -> Self {
        Self::on(Socket::Address(address.into()))
    }

    const fn on(socket: Socket) -> Self {
        Self {
            socket,
            rules: Rules::none(),
        }
    }

    /// Listens on a Unix socket, for processes of this machine. Limits of one client and
    /// [`tls_required`](crate::Settings::tls_required) don't apply to them.
    ///
    /// ```
    /// use prixfixe_server::{Endpoint, Protocol, UnixSocket};
    ///
    /// let socket = UnixSocket::new("/run/app/lmtp.sock").mode(0o660);
    /// let endpoint = Endpoint::unix(socket).protocol(Protocol::Lmtp);
    /// ```
    #[cfg(unix)]
    pub fn unix(socket: UnixSocket) -> Self {
        Self::on(Socket::Unix(socket))
    }

    /// TLS comes before anything else (RFC 8314 section 3.3).
    #[cfg(feature = "tls")]
    pub fn implicit_tls(mut self) -> Self {
        self.rules.implicit_tls = true;
        self
    }

    /// What the program calls this endpoint: [`Client::endpoint`] says it of each client that comes
    /// by it. A check may ask more of strangers at one endpoint than at another.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.rules.name = Some(name.into());
        self
    }

    /// What is spoken here. Default: SMTP.
    ///
    /// By [LMTP](Protocol::Lmtp) each recipient of a message is told what became of it
    /// ([`Accepted::each`](crate::Accepted::each)). RFC 2033 section 5 forbids it on port 25.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.rules.protocol = protocol;
        self
    }

    /// Whether clients may or must log in here, in place of what
    /// [`Settings::auth`](crate::Settings::auth) says.
    pub fn auth(mut self, mode: AuthMode) -> Self {
        self.rules.auth = Some(mode);
        self
    }

    /// How long clients have to keep quiet here before they are greeted, in place of what
    /// [`Settings::early_talker`](crate::Settings::early_talker) says.
    pub fn early_talker(mut self, time: Duration) -> Self {
        self.rules.early_talker = Some(time);
        self
    }

    /// Offers DSN here ([`Settings::dsn`](crate::Settings::dsn)) to each client that comes while
    /// this says so: as long as the server that mail is passed on to offers it, say. It is asked
    /// once for a connection, and must not block.
    pub fn dsn_while(mut self, is_offered: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.rules.dsn = Some(Offer(Arc::new(is_offered)));
        self
    }

    /// A peer in one of these networks is a load balancer: its connections must begin with a PROXY
    /// protocol header, version 1 or 2, also before a TLS handshake, and the address in it is the
    /// [client's](crate::Client::peer). Without one within the command timeout, or with a bad one,
    /// the connection is closed and nothing is sent. From any other peer such a header is no more
    /// than an unknown command.
    ///
    /// A network of IPv4-mapped addresses (`::ffff:10.1.0.0/112`) is the IPv4 network that it
    /// stands for.
    ///
    /// A balancer in this list is believed whatever it says of its clients: name no more than your
    /// balancers.
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol_from(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        let networks = networks.into_iter().map(canonical);
        self.rules.balancers.extend(networks);
        self
    }

    /// As [`proxy_protocol_from`](Self::proxy_protocol_from), for every process that connects to
    /// this Unix socket.
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol_from_unix(mut self) -> Self {
        self.rules.balancers_on_unix = true;
        self
    }

    /// A peer in one of these networks is a mail proxy, such as nginx's or Dovecot's submission:
    /// EHLO offers it XCLIENT, by which it says whose session this is. The session begins anew
    /// then, and limits, [checks](crate::Check) and the handler see that client: its
    /// [address](crate::Client::peer), and its [identity](crate::Client::identity) where the proxy
    /// has logged it in. TLS stays as it is. From any other peer XCLIENT is refused with
    /// `550 5.7.0`.
    ///
    /// A proxy in this list is believed whatever it says, also that a client is logged in: name no
    /// more than your proxies.
    #[cfg(feature = "proxy-protocol")]
    pub fn xclient_from(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        let networks = networks.into_iter().map(canonical);
        self.rules.proxies.extend(networks);
        self
    }

    /// As [`xclient_from`](Self::xclient_from), for every process that connects to this Unix
    /// socket.
    #[cfg(feature = "proxy-protocol")]
    pub fn xclient_from_unix(mut self) -> Self {
        self.rules.proxies_on_unix = true;
        self
    }

    /// What was said of it, but for where it is.
    #[must_use]
    pub fn rules(&self) -> EndpointRules {
        EndpointRules(self.rules.clone())
    }

    pub(crate) fn bind(self) -> Result<Listener, StartError> {
        match self.socket {
            Socket::Address(address) => Ok(Listener::bind(address)?),
            Socket::NoAddress(text) => Err(StartError::Address(text)),
            #[cfg(unix)]
            Socket::Unix(socket) => Ok(Listener::bind_unix(&socket)?),
            Socket::Bound(listener) => Ok(listener),
        }
    }
}

/// Listens on a socket that is bound already.
impl From<Listener> for Endpoint {
    fn from(listener: Listener) -> Self {
        Self::on(Socket::Bound(listener))
    }
}

#[cfg(unix)]
impl From<UnixSocket> for Endpoint {
    fn from(socket: UnixSocket) -> Self {
        Self::unix(socket)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

impl From<SocketAddrV4> for Endpoint {
    fn from(address: SocketAddrV4) -> Self {
        Self::new(address)
    }
}

impl From<SocketAddrV6> for Endpoint {
    fn from(address: SocketAddrV6) -> Self {
        Self::new(address)
    }
}

/// An IP address and a port: `([127, 0, 0, 1], 25)`, `(Ipv6Addr::LOCALHOST, 25)`.
impl<A: Into<IpAddr>> From<(A, u16)> for Endpoint {
    fn from(address: (A, u16)) -> Self {
        Self::new(address)
    }
}

/// `127.0.0.1:25`, `[::1]:25`. Names are not looked up.
impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
        Self::on(match text.parse() {
            Ok(address) => Socket::Address(address),
            Err(_) => Socket::NoAddress(text.to_owned()),
        })
    }
}

impl Rules {
    /// The client as it is known here.
    pub(crate) fn client(&self, client: Client) -> Client {
        let client = client.speaking(self.protocol).by(self.name.clone());
        match self.is_proxy(client.peer()) {
            true => client.with_xclient(),
            false => client,
        }
    }

    pub(crate) const fn none() -> Self {
        Self {
            name: None,
            implicit_tls: false,
            protocol: Protocol::Smtp,
            auth: None,
            early_talker: None,
            dsn: None,
            #[cfg(feature = "proxy-protocol")]
            balancers: Vec::new(),
            #[cfg(feature = "proxy-protocol")]
            balancers_on_unix: false,
            #[cfg(feature = "proxy-protocol")]
            proxies: Vec::new(),
            #[cfg(feature = "proxy-protocol")]
            proxies_on_unix: false,
        }
    }

    #[cfg(not(feature = "proxy-protocol"))]
    #[allow(clippy::unused_self, reason = "as with the PROXY protocol")]
    pub(crate) const fn is_balancer(&self, _: Peer) -> bool {
        false
    }

    #[cfg(not(feature = "proxy-protocol"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn is_proxy(&self, _: crate::Peer) -> bool {
        false
    }

    #[cfg(feature = "proxy-protocol")]
    pub(crate) fn is_proxy(&self, peer: crate::Peer) -> bool {
        match peer {
            crate::Peer::Ip(address) => contains(&self.proxies, address.ip()),
            crate::Peer::Unix(_) => self.proxies_on_unix,
            crate::Peer::Other => false,
        }
    }

    #[cfg(feature = "proxy-protocol")]
    pub(crate) fn is_balancer(&self, peer: Peer) -> bool {
        match peer.ip() {
            Some(address) => contains(&self.balancers, address),
            None => self.balancers_on_unix,
        }
    }
}

#[cfg(feature = "proxy-protocol")]
fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Peers are known by their IPv4 addresses where they have any, so that is how networks of them are
/// to be looked for.
#[cfg(feature = "proxy-protocol")]
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let address = mapped.addr().to_ipv4_mapped();
    let length = mapped.prefix_len().checked_sub(MAPPED_PREFIX);
    match (address, length) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(network, IpNet::V4),
        _ => network,
    }
}
