//! Two reports beside each other.

use std::fmt::Write as _;

use super::words::time;
use super::{Report, Run};

/// The runs that both have, old beside new.
pub(super) fn compare(old: &Report, new: &Report) -> String {
    let mut text = format!("\ncompared with {}\n", old.started);
    for run in &new.runs {
        let found = old.runs.iter().find(|before| before.name == run.name);
        // Writing to a String cannot fail.
        let _ = match found {
            Some(before) => pair(&mut text, before, run),
            None => writeln!(text, "  {}: not in the old report", run.name),
        };
    }
    text
}

fn pair(text: &mut String, old: &Run, new: &Run) -> std::fmt::Result {
    let other = if old.settings == new.settings {
        ""
    } else {
        " (other settings)"
    };
    writeln!(
        text,
        "  {:<14} {:>12} {:>12} {:>9}{other}",
        new.name, "old", "new", "change"
    )?;
    let (before, after) = (old.messages.per_second, new.messages.per_second);
    row(
        text,
        "messages/s",
        &format!("{before:.0}"),
        &format!("{after:.0}"),
        before,
        after,
    )?;
    let (before, after) = (old.octets_per_second / 1e6, new.octets_per_second / 1e6);
    row(
        text,
        "MB/s",
        &format!("{before:.2}"),
        &format!("{after:.2}"),
        before,
        after,
    )?;
    if let (Some(before), Some(after)) = (&old.latency.message, &new.latency.message) {
        let rows = [
            ("P50", before.p50, after.p50),
            ("P90", before.p90, after.p90),
            ("P99", before.p99, after.p99),
            ("P99.9", before.p99_9, after.p99_9),
            ("max", before.max, after.max),
        ];
        for (name, before, after) in rows {
            row(text, name, &time(before), &time(after), before, after)?;
        }
    }
    writeln!(
        text,
        "    {:<12} {:>12} {:>12}",
        "failed", old.messages.failed, new.messages.failed
    )
}

fn row(
    text: &mut String,
    name: &str,
    old: &str,
    new: &str,
    before: f64,
    after: f64,
) -> std::fmt::Result {
    let change = if before > 0.0 {
        format!("{:+.1} %", (after / before - 1.0) * 100.0)
    } else {
        "-".to_owned()
    };
    writeln!(text, "    {name:<12} {old:>12} {new:>12} {change:>9}")
}
