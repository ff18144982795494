//! Conditions under which a run counts as failed: `p99>50ms`, `failed>0.1%`, `rate<1000`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::{Metric, Run, Spread};

/// A condition on a run's figures that fails it.
///
/// ```
/// use prixfixe_bench::FailIf;
///
/// let condition: FailIf = "p99>50ms".parse()?;
/// assert_eq!(condition.to_string(), "p99>50ms");
/// assert!("p98>50ms".parse::<FailIf>().is_err());
/// # Ok::<(), prixfixe_bench::FailIfError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FailIf {
    /// As it was written.
    text: String,
    metric: Metric,
    operator: Operator,
    /// In the metric's unit.
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Greater,
    AtLeast,
    Less,
    AtMost,
}

/// Why a text is no [`FailIf`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FailIfError {
    /// There is nothing that compares.
    #[error("`{0}` has no <, >, <= or >=; write p99>50ms, failed>0.1% or rate<1000")]
    Operator(String),
    /// There is no such figure.
    #[error("`{0}` is no figure; write p50, p90, p95, p99, p99.9, max, failed or rate")]
    Figure(String),
    /// The limit of a latency.
    #[error("`{0}` is no time; write 50ms, 800us or 1.5s")]
    Time(String),
    /// The limit of failed messages.
    #[error("`{0}` is no number of messages; write 10 or 0.1%")]
    Count(String),
    /// The limit of a rate.
    #[error("`{0}` is no number of messages per second; write 1000")]
    Rate(String),
}

/// A condition that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Broken {
    /// The condition, as it was written.
    pub condition: String,
    /// The name of the run.
    pub run: String,
    /// The value that was measured. Of repeated runs it is the median.
    pub measured: String,
}

impl FailIf {
    /// What is wrong with these runs of one plan, of which the median counts.
    ///
    /// A figure for which there are too few messages cannot be told to be good, so it is not.
    #[must_use]
    pub fn judge(&self, runs: &[&Run]) -> Option<Broken> {
        let run = runs.first()?;
        let measured = match Spread::of(self.metric, runs) {
            Some(spread) if !self.operator.holds(spread.median, self.limit) => return None,
            Some(spread) => self.metric.show(spread.median),
            None => {
                let accepted = run.messages.accepted;
                format!("not measured, as {accepted} accepted messages are too few")
            }
        };
        Some(Broken {
            condition: self.text.clone(),
            run: run.name.clone(),
            measured,
        })
    }

    /// It says which messages may fail.
    #[must_use]
    pub fn is_about_failures(&self) -> bool {
        matches!(self.metric, Metric::Failed | Metric::FailedPercent)
    }
}

impl fmt::Display for FailIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            condition,
            run,
            measured,
        } = self;
        let figure = condition.split(['<', '>']).next().unwrap_or_default();
        write!(f, "{condition}: {} of {run} is {measured}", figure.trim())
    }
}

impl FromStr for FailIf {
    type Err = FailIfError;

    fn from_str(text: &str) -> Result<Self, FailIfError> {
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| FailIfError::Operator(text.to_owned()))?;
        let (name, rest) = text.split_at(at);
        let operators = [
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            (">", Operator::Greater),
            ("<", Operator::Less),
        ];
        let split = |(sign, operator)| Some((operator, rest.strip_prefix(sign)?.trim()));
        let (operator, limit) = operators
            .into_iter()
            .find_map(split)
            .ok_or_else(|| FailIfError::Operator(text.to_owned()))?;
        let (metric, limit) = figure(name.trim(), limit)?;
        Ok(Self {
            text: text.trim().to_owned(),
            metric,
            operator,
            limit,
        })
    }
}

/// The figure of this name, and the limit in its unit.
fn figure(name: &str, limit: &str) -> Result<(Metric, f64), FailIfError> {
    let latency = |metric| Ok((metric, microseconds(limit)?));
    match name.to_ascii_lowercase().as_str() {
        "p50" => latency(Metric::P50),
        "p90" => latency(Metric::P90),
        "p95" => latency(Metric::P95),
        "p99" => latency(Metric::P99),
        "p99.9" => latency(Metric::P99_9),
        "max" => latency(Metric::Max),
        "failed" => {
            let (metric, text) = match limit.strip_suffix('%') {
                Some(percent) => (Metric::FailedPercent, percent.trim_end()),
                None => (Metric::Failed, limit),
            };
            let value = number(text).ok_or_else(|| FailIfError::Count(limit.to_owned()))?;
            Ok((metric, value))
        }
        "rate" => {
            let value = number(limit.strip_suffix("/s").unwrap_or(limit).trim_end());
            let value = value.ok_or_else(|| FailIfError::Rate(limit.to_owned()))?;
            Ok((Metric::Rate, value))
        }
        _ => Err(FailIfError::Figure(name.to_owned())),
    }
}

fn number(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn microseconds(text: &str) -> Result<f64, FailIfError> {
    let units = [
        ("us", 1.0),
        ("\u{b5}s", 1.0),
        ("ms", 1e3),
        ("s", 1e6),
        ("m", 6e7),
    ];
    units
        .into_iter()
        .find_map(|(unit, factor)| Some(number(text.strip_suffix(unit)?.trim_end())? * factor))
        .ok_or_else(|| FailIfError::Time(text.to_owned()))
}

impl Operator {
    fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Greater => measured > limit,
            Self::AtLeast => measured >= limit,
            Self::Less => measured < limit,
            Self::AtMost => measured <= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn conditions_in_every_form() {
        let read = |text: &str| {
            let FailIf { metric, limit, .. } = text.parse().unwrap();
            (metric, limit)
        };
        assert_eq!(read("p99>50ms"), (Metric::P99, 50_000.0));
        assert_eq!(read("P99.9 >= 1.5 s"), (Metric::P99_9, 1_500_000.0));
        assert_eq!(read("max>800us"), (Metric::Max, 800.0));
        assert_eq!(read("max>2m"), (Metric::Max, 120_000_000.0));
        assert_eq!(read("failed>0.1%"), (Metric::FailedPercent, 0.1));
        assert_eq!(read("failed>=1"), (Metric::Failed, 1.0));
        assert_eq!(read("rate<1000"), (Metric::Rate, 1000.0));
        assert_eq!(read("rate <= 1000/s"), (Metric::Rate, 1000.0));
    }

    #[test]
    fn what_is_no_condition_says_what_would_be() {
        type Wrong = fn(String) -> FailIfError;
        let wrong: [(&str, Wrong, &str); 8] = [
            ("", FailIfError::Operator, ""),
            ("p99=50ms", FailIfError::Operator, "p99=50ms"),
            ("p98>50ms", FailIfError::Figure, "p98"),
            ("p99>50", FailIfError::Time, "50"),
            ("p99>-1ms", FailIfError::Time, "-1ms"),
            ("failed>some", FailIfError::Count, "some"),
            ("failed>nan%", FailIfError::Count, "nan%"),
            ("rate<1000/h", FailIfError::Rate, "1000/h"),
        ];
        for (text, error, part) in wrong {
            assert_eq!(
                text.parse::<FailIf>(),
                Err(error(part.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_run_is_judged_by_what_was_measured() {
        let report = report();
        let run = &report.runs[0];
        let broken = |text: &str| {
            let condition: FailIf = text.parse().unwrap();
            condition.judge(&[run]).map(|broken| broken.to_string())
        };
        assert_eq!(broken("p99>2s"), None);
        let said = broken("p99>50ms").unwrap();
        assert_eq!(said, "p99>50ms: p99 of burst-small is 981 ms");
        assert_eq!(broken("failed>1%"), None);
        assert_eq!(
            broken("failed>=0.9%").unwrap(),
            "failed>=0.9%: failed of burst-small is 1.000 %"
        );
        assert_eq!(broken("failed<=9"), None);
        assert_eq!(broken("rate<98"), None);
        assert!(broken("rate<=99").is_some());
        let said = broken("p99.9>2s").unwrap();
        assert!(said.contains("990 accepted messages are too few"), "{said}");
    }
}
