//! What a server counts: for Prometheus, for programs, and for people.

mod accepted;
mod counts;
#[cfg(feature = "metrics")]
mod encode;
mod histogram;
mod labels;
#[cfg(feature = "metrics")]
mod process;
mod recent;
mod snapshot;
mod talkers;
#[cfg(feature = "metrics")]
mod together;
mod window;

#[cfg(feature = "metrics")]
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::tls::{CertificateInfo, TlsConfig};
use prixfixe_network::{ConnectionCount, Transport};
#[cfg(feature = "metrics")]
use prometheus_client::encoding::prometheus_text;
#[cfg(feature = "metrics")]
use prometheus_client::registry::Registry;

pub use self::accepted::AcceptedMessage;
pub(crate) use self::accepted::AcceptedNote;
pub(crate) use self::counts::{Counts, Times};
pub use self::histogram::DurationHistogram;
pub use self::labels::{
    AuthMechanism, AuthResult, ConnectionResult, FailureReason, HandshakeFailure, IncidentKind,
    TimeoutPhase,
};
#[cfg(feature = "metrics")]
use self::process::Process;
#[cfg(feature = "metrics")]
pub use self::process::ProcessUsage;
pub use self::recent::Incident;
pub(crate) use self::recent::{Address, Cause, RawIncident};
pub use self::snapshot::MetricsSnapshot;
pub use self::talkers::ClientActivity;

/// The numbers of a [`Server`](crate::Server), given by
/// [`Server::metrics`](crate::Server::metrics). Cheap to clone; it outlives the server.
///
/// There is no HTTP here: an application that is scraped puts [`encode`](Self::encode) into an
/// answer of its own, with [`CONTENT_TYPE`](Self::CONTENT_TYPE).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_server::{Server, inbox};
///
/// let (handler, _inbox) = inbox();
/// let server = Server::builder().listen(([127, 0, 0, 1], 0)).handler(handler).start()?;
/// let metrics = server.metrics();
///
/// let mut text = String::new();
/// metrics.encode(&mut text);
/// assert!(text.contains("\nsmtp_messages_received_total 0\n"));
/// assert_eq!(metrics.snapshot().messages_received(), 0);
/// # Ok(()) }
/// ```
///
/// What each number means, and when to worry, is in the repository's `docs/METRICS.md`.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    counts: Arc<Counts>,
    connections: ConnectionCount,
    #[cfg(feature = "metrics")]
    transport: &'static str,
    tls: Mutex<Option<TlsConfig>>,
    #[cfg(feature = "metrics")]
    process: Process,
}

/// What is encoded.
#[cfg(feature = "metrics")]
#[derive(Debug)]
struct Exposition {
    snapshot: MetricsSnapshot,
    transport: &'static str,
}

impl Metrics {
    /// The media type of what [`encode`](Self::encode) writes.
    #[cfg(feature = "metrics")]
    pub const CONTENT_TYPE: &'static str = prometheus_text::CONTENT_TYPE;

    pub(crate) fn new(
        counts: Arc<Counts>,
        connections: ConnectionCount,
        #[cfg_attr(not(feature = "metrics"), allow(unused_variables))] transport: Transport,
        tls: Option<TlsConfig>,
    ) -> Self {
        #[cfg(feature = "metrics")]
        let transport = match transport {
            Transport::Raw => "raw",
            _ => "tokio",
        };
        Self {
            inner: Arc::new(Inner {
                counts,
                connections,
                #[cfg(feature = "metrics")]
                transport,
                tls: Mutex::new(tls),
                #[cfg(feature = "metrics")]
                process: Process::new(Instant::now()),
            }),
        }
    }

    #[cfg(feature = "metrics")]
    fn exposition(&self) -> Exposition {
        Exposition {
            snapshot: self.snapshot(),
            transport: self.inner.transport,
        }
    }

    /// Appends the numbers of several servers of one process, each series with the label `server`:
    /// one text for one scrape.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use prixfixe_server::{Metrics, Server, inbox};
    ///
    /// let start = || Server::builder().listen(([127, 0, 0, 1], 0)).handler(inbox().0).start();
    /// let (mx, submission) = (start()?.metrics(), start()?.metrics());
    /// let mut text = String::new();
    /// Metrics::encode_together([("mx", &mx), ("submission", &submission)], &mut text);
    /// assert!(text.contains("\nsmtp_messages_received_total{server=\"mx\"} 0\n"));
    /// assert_eq!(text.matches("# TYPE smtp_messages_received_total ").count(), 1);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn encode_together<'a>(
        servers: impl IntoIterator<Item = (&'a str, &'a Self)>,
        text: &mut String,
    ) {
        let texts = servers.into_iter().map(|(name, metrics)| {
            let mut text = String::new();
            metrics.encode(&mut text);
            (name, text)
        });
        together::merge(texts, text);
    }

    /// Appends all numbers in the Prometheus text format, version 0.0.4.
    ///
    /// A registry of `prometheus-client` takes a `Metrics` as a collector too.
    #[cfg(feature = "metrics")]
    pub fn encode(&self, text: &mut String) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.exposition()));
        // Writing to a String does not fail.
        let result: fmt::Result = prometheus_text::encode(text, &registry);
        debug_assert!(result.is_ok());
    }

    /// All numbers.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let now = Instant::now();
        MetricsSnapshot {
            active_connections: self.inner.connections.active(),
            max_connections: self.inner.connections.limit(),
            certificates: self.certificates(),
            #[cfg(feature = "metrics")]
            process: self.inner.process.usage(now),
            ..MetricsSnapshot::of(&self.inner.counts, now)
        }
    }

    /// The latest refusals and failures, at most 50, the latest first. The same thing several times
    /// in a row is one.
    #[must_use]
    pub fn recent(&self) -> Vec<Incident> {
        self.inner.counts.incidents()
    }

    /// The latest messages that were accepted, at most 200, the latest first. Where more than 50
    /// come in a second, some of them are left out.
    #[must_use]
    pub fn accepted(&self) -> Vec<AcceptedMessage> {
        self.inner.counts.accepted.messages()
    }

    /// The clients that did most in the last half hour to hour, the busiest first.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientActivity> {
        self.inner.counts.clients(Instant::now())
    }

    /// The server's certificates come from here from now on.
    pub(crate) fn set_tls(&self, tls: Option<TlsConfig>) {
        *self
            .inner
            .tls
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// What is in use now, after a reload too.
    fn certificates(&self) -> Vec<(String, SystemTime)> {
        let tls = self
            .inner
            .tls
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let in_use = tls.as_ref().map(TlsConfig::certificates);
        drop(tls);
        let mut ends: Vec<(String, SystemTime)> = Vec::new();
        for CertificateInfo {
            names,
            source,
            not_after,
            ..
        } in in_use.unwrap_or_default()
        {
            let name = names.into_iter().next().unwrap_or(source);
            match ends.iter_mut().find(|(other, _)| *other == name) {
                // One name may have a certificate of each kind of key.
                Some((_, end)) => *end = not_after.min(*end),
                None => ends.push((name, not_after)),
            }
        }
        ends
    }
}
