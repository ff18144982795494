//! All runs at a glance: the first table of every report.

use super::spread::{by_name, typical};
use super::table::cut;
use super::words::{time, time_or_few};
use super::{Metric, Report, Run, Spread};

/// The titles of the columns.
pub(super) const COLUMNS: [&str; 8] = [
    "run", "accepted", "failed", "rate", "MB/s", "P50", "P99", "P99.9",
];

/// One line of it.
#[derive(Debug)]
pub(super) struct Row {
    /// In the order of [`COLUMNS`].
    pub(super) cells: [String; 8],
    pub(super) failed: bool,
}

/// One row for each name; of runs that were repeated, the medians.
pub(super) fn rows(report: &Report) -> Vec<Row> {
    let groups = by_name(&report.runs);
    groups.iter().map(|(name, runs)| row(name, runs)).collect()
}

fn row(name: &str, runs: &[&Run]) -> Row {
    let messages = || runs.iter().map(|run| run.messages);
    let accepted: u64 = messages().map(|it| it.accepted).sum();
    let failed: u64 = messages().map(|it| it.failed).sum();
    let median = |metric| Spread::of(metric, runs).map(|spread| spread.median);
    let latency = |metric| time_or_few(median(metric));
    let name = match runs.len() {
        1 => name.to_owned(),
        count => format!("{name} (median of {count})"),
    };
    let rate = median(Metric::Rate).unwrap_or_default();
    let bytes = median(Metric::Bytes).unwrap_or_default() / 1e6;
    Row {
        cells: [
            name,
            accepted.to_string(),
            failed.to_string(),
            format!("{rate:.0}/s"),
            format!("{bytes:.2}"),
            latency(Metric::P50),
            latency(Metric::P99),
            latency(Metric::P99_9),
        ],
        failed: failed > 0 || accepted == 0,
    }
}

/// A figure with its least, its median and its greatest value, for people.
pub(super) type SpreadRow = (Metric, [String; 3]);

/// The figures of runs that were repeated, by their names.
pub(super) fn spreads(report: &Report) -> Vec<(&str, Vec<SpreadRow>)> {
    let groups = by_name(&report.runs).into_iter();
    let repeated = groups.filter(|(_, runs)| runs.len() > 1);
    repeated
        .map(|(name, runs)| {
            let row = |metric: Metric| {
                let spread = Spread::of(metric, &runs)?;
                let values = [spread.min, spread.median, spread.max];
                Some((metric, values.map(|value| metric.show(value))))
            };
            (name, Metric::COMPARED.into_iter().filter_map(row).collect())
        })
        .collect()
}

/// The runs whose details are told: of those that were repeated, the typical one, and each in which
/// something failed.
pub(super) fn detailed(report: &Report) -> Vec<&Run> {
    let mut detailed = Vec::new();
    for (_, runs) in by_name(&report.runs) {
        let middle = typical(&runs).map(|run| run.repetition);
        let told = |run: &&Run| Some(run.repetition) == middle || run.messages.failed > 0;
        detailed.extend(runs.into_iter().filter(told));
    }
    detailed
}

/// What a run is called among those of its name.
pub(super) fn title(report: &Report, run: &Run) -> String {
    let count = report.runs.iter().filter(|it| it.name == run.name).count();
    if count > 1 {
        format!("{}, run {} of {count}", run.name, run.repetition)
    } else {
        run.name.clone()
    }
}

/// What reproduces the figures: names and values.
pub(super) fn origin(report: &Report) -> Vec<(&'static str, String)> {
    let mut origin = vec![
        ("tool", report.tool.clone()),
        ("started", report.started.clone()),
    ];
    if let Some(command) = &report.command {
        origin.push(("command", command.clone()));
    }
    origin.push(("host", report.host.to_string()));
    let mut servers: Vec<String> = Vec::new();
    for target in report.runs.iter().flat_map(|run| &run.targets) {
        let greeting = target.greeting.as_deref().unwrap_or("no greeting");
        let server = format!("{}, {greeting}", target.target);
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    origin.extend(servers.into_iter().map(|server| ("server", server)));
    origin
}

/// Whether everything that was to be delivered was, in a sentence.
pub(super) fn verdict(report: &Report) -> String {
    if let Some(broken) = report.broken.first() {
        return broken.to_string();
    }
    let (accepted, failed) = report.runs.iter().fold((0, 0), |(accepted, failed), run| {
        (
            accepted + run.messages.accepted,
            failed + run.messages.failed,
        )
    });
    let longest = report.runs.iter().filter_map(|run| Metric::Max.of(run));
    let longest = longest.fold(0.0, f64::max);
    match (accepted, failed) {
        (0, 0) => "No message was sent.".to_owned(),
        (0, _) => "No message was accepted.".to_owned(),
        (accepted, 0) => format!(
            "All {accepted} messages were accepted, the longest after {}.",
            time(longest)
        ),
        (accepted, failed) => {
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let part = accepted as f64 / (accepted + failed) as f64;
            format!(
                "{failed} messages failed; {} % were accepted.",
                cut(part * 100.0)
            )
        }
    }
}
