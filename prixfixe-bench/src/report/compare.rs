//! Two sets of runs beside each other: what has changed, and what is within the spread.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::spread::by_name;
use super::{Metric, Run, Spread};

/// These runs beside others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// What was compared with: when it was made, or which server.
    pub with: String,
    /// One for each name among the runs.
    pub runs: Vec<RunComparison>,
}

/// The runs of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunComparison {
    /// The name.
    pub name: String,
    /// Something else was asked for then.
    pub other_settings: bool,
    /// Empty where the other report has no run of this name.
    pub changes: Vec<Change>,
}

/// One figure, old beside new.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Which.
    pub metric: Metric,
    /// Over the runs that are compared with.
    pub old: Spread,
    /// Over the runs of this report.
    pub new: Spread,
    /// From median to median; `None` where the old one is nought.
    pub percent: Option<f64>,
    /// What to make of it.
    pub verdict: Verdict,
}

/// Whether a difference means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// There are fewer than [`MIN_RUNS`] runs of either: ranges of so few miss each other by
    /// chance.
    Unknown,
    /// The ranges overlap: it may well be noise.
    WithinSpread,
    /// Every new run is better than every old one.
    Better,
    /// Every new run is worse than every old one.
    Worse,
}

impl Verdict {
    fn of(metric: Metric, old: &Spread, new: &Spread) -> Self {
        if old.runs < MIN_RUNS || new.runs < MIN_RUNS {
            Self::Unknown
        } else if old.overlaps(new) {
            Self::WithinSpread
        } else if (new.median > old.median) == metric.grows_better() {
            Self::Better
        } else {
            Self::Worse
        }
    }

    /// In words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "too few runs",
            Self::WithinSpread => "within the spread",
            Self::Better => "better",
            Self::Worse => "worse",
        }
    }
}

/// Runs on each side before a difference is called one. The ranges of four and four runs of the
/// same thing miss each other in 2 of 70 cases, those of three in 2 of 20.
pub const MIN_RUNS: usize = 4;

/// Why nothing is said of a difference.
pub(super) const UNKNOWN: &str =
    "Fewer than 4 runs on a side do not tell change from noise: use --repeat 5.";

impl Comparison {
    pub(super) fn of(with: &str, old: &[Run], new: &[Run]) -> Self {
        let old = by_name(old);
        let compare = |(name, new): (&str, Vec<&Run>)| {
            let before = old.iter().find(|(other, _)| *other == name);
            let before = before.map_or(&[][..], |(_, runs)| runs);
            RunComparison {
                name: name.to_owned(),
                other_settings: before
                    .iter()
                    .any(|run| new.iter().any(|it| it.settings != run.settings)),
                changes: changes(before, &new),
            }
        };
        Self {
            with: with.to_owned(),
            runs: by_name(new).into_iter().map(compare).collect(),
        }
    }

    /// True where too few runs are compared.
    pub(super) fn has_unknown(&self) -> bool {
        let mut changes = self.runs.iter().flat_map(|run| &run.changes);
        changes.any(|change| change.verdict == Verdict::Unknown)
    }

    /// In plain text, for a terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = format!("\ncompared with {}\n", self.with);
        for run in &self.runs {
            // Writing to a String cannot fail.
            let _ = write_run(&mut text, run);
        }
        if self.has_unknown() {
            let _ = writeln!(text, "  {UNKNOWN}");
        }
        text
    }
}

fn changes(old: &[&Run], new: &[&Run]) -> Vec<Change> {
    let change = |metric: Metric| {
        let (old, new) = (Spread::of(metric, old)?, Spread::of(metric, new)?);
        let part = (new.median / old.median - 1.0) * 100.0;
        Some(Change {
            metric,
            old,
            new,
            percent: part.is_finite().then_some(part),
            verdict: Verdict::of(metric, &old, &new),
        })
    };
    Metric::COMPARED.into_iter().filter_map(change).collect()
}

impl Change {
    /// The change, for people.
    pub(super) fn percent(&self) -> String {
        match self.percent {
            Some(percent) => format!("{percent:+.1} %"),
            None => "-".to_owned(),
        }
    }

    /// The median, and the range of several runs.
    pub(super) fn side(&self, spread: &Spread) -> String {
        let show = |value| self.metric.show(value);
        if show(spread.min) == show(spread.max) {
            return show(spread.median);
        }
        format!(
            "{} ({} to {})",
            show(spread.median),
            show(spread.min),
            show(spread.max)
        )
    }
}

fn write_run(text: &mut String, run: &RunComparison) -> std::fmt::Result {
    if run.changes.is_empty() {
        return writeln!(text, "  {}: not in the old report", run.name);
    }
    let rows: Vec<(String, String)> = run
        .changes
        .iter()
        .map(|change| (change.side(&change.old), change.side(&change.new)))
        .collect();
    let lengths = rows.iter().flat_map(|(old, new)| [old, new]);
    let width = lengths.map(|side| side.chars().count()).max().unwrap_or(0);
    let width = width.max(12);
    let other = if run.other_settings {
        " (other settings)"
    } else {
        ""
    };
    writeln!(
        text,
        "  {:<14} {:>width$} {:>width$} {:>9}{other}",
        run.name, "old", "new", "change"
    )?;
    for (change, (old, new)) in run.changes.iter().zip(rows) {
        writeln!(
            text,
            "    {:<12} {old:>width$} {new:>width$} {:>9}  {}",
            change.metric.name(),
            change.percent(),
            change.verdict.words()
        )?;
    }
    Ok(())
}
