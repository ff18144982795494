//! The description of a server, and its start.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use prixfixe_network::{Listener, Options, Running, ServeError, Service, Transport};

use super::signal::Signal;
use super::{Inner, Server, StartError};
use crate::check::Checks;
use crate::conversation::{Application, Checked};
use crate::endpoint::Rules;
use crate::handler::Sessions;
use crate::inspect::Inspect;
use crate::metrics::Metrics;
use crate::shared::{SmtpService, check};
use crate::{AuthMode, Check, Client, Endpoint, Handler, Reply, Session, Settings};

/// The description of a server, made by [`Server::builder`].
#[derive(Debug)]
#[must_use = "a server runs once `start` is called"]
pub struct ServerBuilder<H> {
    handler: H,
    pub(crate) settings: Settings,
    endpoints: Vec<Endpoint>,
    threads: Option<NonZeroUsize>,
    transport: Transport,
    checks: Checks,
    signal: Option<Signal>,
}

impl ServerBuilder<()> {
    pub(super) fn new() -> Self {
        Self {
            handler: (),
            settings: Settings::default(),
            endpoints: Vec::new(),
            threads: None,
            transport: Transport::default(),
            checks: Checks::default(),
            signal: None,
        }
    }
}

impl<H> ServerBuilder<H> {
    /// All that can be set anew while the server runs, in place of what was set before.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Listens there: on an address, on a socket that is bound already, or as an [`Endpoint`]
    /// describes. Called more than once, it listens in all of these places. Port 0: any free port;
    /// see [`Server::local_addresses`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use prixfixe_server::{Endpoint, Listener, Protocol, Server, inbox};
    ///
    /// let bound = Listener::bind(([127, 0, 0, 1], 0).into())?;
    /// let server = Server::builder()
    ///     .listen("127.0.0.1:0")
    ///     .listen(([127, 0, 0, 1], 0))
    ///     .listen(Endpoint::from(bound).protocol(Protocol::Lmtp))
    ///     .handler(inbox().0)
    ///     .start()?;
    /// assert_eq!(server.local_addresses().len(), 3);
    /// # Ok(()) }
    /// ```
    pub fn listen(mut self, endpoint: impl Into<Endpoint>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Threads of the server's own. Default: the tokio runtime that `start` is called in where
    /// there is one, otherwise one thread a core.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Which transport moves the bytes. Default `Auto`: tokio, or raw where tokio cannot be set up.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Shuts the server down when the future is done: by a signal, for instance, or together with
    /// an HTTP server.
    ///
    /// It is polled by the tokio runtime that `start` is called in, or where there is none by a
    /// thread of its own.
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
            threads,
            transport,
            checks,
            signal,
        } = self;
        ServerBuilder {
            handler,
            settings,
            endpoints,
            threads,
            transport,
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
        let settings = self.settings.clone();
        let options = Options::default()
            .transport(self.transport)
            .threads(self.threads)
            .max_connections(settings.max_connections)
            .max_closing(settings.max_closing)
            .drain_timeout(settings.drain_timeout);
        let signal = self.signal.take();
        let transport = self.transport;
        let (service, endpoints) = self.make_service()?;
        let service = Arc::new(service);
        let listeners = endpoints
            .into_iter()
            .map(Endpoint::bind)
            .collect::<Result<_, _>>()?;
        let running = serve(listeners, &service, options, transport)?;
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

    /// What makes the sessions, without a transport: nothing is bound. For a transport of your own,
    /// and for tests that drive sessions by [`prixfixe_network::simulation`]. The first of the
    /// [endpoints](Self::listen) stands for the listener with the number 0, and so on; a connection
    /// of any other listener is served as by `Endpoint::new`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), if it would not fail for what it binds.
    pub fn into_service(self) -> Result<impl Service<Session = impl Inspect>, StartError> {
        self.make_service().map(|(service, _)| service)
    }

    /// The [checks](Self::check) and the handler behind them as one [`Handler`], without a server:
    /// to test them together without a socket. What settings say, the accepted domains among them,
    /// is asked by the server alone.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use prixfixe_server::{Client, Handler, Server, inbox};
    ///
    /// # async fn example() -> Result<(), prixfixe_server::Reply> {
    /// let stack = Arc::new(Server::builder().handler(inbox().0).into_handler());
    /// let session = stack.connect(&Client::builder().build()).await?;
    /// # drop(session);
    /// # Ok(()) }
    /// ```
    pub fn into_handler(self) -> impl Handler {
        Checked::new(self.checks, Arc::new(self.handler))
    }

    fn make_service(self) -> Result<(SmtpService, Vec<Endpoint>), StartError> {
        let Self {
            handler,
            settings,
            endpoints,
            threads: _,
            transport,
            checks,
            signal: _,
        } = self;
        let rules: Vec<Rules> = endpoints.iter().map(|it| it.rules.clone()).collect();
        check(&settings, &rules)?;
        let modes = rules.iter().map(|it| it.auth.unwrap_or(settings.auth.mode));
        if modes.into_iter().any(|mode| mode == AuthMode::Any) {
            tracing::warn!(target: "prixfixe", "every password is right, in plaintext too: AUTH is in the mode for tests");
        }
        let application = Application::new(Arc::new(handler), checks);
        if transport == Transport::Raw {
            application
                .start_surroundings()
                .map_err(StartError::Thread)?;
        }
        let application = Arc::new(application);
        Ok((SmtpService::new(application, &settings, rules), endpoints))
    }
}

/// Starts the transport, with its threads inside of the runtime that hooks need.
fn serve(
    listeners: Vec<Listener>,
    service: &Arc<SmtpService>,
    options: Options,
    transport: Transport,
) -> Result<Running, ServeError> {
    let Some(surroundings) = service.shared().application.surroundings() else {
        return prixfixe_network::serve(listeners, Arc::clone(service), options);
    };
    // Threads of the raw transport stay inside of the runtime in which it is started.
    let is_raw = transport == Transport::Raw;
    let entered = is_raw.then(|| surroundings.enter());
    let running = prixfixe_network::serve(listeners, Arc::clone(service), options)?;
    drop(entered);
    // Those that `auto` fell back to are outside.
    if is_raw || running.transport() != Transport::Raw {
        surroundings.are_everywhere();
    }
    Ok(running)
}
