//! Several runs of the same plan: how far apart they are.

use serde::{Deserialize, Serialize};

use super::{Metric, Run};

/// A figure over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// Runs that have it.
    pub runs: usize,
    /// The least.
    pub min: f64,
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` where no run has the figure.
    #[must_use]
    pub fn of(metric: Metric, runs: &[&Run]) -> Option<Self> {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| metric.of(run)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.get(values.len() / 2)?;
        let before = values.get(values.len().saturating_sub(1) / 2)?;
        Some(Self {
            runs: values.len(),
            min: *values.first()?,
            median: f64::midpoint(*before, *middle),
            max: *values.last()?,
        })
    }

    /// Some value could be of either.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// Runs by name, in the order in which the names first come.
pub(super) fn by_name(runs: &[Run]) -> Vec<(&str, Vec<&Run>)> {
    let mut groups: Vec<(&str, Vec<&Run>)> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|(name, _)| *name == run.name) {
            Some((_, group)) => group.push(run),
            None => groups.push((&run.name, vec![run])),
        }
    }
    groups
}

/// Of runs of the same plan, the one in the middle by throughput.
pub(super) fn typical<'a>(runs: &[&'a Run]) -> Option<&'a Run> {
    let mut sorted = runs.to_vec();
    sorted
        .sort_by(|one, other| f64::total_cmp(&one.messages.per_second, &other.messages.per_second));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}
