//! What became of the mail of the last minute: whether a server that is ready in fact takes what it
//! is sent.

use serde::Serialize;

/// Seconds that are looked at.
pub(super) const SECONDS: u16 = 60;

/// So many have to fail before anything is said: one client's mistake is no trouble of the
/// server's.
const LEAST_FAILED: u64 = 5;

/// Of a hundred messages, how many have to be accepted.
const LEAST_SUCCESS: u64 = 95;

/// Messages of the last minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LastMinute {
    /// Those that were accepted.
    pub(crate) accepted: u64,
    /// Those that failed, by reason, the most frequent first.
    pub(crate) failed: Vec<FailedLately>,
}

/// Messages of the last minute that failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FailedLately {
    /// As in `smtp_messages_failed_total`.
    pub(crate) reason: String,
    pub(crate) count: u64,
}

impl LastMinute {
    /// Of the counters of `/metrics` that count messages, what they gained.
    pub(super) fn new(gained: Vec<(String, u64)>) -> Self {
        let reason = |name: &str| {
            let rest = name.strip_prefix("smtp_messages_failed_total{reason=\"")?;
            Some(rest.strip_suffix("\"}")?.to_owned())
        };
        let accepted = gained
            .iter()
            .find(|(name, _)| name == "smtp_messages_success_total");
        let accepted = accepted.map_or(0, |(_, count)| *count);
        let failed = gained.iter().filter(|(_, count)| *count > 0);
        let failed = failed.filter_map(|(name, count)| {
            let (reason, count) = (reason(name)?, *count);
            Some(FailedLately { reason, count })
        });
        let mut failed: Vec<FailedLately> = failed.collect();
        failed.sort_by_key(|one| std::cmp::Reverse(one.count));
        Self { accepted, failed }
    }

    /// What is wrong; None while nearly all mail is accepted.
    pub(super) fn trouble(&self) -> Option<String> {
        let failed: u64 = self.failed.iter().map(|one| one.count).sum();
        let all = self.accepted + failed;
        if failed < LEAST_FAILED || self.accepted * 100 >= all * LEAST_SUCCESS {
            return None;
        }
        let reasons = self.failed.iter().map(|one| {
            let (reason, count) = (words(&one.reason), one.count);
            format!("{reason} ({count})")
        });
        let reasons: Vec<String> = reasons.collect();
        Some(format!(
            "{} of {all} messages were accepted in the last minute; failed: {}",
            self.accepted,
            reasons.join(", ")
        ))
    }
}

/// A reason as a person says it.
fn words(reason: &str) -> &str {
    match reason {
        "refused" => "refused by a rule or a target",
        "deferred" => "deferred by a rule or a target",
        "storage" => "could not be stored",
        "handler_timeout" => "not delivered in time",
        "handler_panic" => "internal error",
        "too_large" => "too large",
        "bare_line_end" => "bare line ends",
        "loop" => "mail loop",
        "timeout" => "client too slow",
        "connection_lost" => "connection lost",
        "given_up" => "abandoned by the client",
        "shutdown" => "server stopped",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_server::FailureReason;

    use super::*;

    fn last_minute(accepted: u64, failed: &[(&str, u64)]) -> LastMinute {
        let failed = failed.iter().map(|(reason, count)| {
            let name = format!("smtp_messages_failed_total{{reason=\"{reason}\"}}");
            (name, *count)
        });
        let accepted = ("smtp_messages_success_total".to_owned(), accepted);
        LastMinute::new(std::iter::once(accepted).chain(failed).collect())
    }

    #[test]
    fn fifteen_percent_are_trouble_with_its_reasons() {
        let lately = last_minute(42, &[("too_large", 3), ("loop", 0), ("storage", 235)]);
        assert_eq!(
            lately.trouble().as_deref(),
            Some(
                "42 of 280 messages were accepted in the last minute; failed: could not be stored (235), too large (3)"
            )
        );
    }

    #[test]
    fn a_few_failures_are_none() {
        for (accepted, failed) in [(0, 0), (0, 4), (95, 5), (1_000_000, 50_000)] {
            let lately = last_minute(accepted, &[("deferred", failed)]);
            assert_eq!(lately.trouble(), None, "{accepted} {failed}");
        }
        for (accepted, failed) in [(0, 5), (94, 5), (u64::MAX / 200, u64::MAX / 400)] {
            let lately = last_minute(accepted, &[("deferred", failed)]);
            assert!(lately.trouble().is_some(), "{accepted} {failed}");
        }
    }

    #[test]
    fn every_reason_has_words() {
        for reason in FailureReason::ALL {
            let reason = reason.as_str();
            let is_plain = matches!(reason, "shutdown" | "loop" | "refused" | "deferred");
            assert!(is_plain || !words(reason).contains('_'), "{reason}");
        }
    }
}
