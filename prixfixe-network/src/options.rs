//! How to serve.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How connections are served.
///
/// ```
/// use prixfixe_network::{Options, Transport};
///
/// let options = Options::default().transport(Transport::Raw).max_connections(1_000);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    pub(crate) transport: Transport,
    pub(crate) max_connections: usize,
    pub(crate) max_closing: Option<usize>,
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) drain_timeout: Duration,
    pub(crate) linger: Duration,
}

impl Options {
    /// Which transport to run. Default: [`Transport::Auto`].
    pub const fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sessions at once, over all listeners and threads. Default: 100.
    pub const fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// Connections at once that are only closing, on top of those: their session is over and their
    /// last bytes are on their way. Beyond that those whose peers don't close are closed at once.
    /// `None`, the default: as many as there may be sessions, and 256. Both together are the
    /// descriptors to allow for.
    pub fn max_closing(mut self, max: impl Into<Option<usize>>) -> Self {
        self.max_closing = max.into();
        self
    }

    /// Threads of its own. `None`, the default: the tokio transport uses the runtime that
    /// [`serve`](crate::serve) is called in where there is one; otherwise one thread per core.
    pub fn threads(mut self, threads: impl Into<Option<NonZeroUsize>>) -> Self {
        self.threads = threads.into();
        self
    }

    /// After a shutdown, how long sessions may go on. Default: 30 seconds.
    pub const fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long a peer may take to accept its last bytes, and to close its side then. Default: 2
    /// seconds.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transport: Transport::Auto,
            max_connections: 100,
            max_closing: None,
            threads: None,
            drain_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}

/// Which transport to run. They behave the same and differ in how they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Tokio; where that cannot be set up the reason is logged and it is raw. Without the feature
    /// `tokio` it is raw.
    #[default]
    Auto,
    /// One task a connection, on the caller's tokio runtime or on one of each thread's own. Needs
    /// the feature `tokio`.
    #[cfg(feature = "tokio")]
    Tokio,
    /// One event loop a thread, on the operating system's poller. Needs no tokio. If
    /// [`serve`](crate::serve) is called inside a tokio runtime, sessions find themselves inside of
    /// it, too, and may use it.
    Raw,
}

/// Threads for a transport that brings its own.
pub(crate) fn thread_count(options: &Options) -> usize {
    options
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get)
}
