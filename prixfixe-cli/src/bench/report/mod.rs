//! Results, as they are kept in JSON. The tables and the page are made from these alone.
//!
//! Times are in microseconds unless a name says otherwise, sizes in octets.

mod chart;
mod compare;
mod html;
mod table;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub(crate) use self::compare::compare;
pub(crate) use self::html::html;
pub(crate) use self::table::table;

use super::arguments::Arguments;
use super::content::Prepared;
use super::dialogue::Pipelining;
use super::engine::Pace;
use super::measure::{Background, Latency, Measurements, Timeline};

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

impl Run {
    pub(crate) fn new(
        name: &str,
        settings: Settings,
        targets: &[String],
        measured: &Measurements,
        interrupted: bool,
    ) -> Self {
        let seconds = measured.last.as_secs_f64();
        let all = measured.accepted + measured.failed;
        let message = measured.message.histogram();
        let counts = targets.iter().zip(&measured.targets);
        Self {
            name: name.to_owned(),
            settings,
            seconds,
            messages: Messages {
                accepted: measured.accepted,
                failed: measured.failed,
                success_rate: quotient(measured.accepted, float(all)),
                per_second: quotient(measured.accepted, seconds),
            },
            octets: measured.octets,
            octets_per_second: quotient(measured.octets, seconds),
            connections: measured.connections,
            latency: Latencies {
                connect: Summary::of(&measured.connect),
                tls: Summary::of(&measured.tls),
                greeting: Summary::of(&measured.greeting),
                transaction: Summary::of(&measured.transaction),
                message: Summary::of(&measured.message),
            },
            distribution: message.map(Distribution::of).unwrap_or_default(),
            timeline: Intervals::of(&measured.timeline, measured.last),
            errors: errors(measured),
            targets: counts
                .map(|(target, (accepted, failed))| TargetCount {
                    target: target.clone(),
                    accepted: *accepted,
                    failed: *failed,
                })
                .collect(),
            idle_connections: measured.idle,
            slow_clients: measured.slow,
            interrupted,
            gave_up: measured.gave_up,
        }
    }
}

impl Settings {
    pub(crate) fn new(
        arguments: &Arguments,
        pace: &Pace,
        concurrency: NonZeroU32,
        messages: &[Arc<Prepared>],
    ) -> Self {
        let sizes = || messages.iter().map(|message| message.size);
        Self {
            messages: pace.messages,
            duration_seconds: pace.duration.as_ref().map(Duration::as_secs_f64),
            rate: pace.rate,
            ramp_up_seconds: pace.ramp.as_secs_f64(),
            concurrency: concurrency.get(),
            threads: arguments.threads.min(concurrency).get(),
            smallest: sizes().min().unwrap_or(0),
            largest: sizes().max().unwrap_or(0),
            recipients: arguments.recipients.get(),
            per_connection: arguments.per_connection.map(Into::into),
            pipelining: arguments.pipelining,
            transfer: if arguments.bdat { "bdat" } else { "data" }.to_owned(),
            tls: match (arguments.tls, arguments.starttls) {
                (true, _) => "implicit",
                (_, true) => "starttls",
                _ => "none",
            }
            .to_owned(),
            timeout_seconds: arguments.timeout.as_secs_f64(),
            seed: arguments.seed,
        }
    }
}

impl Summary {
    fn of(latency: &Latency) -> Option<Self> {
        let histogram = latency.histogram()?;
        let at = |percentile| microseconds(histogram.value_at_percentile(percentile));
        Some(Self {
            count: histogram.len(),
            min: microseconds(histogram.min()),
            mean: to_nanosecond(histogram.mean() / 1000.0),
            p50: at(50.0),
            p90: at(90.0),
            p95: at(95.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: microseconds(histogram.max()),
        })
    }
}

impl Distribution {
    fn of(histogram: &Histogram<u64>) -> Self {
        const PERCENTILES: [f64; 17] = [
            0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9,
            99.99, 99.999, 100.0,
        ];
        let at = |percentile: f64| {
            (
                percentile,
                microseconds(histogram.value_at_percentile(percentile)),
            )
        };
        Self {
            percentiles: PERCENTILES.into_iter().map(at).collect(),
            bins: bins(histogram),
        }
    }
}

impl Intervals {
    fn of(timeline: &Timeline, until: Duration) -> Self {
        let (length, intervals) = timeline.intervals();
        let mut seconds = length.as_secs_f64();
        // The last interval is cut short by the end of the run; alone, it is all of it.
        if intervals.len() == 1 {
            seconds = until.as_secs_f64().max(1e-6);
        }
        Self {
            interval_seconds: seconds,
            accepted: intervals.iter().map(|interval| interval.accepted).collect(),
            failed: intervals.iter().map(|interval| interval.failed).collect(),
            octets: intervals.iter().map(|interval| interval.octets).collect(),
            p50: intervals
                .iter()
                .map(|interval| interval.percentile(50.0))
                .collect(),
            p99: intervals
                .iter()
                .map(|interval| interval.percentile(99.0))
                .collect(),
        }
    }
}

/// At most 40 bins from the least to the greatest value.
fn bins(histogram: &Histogram<u64>) -> Vec<(f64, f64, u64)> {
    const BINS: i32 = 40;
    let (min, max) = (
        microseconds(histogram.min()).max(0.001),
        microseconds(histogram.max()).max(0.001),
    );
    let step = (max / min).ln() / f64::from(BINS);
    if step <= 0.0 {
        return vec![(min, max, histogram.len())];
    }
    let edge = |i: i32| to_nanosecond(min * (step * f64::from(i)).exp());
    let mut bins: Vec<(f64, f64, u64)> = (0..BINS).map(|i| (edge(i), edge(i + 1), 0)).collect();
    for value in histogram.iter_recorded() {
        let at = microseconds(value.value_iterated_to());
        let bin = bins
            .iter()
            .position(|(_, to, _)| at < *to)
            .unwrap_or(bins.len() - 1);
        if let Some((_, _, count)) = bins.get_mut(bin) {
            *count += value.count_since_last_iteration();
        }
    }
    bins
}

fn errors(measured: &Measurements) -> Vec<ErrorCount> {
    let count = |(&(stage, kind), failures): (&_, &super::measure::Failures)| {
        let (stage, kind): (super::failure::Stage, super::failure::Kind) = (stage, kind);
        ErrorCount {
            stage: stage.name().to_owned(),
            kind: kind.name().to_owned(),
            code: kind.code(),
            count: failures.count,
            example: failures.example.clone(),
        }
    };
    let mut errors: Vec<ErrorCount> = measured.failures.iter().map(count).collect();
    if measured.other_failures > 0 {
        errors.push(ErrorCount {
            stage: "various".to_owned(),
            kind: "other".to_owned(),
            code: None,
            count: measured.other_failures,
            example: String::new(),
        });
    }
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors
}

fn microseconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1000.0
}

/// Microseconds without digits that were never measured.
fn to_nanosecond(microseconds: f64) -> f64 {
    (microseconds * 1000.0).round() / 1000.0
}

fn quotient(count: u64, of: f64) -> f64 {
    if of > 0.0 { float(count) / of } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn float(number: u64) -> f64 {
    number as f64
}

/// A latency in microseconds for people: three significant digits and a unit.
fn time(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        us if us < 1000.0 => (us, "\u{b5}s"),
        us if us < 1_000_000.0 => (us / 1000.0, "ms"),
        us => (us / 1_000_000.0, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A number of octets for people.
fn octets(number: u64) -> String {
    match number {
        0..1024 => format!("{number} octets"),
        n if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n if n < 1 << 20 => format!("{:.1} KiB", float(n) / 1024.0),
        n => format!("{:.1} MiB", float(n) / 1_048_576.0),
    }
}

/// What was asked for, in a line.
fn description(settings: &Settings) -> String {
    let mut parts = Vec::new();
    let size = if settings.smallest == settings.largest {
        octets(settings.smallest)
    } else {
        format!(
            "{} to {}",
            octets(settings.smallest),
            octets(settings.largest)
        )
    };
    parts.push(match settings.messages {
        Some(messages) => format!("{messages} messages of {size}"),
        None => format!("messages of {size}"),
    });
    if let Some(seconds) = settings.duration_seconds {
        parts.push(format!("for {seconds} s"));
    }
    if let Some(rate) = settings.rate {
        parts.push(format!("{rate} a second"));
    }
    parts.push(format!("{} connections", settings.concurrency));
    match settings.per_connection {
        Some(1) => parts.push("a connection a message".to_owned()),
        Some(most) => parts.push(format!("{most} messages a connection")),
        None => {}
    }
    if settings.recipients > 1 {
        parts.push(format!("{} recipients", settings.recipients));
    }
    parts.push(match settings.pipelining {
        Pipelining::Off => "not pipelined".to_owned(),
        Pipelining::Envelope => "envelopes pipelined".to_owned(),
        Pipelining::Full => "pipelined".to_owned(),
    });
    if settings.transfer == "bdat" {
        parts.push("by BDAT".to_owned());
    }
    match settings.tls.as_str() {
        "implicit" => parts.push("TLS".to_owned()),
        "starttls" => parts.push("STARTTLS".to_owned()),
        _ => {}
    }
    parts.join(", ")
}

#[cfg(test)]
pub(crate) mod tests;
