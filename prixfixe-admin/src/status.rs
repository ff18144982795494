//! How the server is, for people and for load balancers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use prixfixe_server::printable::Printable;
use prixfixe_server::{Address, AuthMode, EndpointRules, Server, Transport};

use super::history::{self, History};
use super::lately::{self, LastMinute};
use super::notice::Notice;
use super::report::{ListenerReport, StatusReport, seconds};
use super::{Destinations, Numbers, reading, spool, storage, targets};
use crate::destinations::Unknown;

/// About what the numbers take, so that their text does not grow step by step.
const METRICS_SIZE: usize = 12 * 1024;

/// The busiest clients that are told.
const MOST_CLIENTS: usize = 10;

/// What the endpoints know of the server.
#[derive(Debug)]
pub struct Status {
    server: Arc<Server>,
    delivery: Arc<dyn Destinations>,
    numbers: Vec<Arc<dyn Numbers>>,
    started: Timestamp,
    since: Instant,
    history: History,
    notice: Notice,
}

/// Whether mail is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It is.
    Ready,
    /// The server was told to stop.
    Draining,
    /// Mail for some recipients cannot be delivered at the moment: a target is down, and another
    /// one is not.
    Degraded(String),
    /// Messages cannot be kept at the moment: their clients are told to try again later.
    Failing(String),
}

impl Status {
    /// A server that begins to serve now. Nothing is known yet of where its mail goes.
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        Self {
            notice: Notice::default(),
            started: Timestamp::now(),
            since: Instant::now(),
            history: History::default(),
            delivery: Arc::new(Unknown),
            numbers: Vec::new(),
            server,
        }
    }

    /// Where its mail goes: a `prixfixe_delivery::Delivery`, or what the application knows itself.
    #[must_use]
    pub fn delivery(self, delivery: impl Destinations) -> Self {
        Self {
            delivery: Arc::new(delivery),
            ..self
        }
    }

    /// What the page warns of.
    #[must_use]
    pub fn notice(self, notice: Notice) -> Self {
        Self { notice, ..self }
    }

    /// More numbers at `/metrics`. What is called again adds to what was there.
    #[must_use]
    pub fn numbers(mut self, numbers: Arc<dyn Numbers>) -> Self {
        self.numbers.push(numbers);
        self
    }

    /// The numbers, in the Prometheus text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::with_capacity(METRICS_SIZE);
        self.server.metrics().encode(&mut text);
        let is_ready = matches!(self.readiness(), Readiness::Ready | Readiness::Degraded(_));
        storage::encode(&mut text, is_ready, &self.delivery.storage());
        targets::encode(&mut text, &self.delivery.targets());
        if let Some(status) = self.delivery.spool() {
            spool::encode(&mut text, &status);
        }
        for numbers in &self.numbers {
            numbers.encode(&mut text);
        }
        text
    }

    /// Looks at what is known already: it tries nothing, and does not block. What a failed delivery
    /// needs to be known to be over is found out by the delivery's own probe.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.server.is_stopping() {
            return Readiness::Draining;
        }
        match self.delivery.fault() {
            Some(fault) => Readiness::Failing(Printable(&fault).to_string()),
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

    /// Takes a sample for the history.
    pub(super) fn sample(&self) {
        let snapshot = self.server.metrics().snapshot();
        let mut readings = reading::all(&snapshot, &self.delivery.storage());
        // Over the first moments of a process, what it took to start looks like all that there is.
        if self.since.elapsed() < history::EVERY / 2 {
            readings.retain(|reading| reading.name != reading::CPU);
        }
        self.history.add(Timestamp::now(), readings);
    }

    /// What the page shows, as JSON. `after`: the number of the last sample of the history that is
    /// known already; `None` if the history is not asked for.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn json(&self, after: Option<u64>) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.report(after))
    }

    /// `after`: the number of the last sample of the history that is known already; None if it is
    /// not asked for.
    pub(crate) fn report(&self, after: Option<u64>) -> StatusReport {
        let metrics = self.server.metrics();
        let snapshot = metrics.snapshot();
        let gained = self.history.gained(
            Timestamp::now(),
            lately::SECONDS,
            &reading::failures(&snapshot),
        );
        let last_minute = LastMinute::new(gained);
        let (state, reason) = state(&self.readiness(), &last_minute);
        StatusReport {
            state,
            reason,
            last_minute,
            warning: self.notice.get(),
            version: env!("CARGO_PKG_VERSION"),
            transport: transport_name(self.server.transport()),
            domain: Printable(&self.server.domain()).to_string(),
            started: seconds(self.started),
            uptime_seconds: self.since.elapsed().as_secs(),
            listeners: self.listener_reports(),
            max_connections: self.server.max_connections(),
            storage: self.delivery.storage().iter().map(Into::into).collect(),
            targets: self.delivery.targets().iter().map(Into::into).collect(),
            spool: self.delivery.spool().as_ref().map(Into::into),
            clients: metrics
                .clients()
                .into_iter()
                .take(MOST_CLIENTS)
                .map(Into::into)
                .collect(),
            processing: reading::buckets(&snapshot.processing),
            delivery: reading::buckets(&snapshot.delivery),
            accepted: metrics.accepted().into_iter().map(Into::into).collect(),
            recent: metrics.recent().into_iter().map(Into::into).collect(),
            history: after.map(|after| self.history.report(after)),
        }
    }

    fn listener_reports(&self) -> Vec<ListenerReport> {
        let starttls = if self.server.has_tls() {
            "starttls"
        } else {
            "none"
        };
        let rules = self.server.endpoint_rules();
        let kinds = rules.iter().zip(self.server.auth_modes());
        let addresses = self.server.addresses().iter().zip(kinds);
        let report = |(address, (rules, auth)): (&Address, (&EndpointRules, AuthMode))| {
            let protocol = rules.protocol().as_str();
            let is_implicit = rules.is_implicit_tls();
            ListenerReport {
                address: Printable(&address.to_string()).to_string(),
                protocol: protocol.to_ascii_lowercase(),
                tls: if is_implicit { "implicit" } else { starttls },
                auth: mode(auth),
            }
        };
        addresses.map(report).collect()
    }
}

fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Raw => "raw",
        _ => "tokio",
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

/// The worse of what the server says of itself and of what became of the mail of the last minute.
fn state(readiness: &Readiness, lately: &LastMinute) -> (&'static str, Option<String>) {
    let said = (*readiness != Readiness::Ready).then(|| readiness.to_string());
    match (readiness, lately.trouble()) {
        (Readiness::Ready, Some(trouble)) => ("degraded", Some(trouble)),
        (Readiness::Degraded(_), Some(trouble)) => {
            let reasons = [said, Some(trouble)].into_iter().flatten();
            ("degraded", Some(reasons.collect::<Vec<_>>().join("; ")))
        }
        _ => (readiness.name(), said),
    }
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
