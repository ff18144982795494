//! The result for a terminal.

use std::fmt::Write as _;

use super::words::{description, time};
use super::{Run, Summary};

/// One run, in plain text.
pub(super) fn table(run: &Run) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_run(&mut text, run);
    text
}

fn write_run(text: &mut String, run: &Run) -> std::fmt::Result {
    let messages = &run.messages;
    writeln!(text, "{}: {}", run.name, description(&run.settings))?;
    let all = messages.accepted + messages.failed;
    let percent = messages.success_rate * 100.0;
    writeln!(
        text,
        "  accepted    {} of {all} ({} %)",
        messages.accepted,
        cut(percent)
    )?;
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
                summary.max,
            ];
            values
                .iter()
                .try_for_each(|value| write!(text, "{:>10}", time(*value)))?;
            writeln!(text)?;
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
