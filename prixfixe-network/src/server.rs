//! Starting a transport, and the handle of one that runs.  (SKELETON: signatures that other crates rely on.)

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::{Listener, Service};

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Options {
    pub transport: Transport,
    /// Connections served at once, over all listeners and threads.
    pub max_connections: usize,
    /// Threads of its own. `None`: the tokio transport uses the runtime that `serve` is called in where
    /// there is one; otherwise one thread a core.
    pub threads: Option<NonZeroUsize>,
    /// After a shutdown, how long sessions may go on.
    pub drain_timeout: Duration,
    /// How long a peer may take to accept its last bytes.
    pub linger: Duration,
}

/// Which transport to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport { #[default] Auto, Tokio, Raw }

/// Serves `listeners` until told to stop.
pub fn serve<S: Service>(listeners: Vec<Listener>, service: Arc<S>, options: Options) -> Result<Running, StartError> {
    todo!()
}

/// A transport that runs. Dropping it stops the transport at once (as `abort`).
#[derive(Debug)]
pub struct Running {}

impl Running {
    /// The addresses really bound, in the order of the listeners.
    pub fn local_addresses(&self) -> &[SocketAddr] { todo!() }
    /// The transport that runs: never `Auto`.
    pub fn transport(&self) -> Transport { todo!() }
    /// Connections that are open now.
    pub fn active_connections(&self) -> usize { todo!() }
    /// Stops accepting, tells every session; those that remain after the drain timeout are dropped.
    pub fn shutdown(&self) { todo!() }
    /// Drops every session now.
    pub fn abort(&self) { todo!() }
    /// Waits, on any executor, until the last session is gone.
    pub async fn stopped(&self) { todo!() }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {}
