//! One run: what the engine needs to know, with everything read, resolved and made ready.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::content::Prepared;
use super::dialogue::Manner;
use super::engine::Pace;
use super::target::Target;
use super::tls::Security;

/// One run.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Never empty. Workers are spread over them in turn.
    pub(crate) targets: Vec<Target>,
    /// Never empty. Sent in turn.
    pub(crate) messages: Vec<Arc<Prepared>>,
    pub(crate) pace: Pace,
    /// Connections at once, over all threads.
    pub(crate) concurrency: NonZeroU32,
    pub(crate) threads: NonZeroU32,
    /// Messages on one connection before QUIT; `None`: no limit.
    pub(crate) per_connection: Option<u64>,
    pub(crate) manner: Arc<Manner>,
    pub(crate) security: Option<Security>,
    /// The longest that a message may take from when it is due, or a background connection to EHLO.
    pub(crate) timeout: Duration,
    /// Local addresses to connect from in turn; empty: the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) idle_connections: u32,
    pub(crate) slow_clients: u32,
    /// Octets a second of each slow client.
    pub(crate) slow_rate: NonZeroU32,
}
