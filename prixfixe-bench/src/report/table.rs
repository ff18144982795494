//! The result for a terminal.

use std::fmt::Write as _;

use super::overview::{self, COLUMNS};
use super::words::{description, time, time_or_few};
use super::{Report, Run, Summary};
use crate::knee::Knee;

/// All of it, the overview first.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, report);
    text
}

/// One run, in plain text.
pub(super) fn table(run: &Run) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_run(&mut text, run, &run.name);
    text
}

fn write_report(text: &mut String, report: &Report) -> std::fmt::Result {
    write_overview(text, report)?;
    for (name, value) in overview::origin(report) {
        writeln!(text, "  {name:<8} {value}")?;
    }
    if let Some(knee) = &report.knee {
        write_knee(text, knee)?;
    }
    for (name, metrics) in overview::spreads(report) {
        writeln!(
            text,
            "\n{name:<16} {:>12} {:>12} {:>12}",
            "min", "median", "max"
        )?;
        for (metric, [min, median, max]) in metrics {
            writeln!(
                text,
                "  {:<14} {min:>12} {median:>12} {max:>12}",
                metric.name()
            )?;
        }
    }
    for run in overview::detailed(report) {
        writeln!(text)?;
        write_run(text, run, &overview::title(report, run))?;
    }
    if let Some(comparison) = &report.comparison {
        text.push_str(&comparison.to_table());
    }
    Ok(())
}

fn write_overview(text: &mut String, report: &Report) -> std::fmt::Result {
    let rows = overview::rows(report);
    if rows.is_empty() {
        return writeln!(text, "no run came to its end");
    }
    let lengths = rows.iter().map(|row| row.cells[0].chars().count());
    let width = lengths.max().unwrap_or(0).max(12);
    let titles = COLUMNS.map(str::to_owned);
    for [name, rest @ ..] in std::iter::once(&titles).chain(rows.iter().map(|row| &row.cells)) {
        write!(text, "{name:<width$}")?;
        rest.iter()
            .try_for_each(|cell| write!(text, " {cell:>9}"))?;
        writeln!(text)?;
    }
    writeln!(text)
}

fn write_knee(text: &mut String, knee: &Knee) -> std::fmt::Result {
    writeln!(text, "\n{}", knee.sentence())?;
    writeln!(
        text,
        "  {:>9} {:>9} {:>9} {:>9} {:>9}",
        "due", "accepted", "failed", "P50", "P99"
    )?;
    for step in &knee.steps {
        let broken = step.broken.as_deref().unwrap_or("held");
        writeln!(
            text,
            "  {:>7.0}/s {:>7.0}/s {:>7.2} % {:>9} {:>9}  {broken}",
            step.rate,
            step.accepted,
            step.failed_percent,
            time_or_few(step.p50),
            time_or_few(step.p99)
        )?;
    }
    Ok(())
}

fn write_run(text: &mut String, run: &Run, title: &str) -> std::fmt::Result {
    let messages = &run.messages;
    writeln!(text, "{title}: {}", description(&run.settings))?;
    let all = messages.accepted + messages.failed;
    let percent = messages.success_rate * 100.0;
    writeln!(
        text,
        "  accepted    {} of {all} ({} %)",
        messages.accepted,
        cut(percent)
    )?;
    let recipients = &run.recipients;
    if run.settings.recipients > 1 || run.settings.protocol == "lmtp" {
        writeln!(
            text,
            "  recipients  {} accepted, {} refused",
            recipients.accepted, recipients.refused
        )?;
    }
    let megabytes = run.octets_per_second / 1e6;
    writeln!(
        text,
        "  throughput  {:.0} messages/s, {megabytes:.2} MB/s, in {:.2} s",
        messages.per_second, run.seconds
    )?;
    writeln!(text, "  connections {}", run.connections)?;
    for (name, background) in [("idle", &run.idle_connections), ("slow", &run.slow_clients)] {
        if background.opened + background.failed > 0 {
            let sent = if name == "slow" {
                format!(", {} messages", background.messages)
            } else {
                String::new()
            };
            let (opened, failed, lost) = (background.opened, background.failed, background.lost);
            writeln!(
                text,
                "  {name:<11} {opened} opened, {failed} failed, {lost} ended by the server{sent}"
            )?;
        }
    }
    if run.interrupted {
        writeln!(text, "  interrupted before its end")?;
    }
    if run.gave_up {
        writeln!(
            text,
            "  given up: no connection was answered within {} s",
            run.settings.timeout_seconds
        )?;
    }
    write_latencies(text, run)?;
    if run.targets.len() > 1 {
        writeln!(
            text,
            "\n  {:<32} {:>10} {:>10}",
            "target", "accepted", "failed"
        )?;
        for target in &run.targets {
            writeln!(
                text,
                "  {:<32} {:>10} {:>10}",
                target.target, target.accepted, target.failed
            )?;
        }
    }
    write_errors(text, run)
}

fn write_latencies(text: &mut String, run: &Run) -> std::fmt::Result {
    let latency = &run.latency;
    let rows: [(&str, &Option<Summary>); 5] = [
        ("connect", &latency.connect),
        ("TLS", &latency.tls),
        ("greeting", &latency.greeting),
        ("transaction", &latency.transaction),
        ("message", &latency.message),
    ];
    if rows.iter().all(|(_, summary)| summary.is_none()) {
        return Ok(());
    }
    let header = ["P50", "P90", "P95", "P99", "P99.9", "max"];
    write!(text, "\n  {:<12}", "latency")?;
    header
        .iter()
        .try_for_each(|name| write!(text, "{name:>10}"))?;
    writeln!(text)?;
    for (name, summary) in rows {
        if let Some(summary) = summary {
            write!(text, "  {name:<12}")?;
            let values = [
                summary.p50,
                summary.p90,
                summary.p95,
                summary.p99,
                summary.p99_9,
            ];
            values
                .iter()
                .try_for_each(|value| write!(text, "{:>10}", time_or_few(*value)))?;
            writeln!(text, "{:>10}", time(summary.max))?;
        }
    }
    Ok(())
}

fn write_errors(text: &mut String, run: &Run) -> std::fmt::Result {
    if run.errors.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n  {:<10} {:<10} {:<17} {:<5} example",
        "failed", "at", "kind", "code"
    )?;
    for error in &run.errors {
        let code = error
            .code
            .map_or_else(|| "-".to_owned(), |code| code.to_string());
        writeln!(
            text,
            "  {:<10} {:<10} {:<17} {code:<5} {}",
            error.count, error.stage, error.kind, error.example
        )?;
    }
    Ok(())
}

/// Two digits, cut off rather than rounded: 99.999 % is not 100 %.
pub(super) fn cut(percent: f64) -> String {
    format!("{:.2}", (percent * 100.0).floor() / 100.0)
}
