//! A hand on a server for others than its owner.

use std::fmt;
use std::sync::Arc;

use super::Inner;
use crate::metrics::Metrics;
use crate::{Settings, SettingsError};

/// A hand on a server that somebody else owns: to stop it, to wait for its end, to change its
/// settings. Cheap to clone; it keeps nothing running, but the handler lives as long as it.
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
    pub(super) inner: Arc<Inner>,
}

impl ServerHandle {
    /// As [`Server::shutdown`](crate::Server::shutdown).
    pub fn shutdown(&self) {
        self.inner.running.shutdown();
    }

    /// As [`Server::abort`](crate::Server::abort).
    pub fn abort(&self) {
        self.inner.running.abort();
    }

    /// [`shutdown`](Self::shutdown), and waits for the end.
    pub async fn stop(&self) {
        self.shutdown();
        self.stopped().await;
    }

    /// As [`Server::metrics`](crate::Server::metrics).
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics.clone()
    }

    /// As [`Server::is_stopping`](crate::Server::is_stopping).
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.running.is_stopping()
    }

    /// As [`Server::stopped`](crate::Server::stopped).
    pub async fn stopped(&self) {
        self.inner.stopped().await;
    }

    /// As [`Server::reconfigure`](crate::Server::reconfigure).
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

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("running", &self.inner.running)
            .finish_non_exhaustive()
    }
}
