//! Who is at the other end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prixfixe_core::{Attribute, Domain, Protocol, Xclient};
use prixfixe_network::Credentials;

use crate::Peer;
use crate::tls::TlsInfo;

/// What is known of a client, as of now in its session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Known>);

#[derive(Debug, Clone)]
struct Known {
    id: ConnectionId,
    peer: Peer,
    local: Option<SocketAddr>,
    via: Via,
    protocol: Protocol,
    endpoint: Option<Arc<str>>,
    /// It may say by XCLIENT whose session this is.
    is_proxy: bool,
    host_name: Option<Box<str>>,
    /// The same, where a check has found it out: for all that know of this client.
    found_name: Arc<OnceLock<Box<str>>>,
    greeting: Option<Greeting>,
    tls: Option<Arc<TlsInfo>>,
    identity: Option<Identity>,
}

/// Whom a client has proved to be, by a login or a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    name: Arc<str>,
}

/// The name that a connection goes by in spans and logs: no other of this process has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// What stands between the client and the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Via {
    Direct,
    /// A load balancer at this address, which has said whose connection it is. Boxed: what is known
    /// of a client is kept for every idle one.
    Balancer(Box<Peer>),
    /// A load balancer that has come by itself.
    HealthCheck,
}

/// How a client introduced itself (RFC 5321 section 4.1.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) name: Box<str>,
    pub(crate) extended: bool,
}

impl Client {
    /// Describes a client of a test's: without more said, one at 192.0.2.1 that has not introduced
    /// itself.
    ///
    /// ```
    /// use prixfixe_server::Client;
    ///
    /// let client = Client::builder().peer(([203, 0, 113, 9], 40_000)).ehlo("mail.example.com").build();
    /// assert_eq!(client.helo(), Some("mail.example.com"));
    /// ```
    pub fn builder() -> ClientBuilder {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1024));
        ClientBuilder(Known::new(Peer::Ip(peer), None, Via::Direct))
    }

    pub(crate) fn new(peer: Peer, local: Option<SocketAddr>, via: Via) -> Self {
        Self(Arc::new(Known::new(peer, local, via)))
    }

    /// The connection's name.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// Where the client is. Behind a load balancer that speaks the PROXY protocol it is the address
    /// that the balancer gives.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// The address that the client connected to: one of ours, or of the load balancer's.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// The load balancer that the connection came by
    /// ([`Endpoint::proxy_protocol_from`](crate::Endpoint::proxy_protocol_from)), or of the proxy
    /// that told of the client ([`Endpoint::xclient_from`](crate::Endpoint::xclient_from)).
    #[must_use]
    pub fn balancer(&self) -> Option<Peer> {
        match &self.0.via {
            Via::Direct => None,
            Via::Balancer(balancer) => Some(**balancer),
            Via::HealthCheck => Some(self.0.peer),
        }
    }

    /// True when the load balancer itself is the client, to see whether the server is there.
    #[must_use]
    pub fn is_health_check(&self) -> bool {
        self.0.via == Via::HealthCheck
    }

    /// What it speaks: SMTP, or LMTP on an [endpoint](crate::Endpoint::protocol) that does.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// The [name](crate::Endpoint::name) of the endpoint that it came by, if it has one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    pub(crate) fn by(mut self, endpoint: Option<Arc<str>>) -> Self {
        if endpoint.is_some() {
            Arc::make_mut(&mut self.0).endpoint = endpoint;
        }
        self
    }

    pub(crate) fn speaking(mut self, protocol: Protocol) -> Self {
        Arc::make_mut(&mut self.0).protocol = protocol;
        self
    }

    /// The name of the client's host in the DNS, where a proxy has told it by XCLIENT, or a check
    /// has [found it out](Self::found_host_name).
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        self.0.host_name.as_deref().or_else(|| self.shown_name())
    }

    /// Tells everybody who knows of this client the name that its host has in the DNS: for a
    /// [check](crate::Check) that looks it up while the session goes on. It stands in `Received`
    /// from then on. The first that is told stays; what is no domain of ASCII is none.
    pub fn found_host_name(&self, name: &str) {
        if name.is_ascii() && !name.starts_with('[') && Domain::try_from(name).is_ok() {
            let _ = self.0.found_name.set(name.into());
        }
    }

    /// The name that stands in `Received`: the one that was [found](Self::found_host_name).
    #[must_use]
    pub fn shown_name(&self) -> Option<&str> {
        self.0.found_name.get().map(|name| &**name)
    }

    pub(crate) fn with_xclient(mut self) -> Self {
        Arc::make_mut(&mut self.0).is_proxy = true;
        self
    }

    pub(crate) fn is_proxy(&self) -> bool {
        self.0.is_proxy
    }

    /// The client of which this one, a proxy, has told by XCLIENT. What it left unsaid is as it
    /// was, but one at another address is not whoever had logged in before. TLS is the
    /// connection's, and what in it proves who somebody is, is the proxy's.
    pub(crate) fn renamed(&self, told: &Xclient) -> Self {
        let port = |port: &Attribute<u16>| port.value().copied().unwrap_or_default();
        let proxy = match &self.0.via {
            Via::Balancer(proxy) => **proxy,
            Via::Direct | Via::HealthCheck => self.0.peer,
        };
        let peer = match told.address {
            Attribute::Is(address) => Peer::Ip(SocketAddr::new(address, port(&told.port))),
            Attribute::Unsaid => self.0.peer,
            _ => proxy,
        };
        let host_name = match &told.name {
            Attribute::Is(name) => Some(name.clone()),
            Attribute::Unsaid => self.0.host_name.clone(),
            _ => None,
        };
        let greeting = match &told.helo {
            Attribute::Is(name) => Some(Greeting {
                name: name.clone(),
                extended: told.extended.unwrap_or(true),
            }),
            Attribute::Unsaid => self.0.greeting.clone(),
            _ => None,
        };
        let identity = match &told.login {
            Attribute::Is(name) => Some(Identity::new(&**name)),
            Attribute::Unsaid if told.address.is_unsaid() => self.0.identity.clone(),
            _ => None,
        };
        let local = match told.destination.value() {
            Some(address) => Some(SocketAddr::new(*address, port(&told.destination_port))),
            None => self.0.local,
        };
        Self(Arc::new(Known {
            id: self.0.id,
            peer,
            local,
            via: Via::Balancer(Box::new(proxy)),
            protocol: self.0.protocol,
            endpoint: self.0.endpoint.clone(),
            is_proxy: true,
            host_name,
            found_name: match told.address {
                Attribute::Unsaid => Arc::clone(&self.0.found_name),
                _ => Arc::default(),
            },
            greeting,
            tls: self.0.tls.as_deref().map(of_another).map(Arc::new),
            identity,
        }))
    }

    /// The name that the client gave in HELO or EHLO (LHLO in LMTP), as it gave it: no more than a
    /// claim.
    #[must_use]
    pub fn helo(&self) -> Option<&str> {
        self.0.greeting.as_ref().map(|greeting| &*greeting.name)
    }

    /// True when the client greeted with EHLO (or LHLO) and so speaks ESMTP.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        let greeting = self.0.greeting.as_ref();
        greeting.is_some_and(|greeting| greeting.extended)
    }

    /// The TLS connection, where there is one.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.0.tls.as_deref()
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn tls(&self) -> Option<&TlsInfo> {
        self.0.tls.as_deref()
    }

    /// The `tls-exporter` channel binding (RFC 9266), where the TLS connection has one.
    #[cfg(feature = "tls")]
    pub(crate) fn channel_binding(&self) -> Option<[u8; 32]> {
        self.tls().and_then(|tls| tls.channel_binding)
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, reason = "as with TLS")]
    pub(crate) const fn channel_binding(&self) -> Option<[u8; 32]> {
        None
    }

    /// Whom the client has proved to be.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity.as_ref()
    }

    pub(crate) fn greeted(&mut self, greeting: Greeting) {
        if self.0.greeting.as_ref() == Some(&greeting) {
            return;
        }
        Arc::make_mut(&mut self.0).greeting = Some(greeting);
    }

    pub(crate) fn identified(&mut self, identity: Identity) {
        Arc::make_mut(&mut self.0).identity = Some(identity);
    }

    /// RFC 3207 section 4.2: what was learned in clear is forgotten.
    pub(crate) fn secured(&mut self, tls: TlsInfo) {
        let known = Arc::make_mut(&mut self.0);
        known.tls = Some(Arc::new(tls));
        known.greeting = None;
        known.identity = None;
    }
}

/// Neither the certificate nor the binding is that of a client behind the proxy.
fn of_another(tls: &TlsInfo) -> TlsInfo {
    let mut tls = tls.clone();
    tls.client_subject = None;
    tls.client_name = None;
    tls.channel_binding = None;
    tls
}

impl Known {
    fn new(peer: Peer, local: Option<SocketAddr>, via: Via) -> Self {
        Self {
            id: ConnectionId::next(),
            peer,
            local,
            via,
            protocol: Protocol::Smtp,
            endpoint: None,
            is_proxy: false,
            host_name: None,
            found_name: Arc::default(),
            greeting: None,
            tls: None,
            identity: None,
        }
    }
}

impl Identity {
    /// The identity of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into() }
    }

    /// The name, as the application gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ConnectionId {
    fn next() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        Self(COUNTER.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Describes a [`Client`] of a test's.
#[derive(Debug, Clone)]
#[must_use = "`build` makes the client"]
pub struct ClientBuilder(Known);

impl ClientBuilder {
    /// Where it is.
    pub fn peer(mut self, address: impl Into<SocketAddr>) -> Self {
        self.0.peer = Peer::Ip(address.into());
        self
    }

    /// It is a process on this machine, over a Unix socket.
    pub fn unix(mut self, credentials: Option<Credentials>) -> Self {
        self.0.peer = Peer::Unix(credentials);
        self
    }

    /// The address that it connected to.
    pub fn local(mut self, address: impl Into<SocketAddr>) -> Self {
        self.0.local = Some(address.into());
        self
    }

    /// The load balancer that it came by.
    pub fn balancer(mut self, address: impl Into<SocketAddr>) -> Self {
        self.0.via = Via::Balancer(Box::new(Peer::Ip(address.into())));
        self
    }

    /// The [name](crate::Endpoint::name) of the endpoint that it came by.
    pub fn endpoint(mut self, name: impl Into<Arc<str>>) -> Self {
        self.0.endpoint = Some(name.into());
        self
    }

    /// What it speaks. Default: SMTP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.0.protocol = protocol;
        self
    }

    /// The name that its host has in the DNS.
    pub fn host_name(mut self, name: impl Into<Box<str>>) -> Self {
        self.0.host_name = Some(name.into());
        self
    }

    /// It has said EHLO.
    pub fn ehlo(self, name: impl Into<Box<str>>) -> Self {
        self.greeting(name.into(), true)
    }

    /// It has said HELO.
    pub fn helo(self, name: impl Into<Box<str>>) -> Self {
        self.greeting(name.into(), false)
    }

    fn greeting(mut self, name: Box<str>, extended: bool) -> Self {
        self.0.greeting = Some(Greeting { name, extended });
        self
    }

    /// It speaks TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsInfo) -> Self {
        self.0.tls = Some(Arc::new(tls));
        self
    }

    /// It has proved to be somebody.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.0.identity = Some(identity);
        self
    }

    /// The client.
    #[must_use]
    pub fn build(self) -> Client {
        Client(Arc::new(self.0))
    }
}
