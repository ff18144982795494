//! The handle of a transport that runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite};

use crate::completion::Completion;
use crate::control::{Control, Stage};
use crate::{Address, Transport};
#[cfg(feature = "tokio")]
use crate::{Session, tokio_transport};

/// A transport that runs. Dropping it stops the transport at once (as [`abort`](Self::abort)).
#[derive(Debug)]
#[must_use = "dropping it stops the transport"]
pub struct Running {
    addresses: Vec<Address>,
    local_addresses: Vec<SocketAddr>,
    transport: Transport,
    control: Arc<Control>,
    completion: Completion,
}

impl Running {
    pub(crate) fn new(
        addresses: Vec<Address>,
        transport: Transport,
        control: Arc<Control>,
        completion: Completion,
    ) -> Self {
        Self {
            local_addresses: addresses.iter().filter_map(Address::ip).collect(),
            addresses,
            transport,
            control,
            completion,
        }
    }

    /// The addresses really bound, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Those of [`addresses`](Self::addresses) that are in a network.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The transport that runs: never `Auto`.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Sessions under way. Connections whose session is done and whose last bytes are on their way
    /// are not among them.
    #[must_use]
    pub fn active_connections(&self) -> usize {
        self.control.active_connections()
    }

    /// True once it was told to stop, in one way or the other.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.control.stage() > Stage::Serving
    }

    /// Sessions that may be under way at once.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.control.max_connections()
    }

    /// How many there are and may be, for those who outlive this handle.
    #[must_use]
    pub fn connections(&self) -> ConnectionCount {
        ConnectionCount {
            control: Arc::clone(&self.control),
        }
    }

    /// Changes [`Options::max_connections`](crate::Options::max_connections) from the next
    /// connection on. Sessions that are over a lower limit stay.
    pub fn set_max_connections(&self, connections: usize) {
        self.control.set_max_connections(connections);
    }

    /// Changes [`Options::max_closing`](crate::Options::max_closing) for connections that begin to
    /// close from now on.
    pub fn set_max_closing(&self, connections: Option<usize>) {
        self.control.set_max_closing(connections);
    }

    /// Changes [`Options::drain_timeout`](crate::Options::drain_timeout), to the millisecond. A
    /// drain that has begun keeps its own.
    pub fn set_drain_timeout(&self, timeout: Duration) {
        self.control.set_drain_timeout(timeout);
    }

    /// Serves a stream of the caller's own, whatever the transport: it counts among the
    /// connections, and is told when the transport stops. The future ends with the session, or with
    /// the drain timeout. It has to be polled by a tokio runtime with a timer; dropping it drops
    /// the session. [`stopped`](Self::stopped) does not wait for it.
    ///
    /// `session` is asked for one unless there are too many connections; then the stream gets
    /// `over_limit`.
    ///
    /// Needs the feature `tokio`.
    #[cfg(feature = "tokio")]
    pub async fn serve<'l, S: Session>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        session: impl FnOnce() -> S,
        over_limit: impl FnOnce() -> &'l [u8],
    ) {
        let control = Arc::clone(&self.control);
        tokio_transport::serve_stream(&control, stream, session, over_limit).await;
    }

    /// Stops accepting, tells every session; those that remain after the drain timeout are dropped.
    ///
    /// Connections that the kernel has accepted already get a session, and that is told, too. Then
    /// the listeners are closed, and further attempts to connect are refused. Returns at once;
    /// [`stopped`](Self::stopped) waits.
    pub fn shutdown(&self) {
        self.control.shut_down();
    }

    /// Drops every session now.
    ///
    /// Returns at once; [`stopped`](Self::stopped) waits. A session inside of a call that blocks is
    /// dropped after it.
    pub fn abort(&self) {
        self.control.advance(Stage::Aborted);
    }

    /// Waits, on any executor, until every thread of the transport has had a turn from now on: what
    /// a watchdog wants to know. A thread that a session blocks lets it wait, one that has died
    /// lets it wait for ever. On the caller's own tokio runtime it is the accepting tasks that have
    /// their turn. Once the transport is stopping there is nothing to wait for.
    pub async fn turned(&self) {
        self.control.turned().await;
    }

    /// Waits, on any executor, until the last session is gone and the ports are free.
    pub async fn stopped(&self) {
        self.completion.wait().await;
    }
}

/// How many sessions are under way, and how many may be. Cheap to clone; it keeps nothing running.
#[derive(Debug, Clone)]
pub struct ConnectionCount {
    control: Arc<Control>,
}

impl ConnectionCount {
    /// As [`Running::active_connections`].
    #[must_use]
    pub fn active(&self) -> usize {
        self.control.active_connections()
    }

    /// As [`Options::max_connections`](crate::Options::max_connections).
    #[must_use]
    pub fn limit(&self) -> usize {
        self.control.max_connections()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.abort();
    }
}
