//! Building, running and stopping a server.

mod builder;
mod error;
mod handle;
mod setters;
mod signal;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prixfixe_network::{Address, Running, Transport};
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::builder::ServerBuilder;
pub use self::error::StartError;
pub use self::handle::ServerHandle;
use crate::metrics::Metrics;
use crate::shared::SmtpService;
use crate::{AuthMode, EndpointRules, Settings, SettingsError};

/// A server that runs. Dropping it stops it at once; [`stop`](Self::stop) lets it finish.
pub struct Server {
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
        ServerBuilder::new()
    }

    /// The addresses really bound, in the order of the endpoints, Unix sockets among them.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        self.inner.running.addresses()
    }

    /// How logins are handled at each of [`addresses`](Self::addresses), for connections that are
    /// accepted now.
    #[must_use]
    pub fn auth_modes(&self) -> Vec<AuthMode> {
        self.inner.service.auth_modes()
    }

    /// What holds at each of [`addresses`](Self::addresses), for connections that are accepted now.
    #[must_use]
    pub fn endpoint_rules(&self) -> Vec<EndpointRules> {
        let rules = self.inner.service.rules();
        rules.iter().cloned().map(EndpointRules).collect()
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

    /// True once [`shutdown`](Self::shutdown), [`abort`](Self::abort) or [`stop`](Self::stop) was
    /// called: no new connection is accepted.
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

    /// Changes what it runs with. Connections that are accepted from now on have the new settings;
    /// sessions under way keep theirs to their end, those over a lower
    /// [`max_connections`](Settings::max_connections) too. The accepted domains are those of the
    /// next transaction, of whichever session. The drain timeout counts from the next shutdown.
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

    /// Stops accepting, tells idle clients `421 4.3.2`, and lets running transactions finish for up
    /// to the drain timeout. Returns at once; [`stopped`](Self::stopped) waits.
    pub fn shutdown(&self) {
        self.inner.running.shutdown();
    }

    /// Drops every session now.
    pub fn abort(&self) {
        self.inner.running.abort();
    }

    /// Waits, on any executor, until every thread of the transport has had a turn from now on, or
    /// the server is stopping: what a watchdog wants to know. A handler that blocks a thread lets
    /// it wait; one that is slow without blocking does not.
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

    /// [`shutdown`](Self::shutdown), and waits for the end. Then the handler is gone, unless
    /// somebody has a [`ServerHandle`].
    pub async fn stop(self) {
        self.shutdown();
        self.stopped().await;
    }

    /// Serves a stream of the caller's own to its end: a pipe in memory, a Unix socket. Its
    /// client's [`peer`](crate::Client::peer) is [`Peer::Other`](crate::Peer::Other). It counts
    /// among the connections; dropping the future drops the session.
    ///
    /// The future has to be polled by a tokio runtime with a timer, whatever the server's
    /// transport.
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
        let over_limit = || self.inner.service.own_over_limit(Instant::now());
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

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("running", &self.inner.running)
            .finish_non_exhaustive()
    }
}
