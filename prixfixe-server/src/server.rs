//! Building, running and stopping a server.

mod setters;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use prixfixe_network::{Address, BindError, Listener, Options, Running, Service, Transport};

use crate::check::Checks;
use crate::conversation::Application;
use crate::endpoint::Rules;
use crate::handler::Sessions;
use crate::inspect::Inspect;
use crate::metrics::Metrics;
use crate::shared::{SmtpService, check};
use crate::{AuthMode, Check, Client, Endpoint, Handler, Reply, Session, Settings, SettingsError};

/// A server that runs. Dropping it stops it at once; [`stop`](Self::stop) lets it finish.
pub struct Server {
    inner: Arc<Inner>,
}

/// A hand on a server that somebody else owns: to stop it, to wait for its end, to change its settings. Cheap to clone; it
/// keeps nothing running, but the handler lives as long as it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_server::{Server, inbox};
///
/// let server = Server::builder().listen(([127, 0, 0, 1], 2525)).handler(inbox().0).start()?;
/// let handle = server.handle();
/// tokio::spawn(async move {
///     let _ = tokio::signal::ctrl_c().await;
///     handle.shutdown();
/// });
/// server.stopped().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    inner: Arc<Inner>,
}

struct Inner {
    running: Running,
    service: Arc<SmtpService>,
    /// Those in force. The lock is held for a change, not for serving.
    settings: Mutex<Settings>,
    metrics: Metrics,
}

impl Server {
    /// Begins the description of a server.
    pub fn builder() -> ServerBuilder<()> {
        ServerBuilder {
            handler: (),
            settings: Settings::default(),
            endpoints: Vec::new(),
            options: Options::default(),
            checks: Checks::default(),
            signal: None,
        }
    }

    /// The addresses really bound, in the order of the endpoints, Unix sockets among them.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        self.inner.running.addresses()
    }

    /// How logins are handled at each of [`addresses`](Self::addresses), for connections that are accepted now.
    #[must_use]
    pub fn auth_modes(&self) -> Vec<AuthMode> {
        self.inner.service.auth_modes()
    }

    /// Those of [`addresses`](Self::addresses) that are in a network.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.inner.running.local_addresses()
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
        self.inner.running.transport()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn active_connections(&self) -> usize {
        self.inner.running.active_connections()
    }

    /// What is counted: a handle that outlives the server.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics.clone()
    }

    /// True once [`shutdown`](Self::shutdown), [`abort`](Self::abort) or [`stop`](Self::stop) was called: no new
    /// connection is accepted.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.running.is_stopping()
    }

    /// Connections that may be open at once.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.inner.running.max_connections()
    }

    /// The name that it gives itself.
    #[must_use]
    pub fn domain(&self) -> String {
        self.inner.lock_settings().dialogue.domain.clone()
    }

    /// What it runs with.
    pub fn settings(&self) -> Settings {
        self.inner.lock_settings().clone()
    }

    /// Changes what it runs with. Connections that are accepted from now on have the new settings; sessions under way keep
    /// theirs to their end, those over a lower [`max_connections`](Settings::max_connections) too. The accepted domains are
    /// those of the next transaction, of whichever session. The drain timeout counts from the next shutdown.
    ///
    /// ```
    /// # fn example(server: &prixfixe_server::Server) -> Result<(), prixfixe_server::SettingsError> {
    /// server.reconfigure(|settings| settings.max_connections(500).max_message_size(50 << 20))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: no server can run with them. Then nothing has changed.
    pub fn reconfigure(
        &self,
        change: impl FnOnce(Settings) -> Settings,
    ) -> Result<(), SettingsError> {
        self.inner.reconfigure(change)
    }

    /// Stops accepting, tells idle clients `421 4.3.2`, and lets running transactions finish for up to the drain
    /// timeout. Returns at once; [`stopped`](Self::stopped) waits.
    pub fn shutdown(&self) {
        self.inner.running.shutdown();
    }

    /// Drops every session now.
    pub fn abort(&self) {
        self.inner.running.abort();
    }

    /// Waits, on any executor, until every thread of the transport has had a turn from now on, or the server is stopping: what a
    /// watchdog wants to know. A handler that blocks a thread lets it wait; one that is slow without blocking does not.
    pub async fn turned(&self) {
        self.inner.running.turned().await;
    }

    /// True while TLS is offered.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.inner.lock_settings().tls.is_some()
    }

    /// Waits, on any executor, until the last session is gone.
    pub async fn stopped(&self) {
        self.inner.stopped().await;
    }

    /// [`shutdown`](Self::shutdown), and waits for the end. Then the handler is gone, unless somebody has a
    /// [`ServerHandle`].
    pub async fn stop(self) {
        self.shutdown();
        self.stopped().await;
    }

    /// Serves a stream of the caller's own to its end: a pipe in memory, a Unix socket. Its client's
    /// [`peer`](Client::peer) is [`Peer::Other`](crate::Peer::Other). It counts among the connections; dropping the
    /// future drops the session.
    ///
    /// The future has to be polled by a tokio runtime with a timer, whatever the server's transport.
    ///
    /// ```
    /// use prixfixe_server::{Server, inbox};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let (handler, _inbox) = inbox();
    ///     let server = Server::builder().listen(([127, 0, 0, 1], 0)).handler(handler).start()?;
    ///     let (mut client, stream) = tokio::io::duplex(1024);
    ///     let dialogue = async {
    ///         client.write_all(b"QUIT\r\n").await?;
    ///         let mut replies = String::new();
    ///         client.read_to_string(&mut replies).await?;
    ///         Ok::<_, std::io::Error>(replies)
    ///     };
    ///     let ((), replies) = tokio::join!(server.serve(stream), dialogue);
    ///     assert!(replies?.ends_with("221 2.0.0 Goodbye\r\n"));
    ///     Ok(())
    /// }
    /// ```
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
        let session = || self.inner.service.own_session(Instant::now());
        let over_limit = || self.inner.service.own_over_limit();
        let served = self.inner.running.serve(stream, session, over_limit);
        served.await;
    }

    /// A hand on this server for others.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            inner: Arc::clone(&self.inner),
        }
    }
}

/// Whoever holds a handle keeps nothing running.
impl Drop for Server {
    fn drop(&mut self) {
        self.inner.running.abort();
    }
}

impl ServerHandle {
    /// As [`Server::shutdown`].
    pub fn shutdown(&self) {
        self.inner.running.shutdown();
    }

    /// As [`Server::abort`].
    pub fn abort(&self) {
        self.inner.running.abort();
    }

    /// As [`Server::is_stopping`].
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.running.is_stopping()
    }

    /// As [`Server::stopped`].
    pub async fn stopped(&self) {
        self.inner.stopped().await;
    }

    /// As [`Server::reconfigure`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reconfigure(
        &self,
        change: impl FnOnce(Settings) -> Settings,
    ) -> Result<(), SettingsError> {
        self.inner.reconfigure(change)
    }
}

impl Inner {
    fn reconfigure(&self, change: impl FnOnce(Settings) -> Settings) -> Result<(), SettingsError> {
        let mut current = self.lock_settings();
        let settings = change(current.clone());
        self.service.reconfigure(&settings)?;
        self.running.set_max_connections(settings.max_connections);
        self.running.set_max_closing(settings.max_closing);
        self.running.set_drain_timeout(settings.drain_timeout);
        self.metrics.set_tls(settings.tls.clone());
        *current = settings;
        Ok(())
    }

    fn lock_settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stopped(&self) {
        self.running.stopped().await;
        self.service.stopped();
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("running", &self.inner.running)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("running", &self.inner.running)
            .finish_non_exhaustive()
    }
}

/// The description of a server, made by [`Server::builder`].
#[derive(Debug)]
#[must_use = "a server runs once `start` is called"]
pub struct ServerBuilder<H> {
    handler: H,
    pub(crate) settings: Settings,
    endpoints: Vec<Endpoint>,
    options: Options,
    checks: Checks,
    signal: Option<Signal>,
}

impl<H> ServerBuilder<H> {
    /// All that can be set anew while the server runs, in place of what was set before.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Listens on an address, in clear with STARTTLS where TLS is configured. Port 0: any free port; see
    /// [`Server::local_addresses`].
    pub fn listen(self, address: impl Into<SocketAddr>) -> Self {
        self.endpoint(Endpoint::new(address))
    }

    /// Listens on an address where TLS comes before anything else (RFC 8314 section 3.3).
    #[cfg(feature = "tls")]
    pub fn listen_tls(self, address: impl Into<SocketAddr>) -> Self {
        self.endpoint(Endpoint::new(address).implicit_tls())
    }

    /// Listens on a socket that is bound already, in clear.
    pub fn listener(self, listener: Listener) -> Self {
        self.endpoint(Endpoint::from(listener))
    }

    /// Listens on a socket that is bound already, where TLS comes before anything else.
    #[cfg(feature = "tls")]
    pub fn listener_tls(self, listener: Listener) -> Self {
        self.endpoint(Endpoint::from(listener).implicit_tls())
    }

    /// Listens as described, for example behind load balancers.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
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

    /// Shuts the server down when the future is done: by a signal, for instance, or together with an HTTP server.
    ///
    /// It is polled by the tokio runtime that `start` is called in, or where there is none by a thread of its own.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use prixfixe_server::{Server, inbox};
    ///
    /// let server = Server::builder()
    ///     .listen(([127, 0, 0, 1], 2525))
    ///     .handler(inbox().0)
    ///     .shutdown_on(async { drop(tokio::signal::ctrl_c().await) })
    ///     .start()?;
    /// server.stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn shutdown_on(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Signal(Box::pin(signal)));
        self
    }

    /// One check more, asked after those that were added before, and before the handler.
    pub fn check(mut self, check: impl Check) -> Self {
        self.checks.push(check);
        self
    }

    /// What decides and keeps, by a closure that makes a [`Session`] for each connection.
    ///
    /// ```
    /// use prixfixe_server::{Accepted, Client, Message, Rcpt, Reply, Server, Session};
    ///
    /// struct Visit {
    ///     seen: Vec<String>,
    /// }
    ///
    /// impl Session for Visit {
    ///     async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
    ///         self.seen.push(rcpt.path().to_string());
    ///         Ok(())
    ///     }
    ///
    ///     async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
    ///         message.collect().await?;
    ///         Ok(Accepted::with_text(format!("{} in all", self.seen.len())))
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::builder()
    ///     .listen(([127, 0, 0, 1], 0))
    ///     .sessions(|_: Client| async { Ok(Visit { seen: Vec::new() }) })
    ///     .start()?;
    /// # drop(server);
    /// # Ok(()) }
    /// ```
    pub fn sessions<F, S, A>(self, new_session: F) -> ServerBuilder<Sessions<F>>
    where
        F: Fn(Client) -> A + Send + Sync + 'static,
        S: Session,
        A: Future<Output = Result<S, Reply>> + Send,
    {
        self.handler(Sessions::new(new_session))
    }

    /// What decides and keeps: a [`Handler`], or a closure that takes each message.
    pub fn handler<G>(self, handler: G) -> ServerBuilder<G> {
        let Self {
            handler: _,
            settings,
            endpoints,
            options,
            checks,
            signal,
        } = self;
        ServerBuilder {
            handler,
            settings,
            endpoints,
            options,
            checks,
            signal,
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
        if self.endpoints.is_empty() {
            return Err(StartError::NoListener);
        }
        let (endpoints, settings) = (mem::take(&mut self.endpoints), self.settings.clone());
        let rules = endpoints.iter().map(|it| it.rules.clone()).collect();
        let mut options = self.options.clone();
        options.max_connections = settings.max_connections;
        options.max_closing = settings.max_closing;
        options.drain_timeout = settings.drain_timeout;
        let signal = self.signal.take();
        let service = Arc::new(self.make_service(rules)?);
        let listeners = endpoints
            .into_iter()
            .map(Endpoint::bind)
            .collect::<Result<_, _>>()?;
        let running = prixfixe_network::serve(listeners, Arc::clone(&service), options)?;
        let metrics = Metrics::new(
            Arc::clone(service.counts()),
            running.connections(),
            running.transport(),
            settings.tls.clone(),
        );
        let inner = Arc::new(Inner {
            running,
            service,
            settings: Mutex::new(settings),
            metrics,
        });
        if let Some(signal) = signal {
            signal.watch(Arc::clone(&inner))?;
        }
        Ok(Server { inner })
    }

    /// What makes the sessions, without a transport: nothing is bound. For a transport of your own, and for tests that
    /// drive sessions by [`prixfixe_network::simulation`]. `implicit_tls` says of each listener that there is
    /// meant to be whether TLS comes before anything else.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), if it would not fail for what it binds.
    pub fn into_service(
        self,
        implicit_tls: Vec<bool>,
    ) -> Result<impl Service<Session = impl Inspect>, StartError> {
        let rules = implicit_tls.into_iter().map(|implicit_tls| {
            let mut rules = Rules::none();
            rules.implicit_tls = implicit_tls;
            rules
        });
        self.make_service(rules.collect())
    }

    fn make_service(self, rules: Vec<Rules>) -> Result<SmtpService, StartError> {
        let Self {
            handler,
            settings,
            endpoints: _,
            options,
            checks,
            signal: _,
        } = self;
        check(&settings, &rules)?;
        let modes = rules.iter().map(|it| it.auth.unwrap_or(settings.auth.mode));
        if modes.into_iter().any(|mode| mode == AuthMode::Any) {
            tracing::warn!(target: "prixfixe", "every password is right, in plaintext too: AUTH is in the mode for tests");
        }
        let application = Application::new(Arc::new(handler), checks);
        if options.transport == Transport::Raw {
            application
                .start_surroundings()
                .map_err(StartError::Thread)?;
        }
        let application = Arc::new(application);
        Ok(SmtpService::new(application, &settings, rules))
    }
}

/// What a server is shut down by.
struct Signal(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Signal {
    /// Until the signal or the end of the server, however that comes: nothing is left behind then.
    fn watch(mut self, server: Arc<Inner>) -> Result<(), StartError> {
        let watched = async move {
            let mut stopped = pin!(server.running.stopped());
            poll_fn(|cx| match self.0.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    server.running.shutdown();
                    Poll::Ready(())
                }
                Poll::Pending => stopped.as_mut().poll(cx),
            })
            .await;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(watched));
            return Ok(());
        }
        let thread = thread::Builder::new().name("shutdown-on".into());
        let spawned = thread.spawn(move || wait(watched));
        spawned.map(drop).map_err(StartError::Thread)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signal")
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread until it is done.
fn wait(future: impl Future<Output = ()>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        thread::park();
    }
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
    /// One of the accepted domains is neither a domain nor `*.` and one.
    #[error("{0:?} is no domain to accept mail for")]
    AcceptedDomain(String),
    /// A keyword of EHLO is given twice, or is one too many.
    #[error("the keyword {0} of EHLO is given twice, or there are too many")]
    EhloKeyword(String),
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The thread of [`shutdown_on`](ServerBuilder::shutdown_on), or of the runtime that the handler needs, could not be
    /// started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The transport could not be set up.
    #[error(transparent)]
    Transport(#[from] prixfixe_network::StartError),
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::NoCertificate => Self::NoCertificate,
            SettingsError::Domain(domain) => Self::Domain(domain),
            SettingsError::AcceptedDomain(domain) => Self::AcceptedDomain(domain),
            SettingsError::EhloKeyword(keyword) => Self::EhloKeyword(keyword),
        }
    }
}
