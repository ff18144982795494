//! The numbers of a server at one moment, as the history keeps them: series of `/metrics`, and its
//! durations in finer buckets.

use std::time::Duration;

use prixfixe_delivery::Storage;
use prixfixe_server::{DurationHistogram, MetricsSnapshot};

/// File systems whose free space is plotted.
const MOST_STORAGES: usize = 4;

/// Use of the processor: of one core all the time is 1000.
pub(super) const CPU: &str = "cpu_tenths_of_percent";

/// Of a counter what it gained is kept, of a gauge its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// A series and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) value: u64,
}

impl Reading {
    pub(super) fn new(name: String, kind: Kind, value: u64) -> Self {
        Self { name, kind, value }
    }
}

/// All that is plotted.
pub(super) fn all(snapshot: &MetricsSnapshot, storages: &[Storage]) -> Vec<Reading> {
    let mut readings = failures(snapshot);
    let mut counter = |name: String, value| {
        readings.push(Reading::new(name, Kind::Counter, value));
    };
    for (code, count) in &snapshot.command_errors {
        counter(label("smtp_command_errors_total", "code", code), *count);
    }
    for (result, count) in &snapshot.connections {
        let name = label("smtp_connections_total", "result", result.as_str());
        counter(name, *count);
    }
    for (failure, count) in &snapshot.tls_handshake_failures {
        let result = failure.as_str();
        let name = format!("smtp_tls_handshakes_total{{result=\"{result}\",version=\"none\"}}");
        counter(name, *count);
    }
    for (phase, count) in &snapshot.timeouts_by_phase {
        let name = label("smtp_timeouts_by_phase_total", "phase", phase.as_str());
        counter(name, *count);
    }
    for (name, durations) in [
        ("processing", &snapshot.processing),
        ("delivery", &snapshot.delivery),
    ] {
        for (bound, count) in durations.fine_buckets() {
            counter(label(name, "le", bound_text(bound)), count);
        }
    }
    readings.extend(gauges(snapshot, storages));
    readings
}

/// What became of messages: accepted, and failed by reason.
pub(super) fn failures(snapshot: &MetricsSnapshot) -> Vec<Reading> {
    let accepted = Reading::new(
        "smtp_messages_success_total".to_owned(),
        Kind::Counter,
        snapshot.messages_succeeded,
    );
    let failed = snapshot.messages_failed.iter().map(|(reason, count)| {
        let name = label("smtp_messages_failed_total", "reason", reason.as_str());
        Reading::new(name, Kind::Counter, *count)
    });
    std::iter::once(accepted).chain(failed).collect()
}

fn gauges(snapshot: &MetricsSnapshot, storages: &[Storage]) -> Vec<Reading> {
    let gauge = |name: &str, value| Reading::new(name.to_owned(), Kind::Gauge, value);
    let active = u64::try_from(snapshot.active_connections).unwrap_or(u64::MAX);
    let mut readings = vec![gauge("smtp_active_connections", active)];
    if let Some(process) = &snapshot.process {
        readings.push(gauge("smtp_memory_bytes", process.memory_bytes));
        let tenths = (process.cpu_percent * 10.0).round() as u64;
        readings.push(gauge(CPU, tenths));
    }
    for (place, storage) in storages.iter().take(MOST_STORAGES).enumerate() {
        let name = label("free_bytes", "storage", place);
        readings.push(gauge(&name, storage.free.bytes));
    }
    readings
}

/// The buckets of a histogram: the upper bound in seconds, and how many are within it alone.
pub(super) fn buckets(durations: &DurationHistogram) -> Vec<(String, u64)> {
    let buckets = durations.fine_buckets();
    buckets
        .map(|(bound, count)| (bound_text(bound), count))
        .collect()
}

fn bound_text(bound: Option<Duration>) -> String {
    bound.map_or_else(|| "+Inf".to_owned(), |it| it.as_secs_f64().to_string())
}

fn label(name: &str, label: &str, value: impl std::fmt::Display) -> String {
    format!("{name}{{{label}=\"{value}\"}}")
}
