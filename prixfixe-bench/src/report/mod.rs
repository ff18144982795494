//! Results, as they are kept in JSON. The tables and the page are made from these alone.
//!
//! Times are in microseconds unless a name says otherwise, sizes in bytes.

mod chart;
mod compare;
mod host;
mod html;
mod measured;
mod metric;
mod overview;
mod picture;
mod spread;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod words;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::condition::{Broken, FailIf};
use crate::dialogue::Pipelining;
use crate::knee::Knee;

pub use self::compare::{Change, Comparison, MIN_RUNS, RunComparison, Verdict};
pub use self::host::Host;
pub use self::metric::Metric;
pub use self::spread::Spread;
pub use crate::measure::{Background, Recipients};

/// The version of the JSON. This one and all before it are read.
pub const FORMAT: u32 = 2;

/// Everything that one invocation has found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of the JSON, [`FORMAT`].
    pub format: u32,
    /// The program and its version.
    pub tool: String,
    /// When it was started, RFC 3339.
    pub started: String,
    /// The command line, ready to be pasted into a shell; `None` where there was none.
    #[serde(default)]
    pub command: Option<String>,
    /// The machine that the load came from.
    #[serde(default)]
    pub host: Host,
    /// In the order in which they took place.
    pub runs: Vec<Run>,
    /// Conditions that were met.
    #[serde(default)]
    pub broken: Vec<Broken>,
    /// The runs beside others.
    #[serde(default)]
    pub comparison: Option<Comparison>,
    /// What stepped load has found.
    #[serde(default)]
    pub knee: Option<Knee>,
}

/// Why a text is no [`Report`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It is no JSON, or has other members.
    #[error("no report of this program: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A newer version has written it.
    #[error("written in format {found}, and this program reads up to {FORMAT}")]
    Format {
        /// The format that it has.
        found: u32,
    },
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// The scenario, or `custom`.
    pub name: String,
    /// Which of several runs of the same name, counted from 1.
    #[serde(default = "first")]
    pub repetition: u32,
    /// What was asked for.
    pub settings: Settings,
    /// From the first message to the last outcome.
    pub seconds: f64,
    /// How many messages became what.
    pub messages: Messages,
    /// What recipients were told.
    #[serde(default)]
    pub recipients: Recipients,
    /// Content of accepted messages.
    pub octets: u64,
    /// The same, per second of the run.
    pub octets_per_second: f64,
    /// Connections that got through EHLO.
    pub connections: u64,
    /// How long it took.
    pub latency: Latencies,
    /// The whole message, from when it was due.
    pub distribution: Distribution,
    /// How it went over time.
    pub timeline: Intervals,
    /// What went wrong, the most frequent first.
    pub errors: Vec<ErrorCount>,
    /// Each target's part.
    pub targets: Vec<TargetCount>,
    /// Connections that were held in the background.
    pub idle_connections: Background,
    /// Clients in the background that send slowly.
    pub slow_clients: Background,
    /// It was ended by a signal.
    pub interrupted: bool,
    /// It was ended because the server did not answer any connection within the timeout.
    pub gave_up: bool,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Settings {
    /// `smtp` or `lmtp`.
    #[serde(default = "smtp")]
    pub protocol: String,
    /// Messages in all, where there was such a number.
    pub messages: Option<u64>,
    /// The time to go on sending, where there was one.
    pub duration_seconds: Option<f64>,
    /// Messages per second of an open loop.
    pub rate: Option<f64>,
    /// The time over which the load grows.
    pub ramp_up_seconds: f64,
    /// Connections at once.
    pub concurrency: u32,
    /// Threads that send.
    pub threads: u32,
    /// Content of the smallest message.
    pub smallest: u64,
    /// Content of the largest message.
    pub largest: u64,
    /// Recipients of a message.
    pub recipients: u32,
    /// Messages on a connection; `None`: no limit.
    pub per_connection: Option<u64>,
    /// What leaves without waiting for replies.
    pub pipelining: Pipelining,
    /// `data` or `bdat`.
    pub transfer: String,
    /// `none`, `starttls` or `implicit`.
    pub tls: String,
    /// The longest that a message may take.
    pub timeout_seconds: f64,
    /// The seed of generated messages.
    pub seed: u64,
}

/// How many messages became what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Messages {
    /// Messages that the server took, for all their recipients.
    pub accepted: u64,
    /// All others that were begun or due.
    pub failed: u64,
    /// Accepted of all, between 0 and 1.
    pub success_rate: f64,
    /// Accepted messages per second of the run.
    pub per_second: f64,
}

/// `None` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Latencies {
    /// The TCP connection.
    pub connect: Option<Summary>,
    /// The TLS handshake.
    pub tls: Option<Summary>,
    /// From the connection, or the handshake of implicit TLS, to the greeting.
    pub greeting: Option<Summary>,
    /// A message from its MAIL to its last reply.
    pub transaction: Option<Summary>,
    /// A message from when it was due to its last reply.
    pub message: Option<Summary>,
}

/// A latency in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Values measured.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The mean of all.
    pub mean: f64,
    /// The median, of 10 values or more.
    pub p50: Option<f64>,
    /// Not exceeded by 90 percent, of 20 values or more.
    pub p90: Option<f64>,
    /// Not exceeded by 95 percent, of 20 values or more.
    pub p95: Option<f64>,
    /// Not exceeded by 99 percent, of 100 values or more.
    pub p99: Option<f64>,
    /// Not exceeded by 99.9 percent, of 1000 values or more.
    pub p99_9: Option<f64>,
    /// The greatest.
    pub max: f64,
}

/// A latency distribution in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Distribution {
    /// Pairs of a percentile and the latency that is not exceeded by so many percent.
    pub percentiles: Vec<(f64, f64)>,
    /// Bins of equal width on a logarithmic scale: from, to, count.
    pub bins: Vec<(f64, f64, u64)>,
}

/// How the run went over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Intervals {
    /// The length of each.
    pub interval_seconds: f64,
    /// Messages accepted in each.
    pub accepted: Vec<u64>,
    /// Messages failed in each.
    pub failed: Vec<u64>,
    /// Content of messages accepted in each.
    pub octets: Vec<u64>,
    /// How many intervals each latency covers, so that there are messages for a percentile.
    #[serde(default = "one")]
    pub latency_intervals: usize,
    /// The median of whole messages in microseconds; `None` where there are fewer than 10.
    pub p50: Vec<Option<u64>>,
    /// The 99th percentile; `None` where there are fewer than 100.
    pub p99: Vec<Option<u64>>,
}

/// Failures of one kind at one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorCount {
    /// Where in the dialogue: `connect`, `rcpt` and so on.
    pub stage: String,
    /// What: `reply`, `timeout` and so on.
    pub kind: String,
    /// The reply code, where a reply said it.
    pub code: Option<u16>,
    /// How many.
    pub count: u64,
    /// What was said the first time.
    pub example: String,
}

/// Messages to one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetCount {
    /// As it was given.
    pub target: String,
    /// Its first greeting, which often names the server and its version.
    #[serde(default)]
    pub greeting: Option<String>,
    /// Messages that it took.
    pub accepted: u64,
    /// Messages that failed there.
    pub failed: u64,
}

impl Report {
    /// A report without runs yet.
    #[must_use]
    pub fn new(started: SystemTime) -> Self {
        Self {
            format: FORMAT,
            tool: concat!("prixfixe bench ", env!("CARGO_PKG_VERSION")).to_owned(),
            started: humantime::format_rfc3339_seconds(started).to_string(),
            command: None,
            host: Host::default(),
            runs: Vec::new(),
            broken: Vec::new(),
            comparison: None,
            knee: None,
        }
    }

    /// Reads what [`to_json`](Self::to_json) has written.
    ///
    /// # Errors
    ///
    /// [`ReportError`].
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_str(text)?;
        if (1..=FORMAT).contains(&report.format) {
            Ok(report)
        } else {
            Err(ReportError::Format {
                found: report.format,
            })
        }
    }

    /// All of it, for programs.
    ///
    /// # Errors
    ///
    /// Those of serde_json, which has none for what a run gives.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// One HTML page with charts, which needs nothing from anywhere else.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::html(self)
    }

    /// All of it in plain text, the overview first.
    #[must_use]
    pub fn to_text(&self) -> String {
        table::report(self)
    }

    /// Sets the runs beside those of an older report of the same names.
    pub fn compare(&mut self, old: &Self) {
        let with = old.command.as_ref().map_or_else(
            || old.started.clone(),
            |command| format!("{} ({command})", old.started),
        );
        self.compare_runs(&with, &old.runs);
    }

    /// Sets the runs beside others of the same names, which `with` describes.
    pub fn compare_runs(&mut self, with: &str, old: &[Run]) {
        self.comparison = Some(Comparison::of(with, old, &self.runs));
    }

    /// Notes which conditions are met. Of runs that were repeated, the median counts.
    pub fn judge(&mut self, conditions: &[FailIf]) {
        let groups = spread::by_name(&self.runs);
        let judge = |condition: &FailIf| -> Vec<Broken> {
            let broken = groups.iter().filter_map(|(_, runs)| condition.judge(runs));
            broken.collect()
        };
        self.broken = conditions.iter().flat_map(judge).collect();
    }

    /// True when something was accepted in every run, every run went to its end, and no condition
    /// was met. Every message has to be accepted, unless `may_fail`.
    #[must_use]
    pub fn is_success(&self, may_fail: bool) -> bool {
        let is_good = |run: &Run| {
            let messages = &run.messages;
            messages.accepted > 0 && !run.gave_up && (may_fail || messages.failed == 0)
        };
        self.broken.is_empty() && self.runs.iter().all(is_good)
    }
}

/// What a report of an older format means.
fn smtp() -> String {
    "smtp".to_owned()
}

fn first() -> u32 {
    1
}

fn one() -> usize {
    1
}

impl Run {
    /// The run in plain text, for a terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        table::table(self)
    }
}
