//! How to serve.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which transport to run. Default: [`Transport::Auto`].
    pub transport: Transport,
    /// Sessions at once, over all listeners and threads. Default: 100.
    pub max_connections: usize,
    /// Connections at once that are only closing, on top of those: their session is over and their last bytes are on their way.
    /// Beyond that those whose peers don't close are closed at once. `None`, the default: as many as there may be sessions, and
    /// 256. Both together are the descriptors to allow for.
    pub max_closing: Option<usize>,
    /// Threads of its own. `None`: the tokio transport uses the runtime that [`serve`](crate::serve) is
    /// called in where there is one; otherwise one thread a core. Default: `None`.
    pub threads: Option<NonZeroUsize>,
    /// After a shutdown, how long sessions may go on. Default: 30 seconds.
    pub drain_timeout: Duration,
    /// How long a peer may take to accept its last bytes, and to close its side then. Default: 2 seconds.
    pub linger: Duration,
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
pub enum Transport {
    /// Tokio; where that cannot be set up the reason is logged and it is raw. Without the feature `tokio` it is raw.
    #[default]
    Auto,
    /// One task a connection, on the caller's tokio runtime or on one of each thread's own. Needs the feature `tokio`.
    #[cfg(feature = "tokio")]
    Tokio,
    /// One event loop a thread, on the operating system's poller. Needs no tokio. If [`serve`](crate::serve)
    /// is called inside a tokio runtime, sessions find themselves inside of it, too, and may use it.
    Raw,
}

/// Threads for a transport that brings its own.
pub(crate) fn thread_count(options: &Options) -> usize {
    options
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get)
}
