//! Taking parts of a scenario away while it still fails, and naming what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::scenario::Scenario;

/// What is kept of a scenario: `c3[0,2] c7[1] r0 d1 calm`. Of clients that are not named nothing
/// is, and so for steps, restarts and faults of the disk. `calm`: no jitter, no splits, no late or
/// needless wakes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    clients: BTreeMap<usize, Vec<usize>>,
    restarts: Vec<usize>,
    faults: Vec<usize>,
    calm: bool,
}

/// Not the form of a [`Kept`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotKept(String);

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is none of c3[0,2], r0, d1 and calm", self.0)
    }
}

impl std::error::Error for NotKept {}

impl Kept {
    /// All of it.
    #[must_use]
    pub fn all(scenario: &Scenario) -> Self {
        let steps = |client: &crate::scenario::ClientPlan| {
            client.steps.iter().map(|step| step.number).collect()
        };
        Self {
            clients: scenario
                .clients
                .iter()
                .map(|client| (client.number, steps(client)))
                .collect(),
            restarts: scenario
                .restarts
                .iter()
                .map(|restart| restart.number)
                .collect(),
            faults: scenario
                .disk
                .faults
                .iter()
                .map(|fault| fault.number)
                .collect(),
            calm: false,
        }
    }

    /// The scenario without the rest.
    #[must_use]
    pub fn of(&self, scenario: &Scenario) -> Scenario {
        let mut scenario = scenario.clone();
        scenario
            .clients
            .retain(|client| self.clients.contains_key(&client.number));
        for client in &mut scenario.clients {
            let steps = &self.clients[&client.number];
            client.steps.retain(|step| steps.contains(&step.number));
        }
        scenario
            .restarts
            .retain(|restart| self.restarts.contains(&restart.number));
        scenario
            .disk
            .faults
            .retain(|fault| self.faults.contains(&fault.number));
        if self.calm {
            scenario.network.jitter = 0;
            scenario.network.splits = false;
            scenario.network.stalls = 0;
            scenario.executor.reorder = false;
            scenario.executor.delay = 0;
            scenario.executor.spurious = 0;
            scenario.disk.short_writes = false;
        }
        scenario
    }

    /// The least that still fails, as found with so many runs at the most.
    #[must_use]
    pub fn shrink(
        scenario: &Scenario,
        mut runs: usize,
        mut fails: impl FnMut(&Scenario) -> bool,
    ) -> Self {
        let mut kept = Self::all(scenario);
        let mut fails = |kept: &Self| {
            if runs == 0 {
                return false;
            }
            runs -= 1;
            fails(&kept.of(scenario))
        };
        loop {
            let before = kept.clone();
            let numbers: Vec<usize> = kept.clients.keys().copied().collect();
            let least = fewer(numbers, |numbers| {
                let mut candidate = kept.clone();
                candidate
                    .clients
                    .retain(|number, _| numbers.contains(number));
                fails(&candidate)
            });
            kept.clients.retain(|number, _| least.contains(number));
            kept.restarts = fewer(kept.restarts.clone(), |numbers| {
                fails(&Self {
                    restarts: numbers.to_vec(),
                    ..kept.clone()
                })
            });
            kept.faults = fewer(kept.faults.clone(), |numbers| {
                fails(&Self {
                    faults: numbers.to_vec(),
                    ..kept.clone()
                })
            });
            for number in kept.clients.keys().copied().collect::<Vec<_>>() {
                let least = fewer(kept.clients[&number].clone(), |steps| {
                    let mut candidate = kept.clone();
                    candidate.clients.insert(number, steps.to_vec());
                    fails(&candidate)
                });
                kept.clients.insert(number, least);
            }
            let calm = Self {
                calm: true,
                ..kept.clone()
            };
            if !kept.calm && fails(&calm) {
                kept = calm;
            }
            if kept == before {
                return kept;
            }
        }
    }
}

/// Takes away halves, quarters and so on down to single ones while what is left still fails.
fn fewer(mut items: Vec<usize>, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut size = items.len();
    while size > 0 {
        let mut start = 0;
        while start < items.len() {
            let end = (start + size).min(items.len());
            let rest: Vec<usize> = items[..start]
                .iter()
                .chain(&items[end..])
                .copied()
                .collect();
            if fails(&rest) {
                items = rest;
            } else {
                start = end;
            }
        }
        size /= 2;
    }
    items
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        for (client, steps) in &self.clients {
            let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
            words.push(format!("c{client}[{}]", steps.join(",")));
        }
        words.extend(self.restarts.iter().map(|number| format!("r{number}")));
        words.extend(self.faults.iter().map(|number| format!("d{number}")));
        if self.calm {
            words.push(String::from("calm"));
        }
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Kept {
    type Err = NotKept;

    fn from_str(text: &str) -> Result<Self, NotKept> {
        let mut kept = Self::default();
        for word in text.split_whitespace() {
            let wrong = || NotKept(word.to_owned());
            let number = |digits: &str| digits.parse::<usize>().map_err(|_| wrong());
            if word == "calm" {
                kept.calm = true;
            } else if let Some(digits) = word.strip_prefix('r') {
                kept.restarts.push(number(digits)?);
            } else if let Some(digits) = word.strip_prefix('d') {
                kept.faults.push(number(digits)?);
            } else {
                let (client, steps) = word
                    .strip_prefix('c')
                    .and_then(|rest| rest.split_once('['))
                    .ok_or_else(wrong)?;
                let steps = steps.strip_suffix(']').ok_or_else(wrong)?;
                let steps = steps
                    .split(',')
                    .filter(|step| !step.is_empty())
                    .map(number)
                    .collect::<Result<_, _>>()?;
                kept.clients.insert(number(client)?, steps);
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Size;

    #[test]
    fn what_is_kept_reads_back() {
        let kept: Kept = "c3[0,2] c7[] r0 d1 calm".parse().unwrap();
        assert_eq!(kept.to_string(), "c3[0,2] c7[] r0 d1 calm");
        assert!("c3".parse::<Kept>().is_err());
        assert!("x".parse::<Kept>().is_err());
    }

    #[test]
    fn shrinking_finds_the_one_step_that_is_needed() {
        let scenario = Scenario::generate(1, Size { percent: 10 });
        let busy = scenario.clients.iter().find(|it| it.steps.len() > 1);
        let busy = busy.expect("one of them has something to do");
        let (client, step) = (busy.number, busy.steps[1].number);
        let fails = |scenario: &Scenario| {
            scenario
                .clients
                .iter()
                .any(|it| it.number == client && it.steps.iter().any(|it| it.number == step))
        };
        let kept = Kept::shrink(&scenario, 1000, fails);
        assert_eq!(kept.to_string(), format!("c{client}[{step}] calm"));
    }
}
