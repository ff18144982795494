//! The result as one page: no script, nothing fetched from elsewhere.

use std::fmt::Write as _;

use super::overview::{self, COLUMNS};
use super::words::time_or_few;
use super::{Comparison, Report, compare, picture};
use crate::knee::Knee;

mod run;

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
        run::section(page, run, &overview::title(report, run))?;
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
