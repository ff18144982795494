//! What policy has found, as metrics.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prixfixe_policy::Observer;

/// Upper bounds in seconds: from an answer in the cache to a DNS that does not answer.
const BOUNDS: [f64; 9] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// How often each check has found what. Checks and results are few, and words of ours.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<BTreeMap<&'static str, Check>>);

#[derive(Debug, Default)]
struct Check {
    results: BTreeMap<String, u64>,
    /// In each bucket alone, not in those below it.
    buckets: [u64; BOUNDS.len()],
    total: Duration,
    count: u64,
}

impl Observer for Numbers {
    fn observed(&self, check: &'static str, result: &str, took: Duration) {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let check = checks.entry(check).or_default();
        match check.results.get_mut(result) {
            Some(count) => *count += 1,
            None => drop(check.results.insert(result.into(), 1)),
        }
        let mut buckets = BOUNDS.iter().zip(&mut check.buckets);
        if let Some((_, bucket)) = buckets.find(|(bound, _)| took.as_secs_f64() <= **bound) {
            *bucket += 1;
        }
        check.total += took;
        check.count += 1;
    }
}

impl prixfixe_admin::Numbers for Numbers {
    fn encode(&self, text: &mut String) {
        // Writing to a String does not fail.
        let _ = self.write(text);
    }
}

impl Numbers {
    fn write(&self, text: &mut String) -> fmt::Result {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "smtp_policy_total";
        writeln!(
            text,
            "# HELP {name} What checks of senders and clients found."
        )?;
        writeln!(text, "# TYPE {name} counter")?;
        for (check, numbers) in checks.iter() {
            for (result, count) in &numbers.results {
                writeln!(
                    text,
                    "{name}{{check=\"{check}\",result=\"{result}\"}} {count}"
                )?;
            }
        }
        let name = "smtp_policy_duration_seconds";
        writeln!(text, "# HELP {name} From a check's question to its answer.")?;
        writeln!(text, "# TYPE {name} histogram")?;
        for (check, numbers) in checks.iter() {
            let mut sum = 0;
            for (bound, count) in BOUNDS.iter().zip(numbers.buckets) {
                sum += count;
                writeln!(
                    text,
                    "{name}_bucket{{check=\"{check}\",le=\"{bound:?}\"}} {sum}"
                )?;
            }
            let (count, total) = (numbers.count, numbers.total.as_secs_f64());
            writeln!(
                text,
                "{name}_bucket{{check=\"{check}\",le=\"+Inf\"}} {count}"
            )?;
            writeln!(text, "{name}_sum{{check=\"{check}\"}} {total}")?;
            writeln!(text, "{name}_count{{check=\"{check}\"}} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_counted_by_check_and_result() {
        let numbers = Numbers::default();
        numbers.observed("spf", "pass", Duration::from_micros(300));
        numbers.observed("spf", "pass", Duration::from_millis(3));
        numbers.observed("spf", "fail", Duration::from_secs(60));
        let mut text = String::new();
        prixfixe_admin::Numbers::encode(&numbers, &mut text);
        for line in [
            "smtp_policy_total{check=\"spf\",result=\"fail\"} 1",
            "smtp_policy_total{check=\"spf\",result=\"pass\"} 2",
            "smtp_policy_duration_seconds_bucket{check=\"spf\",le=\"0.0001\"} 0",
            "smtp_policy_duration_seconds_bucket{check=\"spf\",le=\"0.0005\"} 1",
            "smtp_policy_duration_seconds_bucket{check=\"spf\",le=\"10.0\"} 2",
            "smtp_policy_duration_seconds_bucket{check=\"spf\",le=\"+Inf\"} 3",
            "smtp_policy_duration_seconds_count{check=\"spf\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
