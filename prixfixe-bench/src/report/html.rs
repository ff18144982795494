//! The result as one page: no script, nothing fetched from elsewhere.

use std::fmt::Write as _;

use super::overview::{self, COLUMNS};
use super::table::cut;
use super::words::{description, time, time_or_few};
use super::{Comparison, ErrorCount, Report, Run, Summary, compare, picture};
use crate::knee::Knee;

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
    let _ = write_page(&mut page, report);
    page.push_str("</main></body></html>\n");
    page
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    let is_good = report.broken.is_empty() && overview::rows(report).iter().all(|row| !row.failed);
    let class = if is_good { "good" } else { "bad" };
    write!(
        page,
        "<h1>SMTP load test</h1><p class=\"state {class}\">{}</p>",
        escape(&overview::verdict(report))
    )?;
    for broken in report.broken.iter().skip(1) {
        write!(
            page,
            "<p class=\"state bad\">{}</p>",
            escape(&broken.to_string())
        )?;
    }
    write_overview(page, report)?;
    page.push_str("<dl>");
    for (name, value) in overview::origin(report) {
        write!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value))?;
    }
    page.push_str("</dl>");
    if let Some(knee) = &report.knee {
        write_knee(page, knee)?;
    }
    if let Some(comparison) = &report.comparison {
        write_comparison(page, comparison)?;
    }
    write_spreads(page, report)?;
    for run in overview::detailed(report) {
        section(page, run, &overview::title(report, run))?;
    }
    Ok(())
}

fn write_overview(page: &mut String, report: &Report) -> std::fmt::Result {
    let rows = overview::rows(report);
    table(page, &COLUMNS, |page| {
        for row in &rows {
            page.push_str(if row.failed {
                "<tr class=\"bad\">"
            } else {
                "<tr>"
            });
            for cell in &row.cells {
                write!(page, "<td>{}</td>", escape(cell))?;
            }
            page.push_str("</tr>");
        }
        Ok(())
    })
}

fn write_knee(page: &mut String, knee: &Knee) -> std::fmt::Result {
    write!(
        page,
        "<section><h2>Stepped load</h2><p>{}</p><div class=\"plots\">",
        escape(&knee.sentence())
    )?;
    figure(
        page,
        "Latency by rate",
        &picture::knee(knee),
        &[("c", "P50"), ("b", "P99"), ("bad band", "does not hold")],
    );
    page.push_str("</div>");
    let columns = ["due", "accepted", "failed", "P50", "P99", "outcome"];
    table(page, &columns, |page| {
        for step in &knee.steps {
            write!(
                page,
                "<tr><td>{:.0}/s</td><td>{:.0}/s</td><td>{:.2} %</td><td>{}</td><td>{}</td>\
                 <td class=\"text\">{}</td></tr>",
                step.rate,
                step.accepted,
                step.failed_percent,
                time_or_few(step.p50),
                time_or_few(step.p99),
                escape(step.broken.as_deref().unwrap_or("held"))
            )?;
        }
        Ok(())
    })?;
    page.push_str("</section>");
    Ok(())
}

fn write_comparison(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    write!(
        page,
        "<section><h2>Compared</h2><p>With {}.</p>",
        escape(&comparison.with)
    )?;
    if comparison.has_unknown() {
        write!(page, "<p>{}</p>", compare::UNKNOWN)?;
    }
    for run in &comparison.runs {
        let other = if run.changes.is_empty() {
            ": not in the old report"
        } else if run.other_settings {
            " (other settings)"
        } else {
            ""
        };
        write!(page, "<h3>{}{other}</h3>", escape(&run.name))?;
        let columns = ["figure", "old", "new", "change", "verdict"];
        table(page, &columns, |page| {
            for change in &run.changes {
                let words = change.verdict.words();
                write!(
                    page,
                    "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
                     <td class=\"text {words}\">{words}</td></tr>",
                    change.metric.name(),
                    change.side(&change.old),
                    change.side(&change.new),
                    change.percent()
                )?;
            }
            Ok(())
        })?;
    }
    page.push_str("</section>");
    Ok(())
}

fn write_spreads(page: &mut String, report: &Report) -> std::fmt::Result {
    let spreads = overview::spreads(report);
    if spreads.is_empty() {
        return Ok(());
    }
    page.push_str("<section><h2>Spread</h2>");
    for (name, metrics) in spreads {
        let name = escape(name);
        table(page, &[&name, "min", "median", "max"], |page| {
            for (metric, [min, median, max]) in metrics {
                let name = metric.name();
                write!(
                    page,
                    "<tr><td>{name}</td><td>{min}</td><td>{median}</td><td>{max}</td></tr>"
                )?;
            }
            Ok(())
        })?;
    }
    page.push_str("</section>");
    Ok(())
}

/// A table that scrolls where the page is narrow.
fn table(
    page: &mut String,
    columns: &[&str],
    rows: impl FnOnce(&mut String) -> std::fmt::Result,
) -> std::fmt::Result {
    page.push_str("<div class=\"scroll\"><table><tr>");
    for column in columns {
        write!(page, "<th>{column}</th>")?;
    }
    page.push_str("</tr>");
    rows(page)?;
    page.push_str("</table></div>");
    Ok(())
}

fn section(page: &mut String, run: &Run, title: &str) -> std::fmt::Result {
    write!(
        page,
        "<section><h2>{}</h2><p>{}</p>",
        escape(title),
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
        figure(
            page,
            "Latency of a message",
            &picture::distribution(run),
            &[],
        );
        figure(
            page,
            "Latency by percentile",
            &picture::percentiles(run),
            &[],
        );
    }
    if !run.timeline.accepted.is_empty() {
        figure(
            page,
            "Messages per second",
            &picture::throughput(run),
            &[("a", "accepted"), ("bad", "failed")],
        );
    }
    if run.timeline.p99.iter().any(Option::is_some) {
        figure(
            page,
            "Latency over time",
            &picture::latency_over_time(run),
            &[("c", "P50"), ("b", "P99")],
        );
    }
    page.push_str("</div>");
    recipients(page, run)?;
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

/// What recipients were told, where a message has several or LMTP tells each.
fn recipients(page: &mut String, run: &Run) -> std::fmt::Result {
    if run.settings.recipients < 2 && run.settings.protocol != "lmtp" {
        return Ok(());
    }
    let (accepted, refused) = (run.recipients.accepted, run.recipients.refused);
    write!(
        page,
        "<p>Recipients: {accepted} accepted, {refused} refused.</p>"
    )
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
    one("", &format!("{:.0}", messages.per_second), "messages/s")?;
    one("", &format!("{:.2}", run.octets_per_second / 1e6), "MB/s")?;
    if let Some(message) = &run.latency.message {
        one("", &time_or_few(message.p50), "P50 of a message")?;
        one("", &time_or_few(message.p99), "P99")?;
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
        for value in [Some(mean), p50, p90, p95, p99, p99_9, Some(max)] {
            write!(page, "<td>{}</td>", time_or_few(value))?;
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
