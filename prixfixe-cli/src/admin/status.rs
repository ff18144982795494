//! How the server is, for people and for load balancers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use prixfixe_delivery::Delivery;
use prixfixe_server::printable::Printable;
use prixfixe_server::{Address, AuthMode, Incident, Protocol, Server};
use serde::Serialize;

use super::storage::{self, StorageReport};
use super::targets::{self, TargetReport};
use crate::policy::Numbers;
use crate::serve::transport_name;

/// About what the numbers take, so that their text does not grow step by step.
const METRICS_SIZE: usize = 12 * 1024;

/// What the endpoints know of the server.
#[derive(Debug)]
pub(crate) struct Status {
    server: Arc<Server>,
    delivery: Delivery,
    /// For each of the server's addresses, in their order, whether TLS comes first.
    implicit_tls: Vec<bool>,
    protocols: Vec<Protocol>,
    policy: Arc<Numbers>,
    started: Timestamp,
    since: Instant,
}

/// Whether mail is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// The server was told to stop.
    Draining,
    /// Mail for some recipients cannot be delivered at the moment: a target is down, and another one is not.
    Degraded(String),
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
///   "listeners": [{"address": "0.0.0.0:25", "protocol": "smtp", "tls": "starttls", "auth": "off"}],
///   "max_connections": 100,
///   "storage": [{
///     "path": "/var/mail",
///     "free_bytes": 52428800,
///     "free_inodes": 120000,
///     "min_free_bytes": 15728640,
///     "min_free_inodes": 1000,
///     "short": false
///   }],
///   "targets": [{
///     "name": "default",
///     "remote": false,
///     "up": true,
///     "error": null,
///     "delivered": 9000,
///     "deferred": 3,
///     "refused": 0,
///     "timeout": 0
///   }],
///   "recent": [{
///     "time": "2026-02-01T11:59:00Z",
///     "kind": "message_failed",
///     "code": 452,
///     "text": "4.3.1 insufficient system storage, try again later",
///     "client": "192.0.2.1",
///     "sender": "ann@example.com",
///     "recipient": "bob@example.net",
///     "count": 1
///   }]
/// }
/// ```
///
/// Texts hold no control characters and none that reorder or hide text. They may hold `<` and `&`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StatusReport {
    /// `ready`, `degraded` (some recipients' mail cannot be delivered), `draining` or `failing`.
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
    /// Each file system that mail is written to, where it says what is free.
    pub(crate) storage: Vec<StorageReport>,
    /// Where mail is handed to.
    pub(crate) targets: Vec<TargetReport>,
    /// The latest refusals and failures, at most 50, the latest first.
    pub(crate) recent: Vec<IncidentReport>,
}

/// A refusal or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IncidentReport {
    /// When it happened, in RFC 3339, UTC; of several in a row, the last time.
    pub(crate) time: String,
    /// `connection_refused`, `sender_refused`, `recipient_refused`, `command_refused`, `message_failed`, `tls_failed` or
    /// `timeout`.
    pub(crate) kind: &'static str,
    /// The reply's code; null where there was no reply.
    pub(crate) code: Option<u16>,
    /// The rest of the reply, or what happened.
    pub(crate) text: String,
    /// The client's address.
    pub(crate) client: String,
    /// The sender where it is known, else null; empty for the null reverse-path.
    pub(crate) sender: Option<String>,
    /// The first recipient where one is known, else null.
    pub(crate) recipient: Option<String>,
    /// How often it happened in a row.
    pub(crate) count: u64,
}

/// One address where mail is received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListenerReport {
    /// The address really bound.
    pub(crate) address: String,
    /// `smtp` or `lmtp`.
    pub(crate) protocol: String,
    /// `implicit` (before anything else), `starttls` (offered) or `none`.
    pub(crate) tls: &'static str,
    /// `off`, `offer`, `require`, or `any`, where every password is right.
    pub(crate) auth: &'static str,
}

impl Status {
    /// `implicit_tls` and `protocols` are for each of the server's addresses, in their order.
    pub(crate) fn new(
        server: Arc<Server>,
        implicit_tls: Vec<bool>,
        protocols: Vec<Protocol>,
        delivery: Delivery,
        policy: Arc<Numbers>,
    ) -> Self {
        Self {
            implicit_tls,
            protocols,
            started: Timestamp::now(),
            since: Instant::now(),
            delivery,
            policy,
            server,
        }
    }

    /// The numbers, in the Prometheus text format.
    pub(super) fn metrics(&self) -> String {
        let mut text = String::with_capacity(METRICS_SIZE);
        self.server.metrics().encode(&mut text);
        let is_ready = matches!(self.readiness(), Readiness::Ready | Readiness::Degraded(_));
        storage::encode(&mut text, is_ready, &self.delivery.storage());
        targets::encode(&mut text, &self.delivery.targets());
        self.policy.encode(&mut text);
        text
    }

    /// Looks at what is known already: it tries nothing, and does not block. What a failed delivery needs to be known to be
    /// over is found out by the delivery's own probe.
    pub(crate) fn readiness(&self) -> Readiness {
        if self.server.is_stopping() {
            return Readiness::Draining;
        }
        match self.delivery.fault() {
            Some(fault) => Readiness::Failing(Printable(&fault.to_string()).to_string()),
            None => self.partly(),
        }
    }

    fn partly(&self) -> Readiness {
        let targets = self.delivery.targets();
        let down = targets.iter().filter_map(|target| {
            let fault = target.fault.as_ref()?.to_string();
            Some(format!("{}: {}", target.name, Printable(&fault)))
        });
        let down: Vec<String> = down.collect();
        match down.is_empty() {
            true => Readiness::Ready,
            false => Readiness::Degraded(down.join("; ")),
        }
    }

    pub(crate) fn report(&self) -> StatusReport {
        let readiness = self.readiness();
        let recent = self.server.metrics().recent();
        StatusReport {
            state: readiness.name(),
            reason: (readiness != Readiness::Ready).then(|| readiness.to_string()),
            version: env!("CARGO_PKG_VERSION"),
            transport: transport_name(self.server.transport()),
            domain: Printable(&self.server.domain()).to_string(),
            started: seconds(self.started),
            uptime_seconds: self.since.elapsed().as_secs(),
            listeners: self.listeners(),
            max_connections: self.server.max_connections(),
            storage: self.delivery.storage().iter().map(Into::into).collect(),
            targets: self.delivery.targets().iter().map(Into::into).collect(),
            recent: recent.into_iter().map(IncidentReport::from).collect(),
        }
    }

    fn listeners(&self) -> Vec<ListenerReport> {
        let starttls = if self.server.has_tls() {
            "starttls"
        } else {
            "none"
        };
        let kinds = self.implicit_tls.iter().zip(&self.protocols);
        let kinds = kinds.zip(self.server.auth_modes());
        let addresses = self.server.addresses().iter().zip(kinds);
        type Kind<'a> = ((&'a bool, &'a Protocol), AuthMode);
        let report =
            |(address, ((implicit, protocol), auth)): (&Address, Kind<'_>)| ListenerReport {
                address: Printable(&address.to_string()).to_string(),
                protocol: protocol.as_str().to_ascii_lowercase(),
                tls: if *implicit { "implicit" } else { starttls },
                auth: mode(auth),
            };
        addresses.map(report).collect()
    }
}

/// As the configuration has it.
fn mode(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Offer => "offer",
        AuthMode::Require => "require",
        AuthMode::Any => "any",
        _ => "off",
    }
}

impl From<Incident> for IncidentReport {
    fn from(incident: Incident) -> Self {
        // The server has made its texts printable.
        Self {
            time: seconds(Timestamp::try_from(incident.time).unwrap_or(Timestamp::UNIX_EPOCH)),
            kind: incident.kind.as_str(),
            code: incident.code,
            text: incident.text,
            client: incident
                .client
                .map_or_else(|| "unix".to_owned(), |it| it.to_string()),
            sender: incident.sender,
            recipient: incident.recipient,
            count: incident.count,
        }
    }
}

/// RFC 3339 without a fraction.
fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

impl Readiness {
    fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Degraded(_) => "degraded",
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
            Self::Degraded(down) => write!(f, "ready, but not everywhere: {down}"),
            Self::Failing(fault) => write!(f, "mail cannot be delivered: {fault}"),
        }
    }
}
