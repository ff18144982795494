//! Stepped load: the highest rate that a server holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::condition::FailIf;
use crate::report::{Metric, Run};
use crate::workload::{Progress, RunError, Workload};

/// Steps at most: with them a search ends, whatever it finds.
const MAX_STEPS: usize = 24;
/// The search ends when the lowest rate that broke is this close above the highest that held.
const CLOSE: f64 = 1.1;
/// A server keeps up that has taken this part of what was due.
const KEEPS_UP: f64 = 0.95;
/// Below this a step would take too long for a percentile.
const LEAST_RATE: f64 = 1.0;
/// A P99 wants 100 messages.
const MESSAGES: f64 = 110.0;
/// However few messages are due, a step is no longer than this.
const LONGEST: Duration = Duration::from_mins(2);

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Knee {
    /// The highest rate that held; `None`: not even the lowest.
    pub found: Option<f64>,
    /// What breaks a step, beside not keeping up.
    pub conditions: Vec<String>,
    /// In the order in which they were tried.
    pub steps: Vec<Step>,
}

/// One rate, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Messages per second that were due.
    pub rate: f64,
    /// Messages per second that were accepted.
    pub accepted: f64,
    /// Messages that failed, in percent.
    pub failed_percent: f64,
    /// The median latency in microseconds.
    pub p50: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// Why it did not hold; `None`: it did.
    pub broken: Option<String>,
}

/// How a knee is searched for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stepping {
    /// The first rate. It is doubled while the server holds it, and halved while it does not.
    pub from: f64,
    /// The time of each step; longer where a percentile needs more messages.
    pub step: Duration,
    /// What breaks a step, beside not keeping up.
    pub conditions: Vec<FailIf>,
}

impl Knee {
    /// What was found, for people.
    pub(crate) fn sentence(&self) -> String {
        let conditions = self.conditions.join(", ");
        let broke = |held: f64| {
            let above = self
                .steps
                .iter()
                .filter(|it| it.broken.is_some() && it.rate > held);
            above.min_by(|one, other| f64::total_cmp(&one.rate, &other.rate))
        };
        match self.found {
            None => format!("No rate held ({conditions})."),
            Some(held) => match broke(held) {
                Some(step) => format!(
                    "Held {held:.0} messages per second; {:.0} broke: {}.",
                    step.rate,
                    step.broken.as_deref().unwrap_or_default()
                ),
                None => {
                    format!("Held {held:.0} messages per second, the highest rate that was tried.")
                }
            },
        }
    }
}

impl Default for Stepping {
    /// From 100 messages per second in steps of 5 seconds; over 100 ms in P99 or more than 0.1 % of
    /// failed messages break one.
    fn default() -> Self {
        let conditions = ["p99>100ms", "failed>0.1%"];
        Self {
            from: 100.0,
            step: Duration::from_secs(5),
            conditions: conditions.iter().filter_map(|it| it.parse().ok()).collect(),
        }
    }
}

impl Stepping {
    /// Runs `workload` at one rate after the other, and tells `each` of every step.
    ///
    /// Gives the knee, and the run at the highest rate that held. Whoever sets `stop` ends the
    /// search with what it has found.
    ///
    /// # Errors
    ///
    /// As [`Workload::run`].
    pub fn find(
        &self,
        mut workload: Workload,
        stop: &AtomicBool,
        mut each: impl FnMut(&Step),
        mut progress: impl FnMut(Progress),
    ) -> Result<(Knee, Option<Run>), RunError> {
        let mut search = Search::new(self.from);
        let (mut best, mut steps) = (None, Vec::new());
        while let Some(rate) = search.next() {
            let step = self
                .step
                .max(Duration::from_secs_f64(MESSAGES / rate))
                .min(LONGEST);
            workload.set_rate(rate, step);
            let run = workload.run(stop, &mut progress)?;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let step = self.judge(rate, &run);
            each(&step);
            let held = step.broken.is_none();
            steps.push(step);
            if search.record(rate, held) {
                best = Some(run);
            }
        }
        let knee = Knee {
            found: search.held,
            conditions: self.conditions.iter().map(ToString::to_string).collect(),
            steps,
        };
        Ok((knee, best))
    }

    fn judge(&self, rate: f64, run: &Run) -> Step {
        let accepted = run.messages.per_second;
        let mut broken = self.conditions.iter().filter_map(|it| it.judge(&[run]));
        let broken = if run.gave_up {
            Some("no connection was answered".to_owned())
        } else if let Some(broken) = broken.next() {
            Some(format!("{} ({})", broken.condition, broken.measured))
        } else if accepted < rate * KEEPS_UP {
            Some("does not keep up".to_owned())
        } else {
            None
        };
        Step {
            rate,
            accepted,
            failed_percent: Metric::FailedPercent.of(run).unwrap_or_default(),
            p50: Metric::P50.of(run),
            p99: Metric::P99.of(run),
            broken,
        }
    }
}

/// Doubles, halves, then bisects on a logarithmic scale.
#[derive(Debug)]
struct Search {
    held: Option<f64>,
    broke: Option<f64>,
    from: f64,
    steps: usize,
}

impl Search {
    fn new(from: f64) -> Self {
        Self {
            held: None,
            broke: None,
            from,
            steps: 0,
        }
    }

    /// The next rate to try; `None`: the search is over.
    fn next(&self) -> Option<f64> {
        if self.steps >= MAX_STEPS {
            return None;
        }
        match (self.held, self.broke) {
            (None, None) => Some(self.from),
            (Some(held), None) => Some(held * 2.0),
            (None, Some(broke)) => Some(broke / 2.0).filter(|rate| *rate >= LEAST_RATE),
            (Some(held), Some(broke)) if broke / held <= CLOSE => None,
            (Some(held), Some(broke)) => Some((held * broke).sqrt().round()),
        }
        .filter(|rate| Some(*rate) != self.held && Some(*rate) != self.broke)
    }

    /// True when it is the highest rate that held so far.
    fn record(&mut self, rate: f64, held: bool) -> bool {
        self.steps += 1;
        if held {
            self.held = Some(rate);
        } else {
            self.broke = Some(rate);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried on a server that holds `most`, and what is found.
    fn search(from: f64, most: f64) -> (Vec<f64>, Option<f64>) {
        let mut search = Search::new(from);
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            tried.push(rate);
            search.record(rate, rate <= most);
        }
        (tried, search.held)
    }

    #[test]
    fn it_doubles_until_it_breaks_and_then_bisects() {
        let (tried, found) = search(100.0, 1000.0);
        assert_eq!(tried[..6], [100.0, 200.0, 400.0, 800.0, 1600.0, 1131.0]);
        let found = found.unwrap();
        assert!((1000.0 / CLOSE..=1000.0).contains(&found), "{found}");
    }

    #[test]
    fn a_first_rate_that_is_too_high_is_halved() {
        let (tried, found) = search(1000.0, 300.0);
        assert_eq!(tried[..3], [1000.0, 500.0, 250.0]);
        let found = found.unwrap();
        assert!((300.0 / CLOSE..=300.0).contains(&found), "{found}");
    }

    #[test]
    fn it_ends_whatever_the_server_does() {
        for most in [0.0, 0.5, 1.0, 3.0, 1e3, 1e9, f64::INFINITY] {
            for from in [0.001, 1.0, 100.0, 1e6] {
                let (tried, found) = search(from, most);
                assert!(tried.len() <= MAX_STEPS, "{from} {most}");
                assert!(found.is_none_or(|found| found <= most), "{from} {most}");
                assert_eq!(found.is_some(), tried.iter().any(|it| *it <= most));
            }
        }
    }
}
