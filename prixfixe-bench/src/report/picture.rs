//! The pictures of the page.

use super::Run;
use super::chart::{Axis, Series, plot};
use super::words::{float, time};
use crate::knee::{Knee, Step};

pub(super) fn distribution(run: &Run) -> String {
    let bins = &run.distribution.bins;
    let (from, to) = (
        bins.first().map_or(1.0, |bin| bin.0),
        bins.last().map_or(1.0, |bin| bin.1),
    );
    let most = bins.iter().map(|bin| bin.2).max().unwrap_or(0);
    let bars = bins
        .iter()
        .map(|(from, to, count)| {
            (
                *from,
                *to,
                float(*count),
                format!("{count}: {} to {}", time(*from), time(*to)),
            )
        })
        .collect();
    let x = Axis::logarithmic(from, to, "latency, logarithmic", short_time);
    let y = Axis::linear(float(most), "messages", count);
    plot(
        "How many messages took how long",
        &x,
        &y,
        &[Series::Bars { class: "a", bars }],
    )
}

pub(super) fn percentiles(run: &Run) -> String {
    // On a scale of nines: each step of one is another tenth of the messages that are left.
    let nines = |percentile: f64| -(1.0 - percentile.min(99.9999) / 100.0).log10();
    let enough = float(run.messages.accepted).log10().clamp(1.0, 6.0);
    let points: Vec<Option<(f64, f64)>> = run
        .distribution
        .percentiles
        .iter()
        .map(|(percentile, latency)| {
            (
                if *percentile >= 100.0 {
                    enough
                } else {
                    nines(*percentile)
                },
                *latency,
            )
        })
        .filter(|(at, _)| *at <= enough)
        .map(Some)
        .collect();
    let least = points
        .iter()
        .flatten()
        .map(|point| point.1)
        .fold(f64::INFINITY, f64::min);
    let most = points
        .iter()
        .flatten()
        .map(|point| point.1)
        .fold(0.0, f64::max);
    let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
    let ticks = ticks
        .into_iter()
        .filter(|at| nines(*at) <= enough + 1e-9)
        .map(|at| (nines(at), at.to_string()))
        .collect();
    let x = Axis::with_ticks(enough, "percent of messages", ticks);
    let y = Axis::logarithmic(least, most, "latency, logarithmic", short_time);
    plot(
        "The latency that so many percent of messages did not exceed",
        &x,
        &y,
        &[Series::Area { class: "c", points }],
    )
}

pub(super) fn throughput(run: &Run) -> String {
    let timeline = &run.timeline;
    let length = timeline.interval_seconds;
    let spans = spans(run);
    let rate = |counts: &[u64]| -> Vec<f64> {
        counts
            .iter()
            .zip(&spans)
            .map(|(count, (from, to))| float(*count) / (to - from).max(length / 100.0))
            .collect()
    };
    let (accepted, failed) = (rate(&timeline.accepted), rate(&timeline.failed));
    let most = accepted.iter().chain(&failed).copied().fold(0.0, f64::max);
    let middle = |(span, rate): (&(f64, f64), &f64)| Some((f64::midpoint(span.0, span.1), *rate));
    let points = spans.iter().zip(&accepted).map(middle).collect();
    let bars = spans
        .iter()
        .zip(&failed)
        .zip(&timeline.failed)
        .map(|((span, rate), count)| (span.0, span.1, *rate, format!("{count} failed")))
        .collect();
    let x = Axis::exact(run.seconds, "seconds", seconds);
    let y = Axis::linear(most, "per second", count);
    let series = [
        Series::Area { class: "a", points },
        Series::Bars { class: "bad", bars },
    ];
    plot(
        "Messages accepted and failed per second, over time",
        &x,
        &y,
        &series,
    )
}

pub(super) fn latency_over_time(run: &Run) -> String {
    let spans = spans(run);
    // A latency covers several intervals where one has too few messages.
    let spans: Vec<(f64, f64)> = spans
        .chunks(run.timeline.latency_intervals.max(1))
        .filter_map(|chunk| Some((chunk.first()?.0, chunk.last()?.1)))
        .collect();
    let points = |latencies: &[Option<u64>]| -> Vec<Option<(f64, f64)>> {
        let middle = |(span, latency): (&(f64, f64), &Option<u64>)| {
            latency.map(|us| (f64::midpoint(span.0, span.1), float(us.max(1))))
        };
        spans.iter().zip(latencies).map(middle).collect()
    };
    let (p50, p99) = (points(&run.timeline.p50), points(&run.timeline.p99));
    let least = p50
        .iter()
        .flatten()
        .map(|point| point.1)
        .fold(f64::INFINITY, f64::min);
    let most = p99
        .iter()
        .flatten()
        .map(|point| point.1)
        .fold(0.0, f64::max);
    let x = Axis::exact(run.seconds, "seconds", seconds);
    let y = Axis::logarithmic(least, most, "latency, logarithmic", short_time);
    let series = [
        Series::Line {
            class: "c",
            points: p50,
        },
        Series::Line {
            class: "b",
            points: p99,
        },
    ];
    plot(
        "P50 and P99 of the latency of a message, over time",
        &x,
        &y,
        &series,
    )
}

/// Where each interval begins and ends; the last ends with the run.
fn spans(run: &Run) -> Vec<(f64, f64)> {
    let length = run.timeline.interval_seconds;
    let mut from = 0.0;
    let next = |_| {
        let to = f64::min(from + length, run.seconds.max(from));
        (std::mem::replace(&mut from, to), to)
    };
    run.timeline.accepted.iter().map(next).collect()
}

/// The latencies of every step of a search, and between which rates the server gave way.
pub(super) fn knee(knee: &Knee) -> String {
    let mut steps: Vec<&Step> = knee.steps.iter().collect();
    steps.sort_by(|one, other| f64::total_cmp(&one.rate, &other.rate));
    let rates = || steps.iter().map(|step| step.rate);
    let (least, most) = (
        rates().fold(f64::INFINITY, f64::min),
        rates().fold(0.0, f64::max),
    );
    let line = |of: fn(&Step) -> Option<f64>| -> Vec<Option<(f64, f64)>> {
        let points = steps.iter().map(|step| Some((step.rate, of(step)?)));
        points.filter(Option::is_some).collect()
    };
    let (p50, p99) = (line(|step| step.p50), line(|step| step.p99));
    let values = || p50.iter().chain(&p99).flatten().map(|point| point.1);
    let (lowest, highest) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
    );
    let x = Axis::logarithmic(least, most, "messages per second, logarithmic", count);
    let y = Axis::logarithmic(lowest, highest, "latency, logarithmic", short_time);
    let beyond = knee.found.unwrap_or(least);
    let says = format!("above {} per second it does not hold", count(beyond));
    let series = [
        Series::Bars {
            class: "bad band",
            bars: vec![(beyond, most * 1.1, f64::MAX, says)],
        },
        Series::Line {
            class: "c",
            points: p50,
        },
        Series::Line {
            class: "b",
            points: p99,
        },
    ];
    plot("P50 and P99 at each rate", &x, &y, &series)
}

fn short_time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1000.0 => format!("{us:.0} \u{b5}s"),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1000.0),
        us => format!("{:.0} s", us / 1_000_000.0),
    }
}

fn seconds(at: f64) -> String {
    let text = format!("{at:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn count(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{} M", seconds(n / 1e6)),
        n if n >= 1e4 => format!("{} k", seconds(n / 1e3)),
        n => seconds(n),
    }
}
