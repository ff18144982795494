//! Numbers and settings in the words of the reports.

use super::Settings;
use crate::dialogue::Pipelining;

/// A latency in microseconds for people: three significant digits and a unit.
pub(super) fn time(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        us if us < 1000.0 => (us, "\u{b5}s"),
        us if us < 1_000_000.0 => (us / 1000.0, "ms"),
        us => (us / 1_000_000.0, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A latency that may have had too few values.
pub(super) fn time_or_few(microseconds: Option<f64>) -> String {
    microseconds.map_or_else(|| TOO_FEW.to_owned(), time)
}

/// In place of a percentile without values for it.
pub(super) const TOO_FEW: &str = "too few";

/// A number of bytes for people.
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..1024 => format!("{number} bytes"),
        n if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n if n < 1 << 20 => format!("{:.1} KiB", float(n) / 1024.0),
        n => format!("{:.1} MiB", float(n) / 1_048_576.0),
    }
}

/// What was asked for, in a line.
pub(super) fn description(settings: &Settings) -> String {
    let mut parts = Vec::new();
    if settings.protocol == "lmtp" {
        parts.push("LMTP".to_owned());
    }
    let size = if settings.smallest == settings.largest {
        bytes(settings.smallest)
    } else {
        format!(
            "{} to {}",
            bytes(settings.smallest),
            bytes(settings.largest)
        )
    };
    parts.push(match settings.messages {
        Some(messages) => format!("{messages} messages of {size}"),
        None => format!("messages of {size}"),
    });
    if let Some(seconds) = settings.duration_seconds {
        parts.push(format!("for {seconds} s"));
    }
    if let Some(rate) = settings.rate {
        parts.push(format!("{rate} per second"));
    }
    parts.push(format!("{} connections", settings.concurrency));
    match settings.per_connection {
        Some(1) => parts.push("a connection a message".to_owned()),
        Some(most) => parts.push(format!("{most} messages a connection")),
        None => {}
    }
    if settings.recipients > 1 {
        parts.push(format!("{} recipients", settings.recipients));
    }
    parts.push(match settings.pipelining {
        Pipelining::Off => "not pipelined".to_owned(),
        Pipelining::Envelope => "envelopes pipelined".to_owned(),
        Pipelining::Full => "pipelined".to_owned(),
    });
    if settings.transfer == "bdat" {
        parts.push("by BDAT".to_owned());
    }
    match settings.tls.as_str() {
        "implicit" => parts.push("TLS".to_owned()),
        "starttls" => parts.push("STARTTLS".to_owned()),
        _ => {}
    }
    parts.join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}
