//! The figures of a run that conditions and comparisons are about.

use serde::{Deserialize, Serialize};

use super::Run;
use super::words::{float, time};

/// One figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Metric {
    /// Accepted messages per second.
    Rate,
    /// Content of accepted messages, in bytes per second.
    Bytes,
    /// The median of whole messages, in microseconds like all latencies.
    P50,
    /// Not exceeded by 90 percent of messages.
    P90,
    /// Not exceeded by 95 percent of messages.
    P95,
    /// Not exceeded by 99 percent of messages.
    P99,
    /// Not exceeded by 99.9 percent of messages.
    #[serde(rename = "p99.9")]
    P99_9,
    /// The longest message.
    Max,
    /// Messages that failed.
    Failed,
    /// Messages that failed, in percent of all.
    FailedPercent,
}

impl Metric {
    /// What a comparison shows, in its order.
    pub(super) const COMPARED: [Self; 8] = [
        Self::Rate,
        Self::Bytes,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P99_9,
        Self::Max,
        Self::Failed,
    ];

    /// `None`: the run has too few messages for it.
    #[must_use]
    pub fn of(self, run: &Run) -> Option<f64> {
        let messages = &run.messages;
        let latency = run.latency.message.as_ref();
        match self {
            Self::Rate => Some(messages.per_second),
            Self::Bytes => Some(run.octets_per_second),
            Self::P50 => latency?.p50,
            Self::P90 => latency?.p90,
            Self::P95 => latency?.p95,
            Self::P99 => latency?.p99,
            Self::P99_9 => latency?.p99_9,
            Self::Max => Some(latency?.max),
            Self::Failed => Some(float(messages.failed)),
            // Reckoned from the counts, so that one of a hundred is one percent exactly.
            Self::FailedPercent => {
                let all = float(messages.accepted + messages.failed).max(1.0);
                Some(float(messages.failed) * 100.0 / all)
            }
        }
    }

    /// A value of it, for people.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{value:.0}/s"),
            Self::Bytes => format!("{:.2} MB/s", value / 1e6),
            Self::Failed => format!("{value:.0}"),
            Self::FailedPercent => format!("{value:.3} %"),
            _ => time(value),
        }
    }

    /// What it is called in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "messages/s",
            Self::Bytes => "MB/s",
            Self::P50 => "P50",
            Self::P90 => "P90",
            Self::P95 => "P95",
            Self::P99 => "P99",
            Self::P99_9 => "P99.9",
            Self::Max => "max",
            Self::Failed | Self::FailedPercent => "failed",
        }
    }

    /// More of it is better.
    pub(super) const fn grows_better(self) -> bool {
        matches!(self, Self::Rate | Self::Bytes)
    }
}
