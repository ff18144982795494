//! Building, running and stopping a server.

use std::mem;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use prixfixe_core::Config;
use prixfixe_network::{BindError, Listener, Options, Running, Service, Transport};
use prixfixe_tls::TlsConfig;

use crate::Handler;
use crate::shared::{Shared, SmtpService};
use crate::simulation::Inspect;

/// A server that runs. Dropping it stops it at once; [`stop`](Self::stop) lets it finish.
#[derive(Debug)]
pub struct Server {
    running: Running,
}

impl Server {
    /// Begins the description of a server.
    pub fn builder() -> ServerBuilder<()> {
        ServerBuilder {
            handler: (),
            dialogue: Config::default(),
            listeners: Vec::new(),
            tls: None,
            accepted_domains: Vec::new(),
            handler_timeout: Duration::from_secs(300),
            options: Options::default(),
        }
    }

    /// The addresses really bound, in the order of the `listen` calls.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.running.local_addresses()
    }

    /// The first of the addresses really bound.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_addresses()
            .first()
            .copied()
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// The transport that runs: never `Auto`.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.running.transport()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn active_connections(&self) -> usize {
        self.running.active_connections()
    }

    /// True once [`shutdown`](Self::shutdown), [`abort`](Self::abort) or [`stop`](Self::stop) was called: no new
    /// connection is accepted.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.running.is_stopping()
    }

    /// Stops accepting, tells idle clients `421 4.3.2`, and lets running transactions finish for up to the drain
    /// timeout. Returns at once; [`stopped`](Self::stopped) waits.
    pub fn shutdown(&self) {
        self.running.shutdown();
    }

    /// Drops every session now.
    pub fn abort(&self) {
        self.running.abort();
    }

    /// Waits, on any executor, until the last session is gone.
    pub async fn stopped(&self) {
        self.running.stopped().await;
    }

    /// [`shutdown`](Self::shutdown), and waits for the end.
    pub async fn stop(self) {
        self.running.shutdown();
        self.running.stopped().await;
    }
}

/// The description of a server, made by [`Server::builder`].
#[derive(Debug)]
#[must_use = "a server runs once `start` is called"]
pub struct ServerBuilder<H> {
    handler: H,
    dialogue: Config,
    listeners: Vec<(Listen, bool)>,
    tls: Option<TlsConfig>,
    accepted_domains: Vec<Box<str>>,
    handler_timeout: Duration,
    options: Options,
}

#[derive(Debug)]
enum Listen {
    Address(SocketAddr),
    Listener(Listener),
}

impl<H> ServerBuilder<H> {
    /// The name that the server gives itself. Default `localhost`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.dialogue.domain = domain.into();
        self
    }

    /// Listens on an address, in clear with STARTTLS where TLS is configured. Port 0: any free port; see
    /// [`Server::local_addresses`].
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.listeners
            .push((Listen::Address(address.into()), false));
        self
    }

    /// Listens on an address where TLS comes before anything else (RFC 8314 section 3.3).
    pub fn listen_tls(mut self, address: impl Into<SocketAddr>) -> Self {
        self.listeners.push((Listen::Address(address.into()), true));
        self
    }

    /// Listens on a socket that is bound already, in clear.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push((Listen::Listener(listener), false));
        self
    }

    /// Listens on a socket that is bound already, where TLS comes before anything else.
    pub fn listener_tls(mut self, listener: Listener) -> Self {
        self.listeners.push((Listen::Listener(listener), true));
        self
    }

    /// Offers STARTTLS with these certificates, and uses them where TLS comes first.
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Before TLS, MAIL is refused with `530 5.7.0` (RFC 3207 section 4). Default off.
    pub fn tls_required(mut self, required: bool) -> Self {
        self.dialogue.tls_required = required;
        self
    }

    /// Connections served at once; one more is told `421 4.3.2`. Default 100.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections;
        self
    }

    /// The largest content in octets, as SIZE announces it. Default 10,485,760.
    pub fn max_message_size(mut self, octets: u64) -> Self {
        self.dialogue.max_message_size = octets;
        self
    }

    /// Recipients of one message; one more is told `452 4.5.3`. Default 1,000.
    pub fn max_recipients(mut self, recipients: usize) -> Self {
        self.dialogue.max_recipients = recipients;
        self
    }

    /// Bad commands of one session; one more is told `421 4.7.0` and the connection is closed. Default 10.
    pub fn max_errors(mut self, errors: u32) -> Self {
        self.dialogue.max_errors = errors;
        self
    }

    /// How long a command, a body or a chunk may take beside the time that
    /// [`min_data_rate`](Self::min_data_rate) grants. Default five minutes.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.dialogue.command_timeout = timeout;
        self
    }

    /// Octets a second that a client sends at least: each octet received adds its share to the time that is left.
    /// 0: none does. Default 500.
    pub fn min_data_rate(mut self, octets_a_second: u32) -> Self {
        self.dialogue.min_data_rate = octets_a_second;
        self
    }

    /// How long the handler may take over one question before the client is told `451 4.3.0`. Default five minutes.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// After a shutdown, how long running transactions may go on. Default 30 seconds.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Domains of recipients that are accepted; others are refused with `550 5.7.1` before the handler is asked.
    /// None: every domain. Case does not matter.
    pub fn accept_domains<D: AsRef<str>>(mut self, domains: impl IntoIterator<Item = D>) -> Self {
        self.accepted_domains.extend(
            domains
                .into_iter()
                .map(|domain| domain.as_ref().to_lowercase().into()),
        );
        self
    }

    /// Threads of the server's own. Default: the tokio runtime that `start` is called in where there is one,
    /// otherwise one thread a core.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.options.threads = Some(threads);
        self
    }

    /// Which transport moves the bytes. Default `Auto`: tokio, or raw where tokio cannot be set up.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.options.transport = transport;
        self
    }

    /// What decides and keeps: a [`Handler`], or a closure that takes each message.
    pub fn handler<G>(self, handler: G) -> ServerBuilder<G> {
        let Self {
            handler: _,
            dialogue,
            listeners,
            tls,
            accepted_domains,
            handler_timeout,
            options,
        } = self;
        ServerBuilder {
            handler,
            dialogue,
            listeners,
            tls,
            accepted_domains,
            handler_timeout,
            options,
        }
    }
}

impl<H: Handler> ServerBuilder<H> {
    /// Binds and serves. Connections are accepted when it returns.
    ///
    /// # Errors
    ///
    /// [`StartError`], which names what is at fault.
    pub fn start(mut self) -> Result<Server, StartError> {
        if self.listeners.is_empty() {
            return Err(StartError::NoListener);
        }
        let implicit_tls = self
            .listeners
            .iter()
            .map(|(_, implicit)| *implicit)
            .collect();
        let (listeners, options) = (mem::take(&mut self.listeners), self.options.clone());
        let service = self.make_service(implicit_tls)?;
        let listeners = listeners
            .into_iter()
            .map(|(listen, _)| listen.bind())
            .collect::<Result<_, _>>()?;
        let running = prixfixe_network::serve(listeners, Arc::new(service), options)?;
        Ok(Server { running })
    }

    /// What makes the sessions, without a transport: nothing is bound. For tests that drive sessions by
    /// [`prixfixe_network::simulation`]. `implicit_tls` says of each listener that there is meant to be whether
    /// TLS comes before anything else.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), if it would not fail for what it binds.
    #[doc(hidden)]
    pub fn into_service(
        self,
        implicit_tls: Vec<bool>,
    ) -> Result<impl Service<Session = impl Inspect>, StartError> {
        self.make_service(implicit_tls)
    }

    fn make_service(self, implicit_tls: Vec<bool>) -> Result<SmtpService<H>, StartError> {
        let Self {
            handler,
            mut dialogue,
            listeners: _,
            tls,
            accepted_domains,
            handler_timeout,
            options: _,
        } = self;
        if tls.is_none() && (dialogue.tls_required || implicit_tls.contains(&true)) {
            return Err(StartError::NoCertificate);
        }
        if !is_domain(&dialogue.domain) {
            return Err(StartError::Domain(dialogue.domain));
        }
        dialogue.starttls = tls.is_some();
        let shared = Arc::new(Shared {
            handler: Arc::new(handler),
            domain: dialogue.domain.as_str().into(),
            dialogue: Arc::new(dialogue),
            handler_timeout,
            accepted_domains: accepted_domains.into_iter().collect(),
        });
        Ok(SmtpService::new(shared, tls, implicit_tls))
    }
}

impl Listen {
    fn bind(self) -> Result<Listener, BindError> {
        match self {
            Self::Address(address) => Listener::bind(address),
            Self::Listener(listener) => Ok(listener),
        }
    }
}

/// A century: as good as never, and no clock overflows by it.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The name stands in the greeting and in headers: nothing in it may break a line or a word.
fn is_domain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Neither `listen` nor another way to listen was called.
    #[error("no address to listen on")]
    NoListener,
    /// TLS is asked for, by a listener or as a requirement, and `tls` was not called.
    #[error("TLS is asked for, but there is no certificate")]
    NoCertificate,
    /// The domain is empty, too long, or has white space or control characters in it.
    #[error("{0:?} is no domain name")]
    Domain(String),
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The transport could not be set up.
    #[error(transparent)]
    Transport(#[from] prixfixe_network::StartError),
}
