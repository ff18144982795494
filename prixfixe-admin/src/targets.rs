//! What has become of the mail for each target, as metrics.

use std::fmt::{self, Write as _};

use prixfixe_delivery::{AttemptResult, TargetStatus};
use prixfixe_server::printable::Printable;
use serde::Serialize;

/// A target that mail is handed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TargetReport {
    /// Its configured name.
    pub(crate) name: String,
    /// It is at the other end of a connection, or a program.
    pub(crate) remote: bool,
    /// Mail can be handed to it.
    pub(crate) up: bool,
    /// What stands in the way; else null.
    pub(crate) error: Option<String>,
    /// Attempts, by result.
    pub(crate) delivered: u64,
    pub(crate) deferred: u64,
    pub(crate) refused: u64,
    pub(crate) timeout: u64,
}

impl From<&TargetStatus> for TargetReport {
    fn from(target: &TargetStatus) -> Self {
        let [delivered, deferred, refused, timeout] = target.attempts;
        let fault = target.fault.as_ref().map(ToString::to_string);
        Self {
            name: target.name.clone(),
            remote: target.is_remote,
            up: fault.is_none(),
            error: fault.map(|fault| Printable(&fault).to_string()),
            delivered,
            deferred,
            refused,
            timeout,
        }
    }
}

/// Appends the numbers of all targets. Their names need no escapes: letters, digits, `-` and `_`.
pub(super) fn encode(text: &mut String, targets: &[TargetStatus]) {
    // Writing to a String does not fail.
    let _ = write_all(text, targets);
}

fn write_all(text: &mut String, targets: &[TargetStatus]) -> fmt::Result {
    head(
        text,
        "smtp_target_up",
        "1 while mail can be handed to the target, else 0",
        "gauge",
    )?;
    for target in targets {
        let up = u8::from(target.fault.is_none());
        writeln!(text, "smtp_target_up{{target=\"{}\"}} {up}", target.name)?;
    }
    head(
        text,
        "smtp_target_attempts_total",
        "Attempts to hand a message to the target, by result",
        "counter",
    )?;
    for target in targets {
        for (result, count) in AttemptResult::ALL.iter().zip(target.attempts) {
            let (name, result) = (&target.name, result.as_str());
            writeln!(
                text,
                "smtp_target_attempts_total{{target=\"{name}\",result=\"{result}\"}} {count}"
            )?;
        }
    }
    let name = "smtp_target_attempt_duration_seconds";
    let help = "From handing a message to the target to its answer";
    head(text, name, help, "histogram")?;
    for target in targets {
        duration(text, name, target)?;
    }
    Ok(())
}

fn duration(text: &mut String, name: &str, target: &TargetStatus) -> fmt::Result {
    let label = &target.name;
    let mut sum = 0;
    for (bound, count) in &target.durations {
        sum += count;
        writeln!(
            text,
            "{name}_bucket{{target=\"{label}\",le=\"{bound:?}\"}} {sum}"
        )?;
    }
    let (timed, total) = (target.timed, target.total_duration.as_secs_f64());
    writeln!(
        text,
        "{name}_bucket{{target=\"{label}\",le=\"+Inf\"}} {timed}"
    )?;
    writeln!(text, "{name}_sum{{target=\"{label}\"}} {total}")?;
    writeln!(text, "{name}_count{{target=\"{label}\"}} {timed}")
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}")
}
