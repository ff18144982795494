//! From what was measured to what is reported.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::words::float;
use super::{
    Distribution, ErrorCount, Intervals, Latencies, Messages, Run, Settings, Summary, TargetCount,
};
use crate::content::Prepared;
use crate::failure::{Kind, Stage};
use crate::measure::{Failures, Latency, Measurements, Timeline, has_samples};
use crate::plan::{Plan, Protocol, Transfer};

impl Run {
    pub(crate) fn new(
        name: &str,
        settings: Settings,
        targets: impl Iterator<Item = (impl Into<String>, Option<String>)>,
        measured: &Measurements,
        interrupted: bool,
    ) -> Self {
        let seconds = measured.last.as_secs_f64();
        let all = measured.accepted + measured.failed;
        let message = measured.message.histogram();
        let counts = targets.zip(&measured.targets);
        Self {
            name: name.to_owned(),
            repetition: 1,
            settings,
            seconds,
            messages: Messages {
                accepted: measured.accepted,
                failed: measured.failed,
                success_rate: quotient(measured.accepted, float(all)),
                per_second: quotient(measured.accepted, seconds),
            },
            recipients: measured.recipients,
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
                .map(|((target, greeting), (accepted, failed))| TargetCount {
                    target: target.into(),
                    greeting,
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
    pub(crate) fn of(plan: &Plan, messages: &[Arc<Prepared>]) -> Self {
        let sizes = || messages.iter().map(|message| message.size);
        let pace = &plan.pace;
        Self {
            protocol: match plan.protocol {
                Protocol::Lmtp => "lmtp",
                _ => "smtp",
            }
            .to_owned(),
            messages: pace.messages,
            duration_seconds: pace.duration.as_ref().map(Duration::as_secs_f64),
            rate: pace.rate,
            ramp_up_seconds: pace.ramp.as_secs_f64(),
            concurrency: plan.concurrency.get(),
            threads: plan.busy_threads().get(),
            smallest: sizes().min().unwrap_or(0),
            largest: sizes().max().unwrap_or(0),
            recipients: plan.recipients.get(),
            per_connection: plan.per_connection.map(Into::into),
            pipelining: plan.pipelining,
            transfer: match plan.transfer {
                Transfer::Data => "data",
                Transfer::Bdat { .. } => "bdat",
            }
            .to_owned(),
            tls: match plan.tls.as_ref().map(|tls| tls.implicit) {
                Some(true) => "implicit",
                Some(false) => "starttls",
                None => "none",
            }
            .to_owned(),
            timeout_seconds: plan.timeout.as_secs_f64(),
            seed: plan.seed,
        }
    }
}

impl Summary {
    fn of(latency: &Latency) -> Option<Self> {
        let histogram = latency.histogram()?;
        let at = |percentile| {
            let enough = has_samples(percentile, histogram.len());
            enough.then(|| microseconds(histogram.value_at_percentile(percentile)))
        };
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
            percentiles: PERCENTILES
                .into_iter()
                .filter(|percentile| has_samples(*percentile, histogram.len()))
                .map(at)
                .collect(),
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
        let total: u64 = intervals.iter().map(|interval| interval.accepted).sum();
        let each = latency_intervals(intervals.len(), total);
        let (p50, p99) = timeline.percentiles(each);
        Self {
            interval_seconds: seconds,
            accepted: intervals.iter().map(|interval| interval.accepted).collect(),
            failed: intervals.iter().map(|interval| interval.failed).collect(),
            octets: intervals.iter().map(|interval| interval.octets).collect(),
            latency_intervals: each,
            p50,
            p99,
        }
    }
}

/// How many intervals a latency covers, so that most have messages for a P99.
fn latency_intervals(intervals: usize, messages: u64) -> usize {
    const WANTED: u64 = 150;
    let wanted = WANTED
        .saturating_mul(intervals as u64)
        .div_ceil(messages.max(1));
    usize::try_from(wanted)
        .unwrap_or(usize::MAX)
        .clamp(1, intervals.max(1))
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
    let count = |(&(stage, kind), failures): (&(Stage, Kind), &Failures)| ErrorCount {
        stage: stage.name().to_owned(),
        kind: kind.name().to_owned(),
        code: kind.code(),
        count: failures.count,
        example: failures.example.clone(),
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
