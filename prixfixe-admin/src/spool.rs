//! What waits in the spool, as metrics and for the status page.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use prixfixe_delivery::SpoolStatus;
use prixfixe_server::printable::Printable;
use serde::Serialize;

/// The spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SpoolReport {
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// `spool.max-size`.
    pub(crate) max_bytes: u64,
    /// This process is the one that delivers; another one is during a handover.
    pub(crate) delivering: bool,
    /// Messages, by state.
    pub(crate) ready: u64,
    pub(crate) waiting: u64,
    pub(crate) held: u64,
    pub(crate) failed: u64,
    /// Where they go, by name.
    pub(crate) targets: Vec<QueueReport>,
}

/// What waits for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct QueueReport {
    /// Its configured name.
    pub(crate) name: String,
    /// It is in the configuration. Else its mail is held.
    pub(crate) known: bool,
    pub(crate) ready: u64,
    pub(crate) waiting: u64,
    pub(crate) held: u64,
    /// Recipients that were given up since the start.
    pub(crate) given_up: u64,
    /// The age of the oldest message; null without any.
    pub(crate) oldest_seconds: Option<u64>,
    /// When the next attempt is; null where none waits.
    pub(crate) next_seconds: Option<u64>,
    /// What the last failed attempt said; null since one succeeded.
    pub(crate) error: Option<String>,
}

impl From<&SpoolStatus> for SpoolReport {
    fn from(spool: &SpoolStatus) -> Self {
        let now = SystemTime::now();
        let since = |time: SystemTime| now.duration_since(time).unwrap_or_default();
        let until = |time: SystemTime| time.duration_since(now).unwrap_or_default();
        let targets = spool.targets.iter().map(|(name, queue)| QueueReport {
            name: name.clone(),
            known: queue.is_known,
            ready: queue.ready,
            waiting: queue.waiting,
            held: queue.held,
            given_up: queue.given_up,
            oldest_seconds: queue.oldest.map(|it| since(it).as_secs()),
            next_seconds: queue.next_attempt.map(|it| until(it).as_secs()),
            error: queue
                .last_error
                .as_ref()
                .map(|it| Printable(it).to_string()),
        });
        Self {
            bytes: spool.bytes,
            max_bytes: spool.max_bytes,
            delivering: spool.is_delivering,
            ready: spool.ready,
            waiting: spool.waiting,
            held: spool.held,
            failed: spool.failed,
            targets: targets.collect(),
        }
    }
}

/// Appends the numbers. Names of targets need no escapes: letters, digits, `-` and `_`.
pub(crate) fn encode(text: &mut String, spool: &SpoolStatus) {
    // Writing to a String does not fail.
    let _ = write_all(text, spool);
}

fn write_all(text: &mut String, spool: &SpoolStatus) -> fmt::Result {
    let name = "smtp_spool_messages";
    head(text, name, "Messages in the spool, by state", "gauge")?;
    let states = [
        ("ready", spool.ready),
        ("waiting", spool.waiting),
        ("held", spool.held),
        ("failed", spool.failed),
    ];
    for (state, count) in states {
        writeln!(text, "{name}{{state=\"{state}\"}} {count}")?;
    }
    let name = "smtp_spool_bytes";
    head(text, name, "Bytes of the spool on the disk", "gauge")?;
    writeln!(text, "{name} {}", spool.bytes)?;
    let name = "smtp_spool_oldest_age_seconds";
    let help = "Age of the oldest message that is ready or waits, 0 without any";
    head(text, name, help, "gauge")?;
    let oldest = spool.oldest.unwrap_or(Duration::ZERO).as_secs_f64();
    writeln!(text, "{name} {oldest}")?;
    let name = "smtp_spool_shared";
    let help = "1 where each server of a fleet tells of all of its spool, else 0";
    head(text, name, help, "gauge")?;
    writeln!(text, "{name} {}", u8::from(spool.is_shared))?;
    write_targets(text, spool)
}

fn write_targets(text: &mut String, spool: &SpoolStatus) -> fmt::Result {
    let name = "smtp_spool_target_messages";
    let help = "Messages in the spool that are not over, by target and state";
    head(text, name, help, "gauge")?;
    for (target, queue) in &spool.targets {
        let states = [
            ("ready", queue.ready),
            ("waiting", queue.waiting),
            ("held", queue.held),
        ];
        for (state, count) in states {
            writeln!(
                text,
                "{name}{{target=\"{target}\",state=\"{state}\"}} {count}"
            )?;
        }
    }
    let name = "smtp_spool_target_oldest_age_seconds";
    let help = "Age of the oldest message for the target, 0 without any";
    head(text, name, help, "gauge")?;
    let now = SystemTime::now();
    for (target, queue) in &spool.targets {
        let since = queue.oldest.map(|it| now.duration_since(it));
        let age = since.and_then(Result::ok).unwrap_or_default();
        let age = age.as_secs_f64();
        writeln!(text, "{name}{{target=\"{target}\"}} {age}")?;
    }
    let name = "smtp_spool_given_up_total";
    let help = "Recipients that were given up, by target";
    head(text, name, help, "counter")?;
    for (target, queue) in &spool.targets {
        writeln!(text, "{name}{{target=\"{target}\"}} {}", queue.given_up)?;
    }
    Ok(())
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}")
}
