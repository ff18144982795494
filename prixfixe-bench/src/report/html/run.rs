//! One run on the page: its figures, what it sent to, and what failed.

use std::fmt::Write as _;

use super::{escape, figure};
use crate::report::table::cut;
use crate::report::words::{description, time, time_or_few};
use crate::report::{ErrorCount, Run, Summary, picture};

pub(super) fn section(page: &mut String, run: &Run, title: &str) -> std::fmt::Result {
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
