//! Results, as they are kept in JSON. The tables and the page are made from these alone.
//!
//! Times are in microseconds unless a name says otherwise, sizes in octets.

mod chart;
mod compare;
mod html;
mod measured;
mod table;
mod words;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) use self::compare::compare;
pub(crate) use self::html::html;
pub(crate) use self::table::table;

use super::dialogue::Pipelining;
use super::measure::Background;

/// The version of the JSON; another is not compared with.
pub(crate) const FORMAT: u32 = 1;

/// Everything that one invocation has found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) format: u32,
    /// The program and its version.
    pub(crate) tool: String,
    /// When it was started, RFC 3339.
    pub(crate) started: String,
    pub(crate) runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The scenario, or `custom`.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    /// From the first message to the last outcome.
    pub(crate) seconds: f64,
    pub(crate) messages: Messages,
    /// Content of accepted messages.
    pub(crate) octets: u64,
    pub(crate) octets_per_second: f64,
    /// Connections that got through EHLO.
    pub(crate) connections: u64,
    pub(crate) latency: Latencies,
    /// The whole message, from when it was due.
    pub(crate) distribution: Distribution,
    pub(crate) timeline: Intervals,
    pub(crate) errors: Vec<ErrorCount>,
    pub(crate) targets: Vec<TargetCount>,
    pub(crate) idle_connections: Background,
    pub(crate) slow_clients: Background,
    /// It was ended by a signal.
    pub(crate) interrupted: bool,
    /// It was ended because the server did not answer any connection within the timeout.
    pub(crate) gave_up: bool,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) messages: Option<u64>,
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) rate: Option<f64>,
    pub(crate) ramp_up_seconds: f64,
    pub(crate) concurrency: u32,
    pub(crate) threads: u32,
    pub(crate) smallest: u64,
    pub(crate) largest: u64,
    pub(crate) recipients: u32,
    pub(crate) per_connection: Option<u64>,
    pub(crate) pipelining: Pipelining,
    /// `data` or `bdat`.
    pub(crate) transfer: String,
    /// `none`, `starttls` or `implicit`.
    pub(crate) tls: String,
    pub(crate) timeout_seconds: f64,
    pub(crate) seed: u64,
}

/// How many messages became what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Messages {
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
    /// Accepted of all, between 0 and 1.
    pub(crate) success_rate: f64,
    pub(crate) per_second: f64,
}

/// `None` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) connect: Option<Summary>,
    pub(crate) tls: Option<Summary>,
    pub(crate) greeting: Option<Summary>,
    pub(crate) transaction: Option<Summary>,
    pub(crate) message: Option<Summary>,
}

/// A latency in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// A latency distribution in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    /// Pairs of a percentile and the latency that is not exceeded by so many percent.
    pub(crate) percentiles: Vec<(f64, f64)>,
    /// Bins of equal width on a logarithmic scale: from, to, count.
    pub(crate) bins: Vec<(f64, f64, u64)>,
}

/// How the run went over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intervals {
    pub(crate) interval_seconds: f64,
    pub(crate) accepted: Vec<u64>,
    pub(crate) failed: Vec<u64>,
    pub(crate) octets: Vec<u64>,
    /// Whole messages in microseconds; `None` where none was accepted.
    pub(crate) p50: Vec<Option<u64>>,
    pub(crate) p99: Vec<Option<u64>>,
}

/// Failures of one kind at one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorCount {
    pub(crate) stage: String,
    pub(crate) kind: String,
    /// The reply code, where a reply said it.
    pub(crate) code: Option<u16>,
    pub(crate) count: u64,
    /// What was said the first time.
    pub(crate) example: String,
}

/// Messages to one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetCount {
    pub(crate) target: String,
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
}

impl Report {
    pub(crate) fn new(started: SystemTime) -> Self {
        Self {
            format: FORMAT,
            tool: concat!("prixfixe bench ", env!("CARGO_PKG_VERSION")).to_owned(),
            started: humantime::format_rfc3339_seconds(started).to_string(),
            runs: Vec::new(),
        }
    }

    /// True when every message was accepted and every run went to its end.
    pub(crate) fn is_success(&self) -> bool {
        self.runs
            .iter()
            .all(|run| run.messages.failed == 0 && run.messages.accepted > 0 && !run.gave_up)
    }
}

#[cfg(test)]
pub(crate) mod tests;
