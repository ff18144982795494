//! The result as one page: no script, nothing fetched from elsewhere.

use std::fmt::Write as _;

use super::chart::{Axis, Series, plot};
use super::table::cut;
use super::words::{description, float, time};
use super::{ErrorCount, Report, Run, Summary};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn html(report: &Report) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let started = escape(&report.started);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<title>SMTP load test, {started}</title><style>{STYLE}</style></head><body><main>"
    );
    let _ = write!(
        page,
        "<h1>SMTP load test</h1><p>{} &middot; {started}</p>",
        escape(&report.tool)
    );
    for run in &report.runs {
        let _ = section(&mut page, run);
    }
    page.push_str("</main></body></html>\n");
    page
}

fn section(page: &mut String, run: &Run) -> std::fmt::Result {
    write!(
        page,
        "<section><h2>{}</h2><p>{}</p>",
        escape(&run.name),
        escape(&description(&run.settings))
    )?;
    let targets: Vec<&str> = run
        .targets
        .iter()
        .map(|target| target.target.as_str())
        .collect();
    write!(page, "<p>{}</p>", escape(&targets.join(", ")))?;
    for (said, is) in [
        ("Interrupted before its end.", run.interrupted),
        ("Given up: no connection was answered.", run.gave_up),
    ] {
        if is {
            write!(page, "<p>{said}</p>")?;
        }
    }
    background(page, run)?;
    figures(page, run)?;
    page.push_str("<div class=\"plots\">");
    if !run.distribution.bins.is_empty() {
        figure(page, "Latency of a message", &distribution(run), &[]);
        figure(page, "Latency by percentile", &percentiles(run), &[]);
    }
    if !run.timeline.accepted.is_empty() {
        figure(
            page,
            "Messages a second",
            &throughput(run),
            &[("a", "accepted"), ("bad", "failed")],
        );
    }
    if run.timeline.p99.iter().any(Option::is_some) {
        figure(
            page,
            "Latency over time",
            &latency_over_time(run),
            &[("c", "P50"), ("b", "P99")],
        );
    }
    page.push_str("</div>");
    latencies(page, run)?;
    errors(page, &run.errors)?;
    if run.targets.len() > 1 {
        page.push_str(
            "<div class=\"scroll\"><table><tr><th>Target</th><th>Accepted</th><th>Failed</th></tr>",
        );
        for target in &run.targets {
            let (accepted, failed) = (target.accepted, target.failed);
            write!(
                page,
                "<tr><td>{}</td><td>{accepted}</td><td>{failed}</td></tr>",
                escape(&target.target)
            )?;
        }
        page.push_str("</table></div>");
    }
    page.push_str("</section>");
    Ok(())
}

/// What went on beside the load, in a line.
fn background(page: &mut String, run: &Run) -> std::fmt::Result {
    for (name, background) in [
        ("idle connections", &run.idle_connections),
        ("slow clients", &run.slow_clients),
    ] {
        if background.opened + background.failed > 0 {
            let (opened, failed, lost) = (background.opened, background.failed, background.lost);
            write!(
                page,
                "<p>In the background: {opened} {name}; {failed} failed, {lost} ended by the server.</p>"
            )?;
        }
    }
    Ok(())
}

fn figures(page: &mut String, run: &Run) -> std::fmt::Result {
    let messages = &run.messages;
    page.push_str("<div class=\"figures\">");
    let mut one = |class: &str, value: &str, name: &str| {
        write!(
            page,
            "<div class=\"figure {class}\"><b>{value}</b><span>{name}</span></div>"
        )
    };
    let all = messages.accepted + messages.failed;
    let class = if messages.failed > 0 || all == 0 {
        "bad"
    } else {
        ""
    };
    let accepted = format!("{} of {all} accepted", messages.accepted);
    one(
        class,
        &format!("{}&#8239;%", cut(messages.success_rate * 100.0)),
        &accepted,
    )?;
    one(
        "",
        &format!("{:.0}", messages.per_second),
        "messages a second",
    )?;
    one(
        "",
        &format!("{:.2}", run.octets_per_second / 1e6),
        "MB a second",
    )?;
    if let Some(message) = &run.latency.message {
        one("", &time(message.p50), "P50 of a message")?;
        one("", &time(message.p99), "P99")?;
        one("", &time(message.max), "longest")?;
    }
    one(
        "",
        &format!("{:.2} s", run.seconds),
        &format!("over {} connections", run.connections),
    )?;
    page.push_str("</div>");
    Ok(())
}

fn figure(page: &mut String, title: &str, svg: &str, key: &[(&str, &str)]) {
    let keys: String = key
        .iter()
        .map(|(class, name)| format!("<i class=\"{class}\"></i>{name}"))
        .collect();
    let keys = if keys.is_empty() {
        keys
    } else {
        format!("<div class=\"key\">{keys}</div>")
    };
    let _ = write!(page, "<figure><h3>{title}</h3>{svg}{keys}</figure>");
}

fn distribution(run: &Run) -> String {
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
    let x = Axis::logarithmic(from, to, "latency", short_time);
    let y = Axis::linear(float(most), "messages", count);
    plot(
        "How many messages took how long",
        &x,
        &y,
        &[Series::Bars { class: "a", bars }],
    )
}

fn percentiles(run: &Run) -> String {
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
    let y = Axis::logarithmic(least, most, "latency", short_time);
    plot(
        "The latency that so many percent of messages did not exceed",
        &x,
        &y,
        &[Series::Area { class: "c", points }],
    )
}

fn throughput(run: &Run) -> String {
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
    let middle = |(span, rate): (&(f64, f64), &f64)| Some(((span.0 + span.1) / 2.0, *rate));
    let points = spans.iter().zip(&accepted).map(middle).collect();
    let bars = spans
        .iter()
        .zip(&failed)
        .zip(&timeline.failed)
        .map(|((span, rate), count)| (span.0, span.1, *rate, format!("{count} failed")))
        .collect();
    let x = Axis::exact(run.seconds, "seconds", seconds);
    let y = Axis::linear(most, "a second", count);
    let series = [
        Series::Area { class: "a", points },
        Series::Bars { class: "bad", bars },
    ];
    plot(
        "Messages accepted and failed a second, over time",
        &x,
        &y,
        &series,
    )
}

fn latency_over_time(run: &Run) -> String {
    let spans = spans(run);
    let points = |latencies: &[Option<u64>]| -> Vec<Option<(f64, f64)>> {
        let middle = |(span, latency): (&(f64, f64), &Option<u64>)| {
            latency.map(|us| ((span.0 + span.1) / 2.0, float(us.max(1))))
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
    let y = Axis::logarithmic(least, most, "latency", short_time);
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

fn latencies(page: &mut String, run: &Run) -> std::fmt::Result {
    let latency = &run.latency;
    let rows: [(&str, &Option<Summary>); 5] = [
        ("Connect", &latency.connect),
        ("TLS handshake", &latency.tls),
        ("Greeting", &latency.greeting),
        ("Transaction", &latency.transaction),
        ("Whole message", &latency.message),
    ];
    page.push_str("<div class=\"scroll\"><table><tr><th>Latency</th>");
    for name in ["Count", "Mean", "P50", "P90", "P95", "P99", "P99.9", "Max"] {
        write!(page, "<th>{name}</th>")?;
    }
    page.push_str("</tr>");
    for (name, summary) in rows {
        let Some(summary) = summary else { continue };
        write!(page, "<tr><td>{name}</td><td>{}</td>", summary.count)?;
        let Summary {
            mean,
            p50,
            p90,
            p95,
            p99,
            p99_9,
            max,
            ..
        } = *summary;
        for value in [mean, p50, p90, p95, p99, p99_9, max] {
            write!(page, "<td>{}</td>", time(value))?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
    Ok(())
}

fn errors(page: &mut String, errors: &[ErrorCount]) -> std::fmt::Result {
    if errors.is_empty() {
        return Ok(());
    }
    page.push_str("<div class=\"scroll\"><table><tr><th>Failed</th><th class=\"text\">At</th><th class=\"text\">Kind</th>");
    page.push_str("<th class=\"text\">Code</th><th class=\"text\">Example</th></tr>");
    for error in errors {
        let code = error.code.map_or_else(String::new, |code| code.to_string());
        write!(
            page,
            "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td class=\"text\">{code}</td><td class=\"text wide\">{}</td></tr>",
            error.count,
            escape(&error.stage),
            escape(&error.kind),
            escape(&error.example)
        )?;
    }
    page.push_str("</table></div>");
    Ok(())
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

/// A server's reply is anybody's text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
