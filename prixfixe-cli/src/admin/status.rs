//! How the server is, for people and for load balancers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use prixfixe_delivery::Health;
use prixfixe_server::Server;
use serde::Serialize;

use crate::config::Configuration;
use crate::escape::Escaped;
use crate::serve::transport_name;

/// What the endpoints know of the server.
#[derive(Debug)]
pub(crate) struct Status {
    server: Arc<Server>,
    health: Health,
    domain: String,
    max_connections: usize,
    listeners: Vec<ListenerReport>,
    started: Timestamp,
    since: Instant,
}

/// Whether mail is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// The server was told to stop.
    Draining,
    /// Messages cannot be kept at the moment: their clients are told to try again later.
    Failing(String),
}

/// The answer of `/status.json`: what the status page shows beside the numbers of `/metrics`.
///
/// ```json
/// {
///   "state": "failing",
///   "reason": "cannot create /var/mail/tmp/1.M2P3.host: No space left on device (os error 28)",
///   "version": "0.1.0",
///   "transport": "tokio",
///   "domain": "mx.example.com",
///   "started": "2026-01-31T12:00:00Z",
///   "uptime_seconds": 86400,
///   "listeners": [{"address": "0.0.0.0:25", "tls": "starttls"}],
///   "max_connections": 100
/// }
/// ```
///
/// Texts hold no control characters and none that reorder or hide text. They may hold `<` and `&`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StatusReport {
    /// `ready`, `draining` or `failing`.
    pub(crate) state: &'static str,
    /// Why the state is not `ready`; else null.
    pub(crate) reason: Option<String>,
    /// Of PrixFixe.
    pub(crate) version: &'static str,
    /// `tokio` or `raw`.
    pub(crate) transport: &'static str,
    /// The name that the server gives itself.
    pub(crate) domain: String,
    /// When it began to serve, in RFC 3339, UTC.
    pub(crate) started: String,
    /// Whole seconds since then, by a clock that nobody sets.
    pub(crate) uptime_seconds: u64,
    /// Where mail is received, in the order of the configuration.
    pub(crate) listeners: Vec<ListenerReport>,
    /// The connection limit.
    pub(crate) max_connections: usize,
}

/// One address where mail is received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListenerReport {
    /// The address really bound.
    pub(crate) address: SocketAddr,
    /// `implicit` (before anything else), `starttls` (offered) or `none`.
    pub(crate) tls: &'static str,
}

impl Status {
    /// `implicit_tls` is for each of the server's addresses, in their order.
    pub(crate) fn new(
        configuration: &Configuration,
        server: Arc<Server>,
        implicit_tls: &[bool],
        health: Health,
    ) -> Self {
        let starttls = if configuration.tls.is_on() {
            "starttls"
        } else {
            "none"
        };
        let addresses = server.local_addresses().iter().zip(implicit_tls);
        let listeners = addresses.map(|(address, implicit)| ListenerReport {
            address: *address,
            tls: if *implicit { "implicit" } else { starttls },
        });
        Self {
            domain: configuration.domain.clone(),
            max_connections: configuration.limits.max_connections,
            listeners: listeners.collect(),
            started: Timestamp::now(),
            since: Instant::now(),
            health,
            server,
        }
    }

    /// Looks at what is known already: it tries nothing, and does not block. What a failed delivery needs to be known to be
    /// over is found out by the delivery's own probe.
    pub(crate) fn readiness(&self) -> Readiness {
        if self.server.is_stopping() {
            return Readiness::Draining;
        }
        match self.health.fault() {
            Some(fault) => Readiness::Failing(Escaped(&fault.to_string()).to_string()),
            None => Readiness::Ready,
        }
    }

    pub(crate) fn report(&self) -> StatusReport {
        let readiness = self.readiness();
        StatusReport {
            state: readiness.name(),
            reason: (readiness != Readiness::Ready).then(|| readiness.to_string()),
            version: env!("CARGO_PKG_VERSION"),
            transport: transport_name(self.server.transport()),
            domain: Escaped(&self.domain).to_string(),
            started: format!("{:.0}", self.started),
            uptime_seconds: self.since.elapsed().as_secs(),
            listeners: self.listeners.clone(),
            max_connections: self.max_connections,
        }
    }
}

impl Readiness {
    fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Failing(_) => "failing",
        }
    }
}

/// One line.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Draining => f.write_str("draining: the server is stopping"),
            Self::Failing(fault) => write!(f, "mail cannot be delivered: {fault}"),
        }
    }
}
