//! One event, one line.
//!
//! Not the formats of `tracing-subscriber`: their lines have no greatest length, and what peers send would have to be
//! escaped before it comes to them.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::value::{write_json, write_message, write_text};
use crate::config::LogFormat;

/// What `tracing` calls the text of an event.
const MESSAGE: &str = "message";

/// The longest line, its line end included.
const MAX_LINE: usize = 4096;

/// How much of a line one value may take.
const MAX_VALUE: usize = 2048;

/// What is kept for names and numbers, and for the ends of values that are cut off.
const KEPT: usize = 768;

/// Formats events as `TIME LEVEL MESSAGE NAME=VALUE ...`, or as one flat JSON object.
///
/// Clones change together.
#[derive(Debug, Clone)]
pub(super) struct LineFormat {
    is_json: Arc<AtomicBool>,
}

impl LineFormat {
    pub(super) fn new(format: LogFormat) -> Self {
        Self {
            is_json: Arc::new(AtomicBool::new(format == LogFormat::Json)),
        }
    }

    pub(super) fn change(&self, format: LogFormat) {
        self.is_json
            .store(format == LogFormat::Json, Ordering::Relaxed);
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line {
            out: &mut out,
            octets: 0,
        };
        if self.is_json.load(Ordering::Relaxed) {
            json(&mut line, event)
        } else {
            text(&mut line, event)
        }
    }
}

/// A way to write a value, with what it may take.
type WriteValue = fn(&mut dyn fmt::Write, usize, fmt::Arguments<'_>) -> fmt::Result;

/// A line under way.
struct Line<'a, 'w> {
    out: &'a mut Writer<'w>,
    octets: usize,
}

impl Line<'_, '_> {
    /// Writes a value into what is left of the line.
    fn value(&mut self, write: WriteValue, value: fmt::Arguments<'_>) -> fmt::Result {
        let room = (MAX_LINE - KEPT).saturating_sub(self.octets);
        write(self, room.min(MAX_VALUE), value)
    }

    fn time(&mut self) -> fmt::Result {
        self.octets += "2026-01-01T00:00:00.000000Z".len();
        SystemTime.format_time(self.out)
    }
}

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.octets += text.len();
        self.out.write_str(text)
    }
}

fn text(out: &mut Line<'_, '_>, event: &Event<'_>) -> fmt::Result {
    out.time()?;
    write!(out, " {:5} ", event.metadata().level())?;
    Fields::visit(event, |name, value| match value {
        Value::Text(value) if name == MESSAGE => out.value(write_message, value),
        _ => Ok(()),
    })?;
    Fields::visit(event, |name, value| {
        if name == MESSAGE {
            return Ok(());
        }
        write!(out, " {name}=")?;
        match value {
            Value::Text(value) => out.value(write_text, value),
            Value::Plain(value) => out.write_fmt(value),
        }
    })?;
    if let Some(target) = foreign_target(event) {
        write!(out, " target={target}")?;
    }
    out.write_char('\n')
}

fn json(out: &mut Line<'_, '_>, event: &Event<'_>) -> fmt::Result {
    out.write_str("{\"timestamp\":\"")?;
    out.time()?;
    write!(out, "\",\"level\":\"{}\"", event.metadata().level())?;
    Fields::visit(event, |name, value| {
        write!(out, ",\"{name}\":")?;
        match value {
            Value::Text(value) => out.value(write_json, value),
            Value::Plain(value) => out.write_fmt(value),
        }
    })?;
    if let Some(target) = foreign_target(event) {
        write!(out, ",\"target\":\"{target}\"")?;
    }
    out.write_str("}\n")
}

/// Where an event comes from, if that isn't us or if it is for those who look for a fault.
fn foreign_target<'a>(event: &Event<'a>) -> Option<&'a str> {
    let metadata = event.metadata();
    let is_ours = metadata.target().starts_with("prixfixe") && *metadata.level() <= Level::INFO;
    (!is_ours).then(|| metadata.target())
}

/// A field's value: text is escaped, a number or a boolean stands as it is.
enum Value<'a> {
    Text(fmt::Arguments<'a>),
    Plain(fmt::Arguments<'a>),
}

/// Gives each field of an event to a function, until one fails.
struct Fields<F> {
    write: F,
    result: fmt::Result,
}

impl<F: FnMut(&str, Value<'_>) -> fmt::Result> Fields<F> {
    fn visit(event: &Event<'_>, write: F) -> fmt::Result {
        let mut fields = Self {
            write,
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result
    }

    fn field(&mut self, field: &Field, value: Value<'_>) {
        if self.result.is_ok() {
            self.result = (self.write)(field.name(), value);
        }
    }
}

impl<F: FnMut(&str, Value<'_>) -> fmt::Result> Visit for Fields<F> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, Value::Text(format_args!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, Value::Text(format_args!("{value}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.field(field, Value::Text(format_args!("{value}")));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, Value::Plain(format_args!("{value}")));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, Value::Plain(format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, Value::Plain(format_args!("{value}")));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.field(field, Value::Plain(format_args!("{value}")));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.field(field, Value::Plain(format_args!("{value}")));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what isn't a number (RFC 8259 section 6).
        match value.is_finite() {
            true => self.field(field, Value::Plain(format_args!("{value}"))),
            false => self.field(field, Value::Text(format_args!("{value}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` logs, without the time, which is checked to be one.
    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(LineFormat::new(format))
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        with_default(subscriber, log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let start = if format == LogFormat::Json {
            "{\"timestamp\":\"".len()
        } else {
            0
        };
        let time = &text[start..start + "2026-01-01T00:00:00.000000Z".len()];
        humantime::parse_rfc3339(time).unwrap();
        text.replace(time, "TIME")
    }

    fn event() {
        let hostile = "evil\r\n\u{202e}\"";
        tracing::info!(
            target: "prixfixe", peer = "[::1]:25", helo = hostile, name = %hostile, list = ?[hostile], size = 7_u64,
            duration = 0.25, tls = false, none = Option::<&str>::None, "message"
        );
    }

    #[test]
    fn text_is_a_message_and_fields() {
        let expected = "TIME INFO  message peer=[::1]:25 helo=\"evil\\r\\n\\u{202e}\\\"\" name=\"evil\\r\\n\\u{202e}\\\"\" \
            list=\"[\\\"evil\\\\r\\\\n\\\\u{202e}\\\\\\\"\\\"]\" size=7 duration=0.25 tls=false\n";
        assert_eq!(logged(LogFormat::Text, event), expected);
    }

    #[test]
    fn json_is_a_flat_object() {
        let line = logged(LogFormat::Json, event);
        let expected = serde_json::json!({
            "timestamp": "TIME", "level": "INFO", "message": "message", "peer": "[::1]:25",
            "helo": "evil\r\n\u{202e}\"", "name": "evil\r\n\u{202e}\"",
            "list": "[\"evil\\r\\n\\u{202e}\\\"\"]",
            "size": 7, "duration": 0.25, "tls": false,
        });
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            expected,
            "{line}"
        );
        assert_eq!(line.find('\n'), Some(line.len() - 1));
    }

    #[test]
    fn a_line_is_at_most_4_kib_and_keeps_its_last_fields() {
        for character in ["x", "\"", "\u{202e}", "\u{e0041}", "\u{fc}"] {
            let long = character.repeat(10_000);
            for format in [LogFormat::Text, LogFormat::Json] {
                let line = logged(format, || {
                    tracing::info!(
                        target: "prixfixe", id = "1", peer = "192.0.2.1:1024", from = %long, recipients = %long, size = 7_u64,
                        duration = 0.25, result = %long, reply = %long, last = "last", "message"
                    );
                });
                // The time is 23 octets longer.
                let octets = line.len() + 23;
                assert!((3000..=4096).contains(&octets), "{octets}: {line}");
                assert!(line.contains("size") && line.contains("last"), "{line}");
                if format == LogFormat::Json {
                    serde_json::from_str::<serde_json::Value>(&line).unwrap();
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_none_are_text_in_json() {
        let line = logged(
            LogFormat::Json,
            || tracing::info!(target: "prixfixe", rate = f64::NAN, "x"),
        );
        assert_eq!(
            line,
            "{\"timestamp\":\"TIME\",\"level\":\"INFO\",\"message\":\"x\",\"rate\":\"NaN\"}\n"
        );
    }

    #[test]
    fn events_of_others_name_their_source() {
        assert_eq!(
            logged(LogFormat::Text, || tracing::warn!(target: "mio", "x")),
            "TIME WARN  x target=mio\n"
        );
        let line = logged(
            LogFormat::Text,
            || tracing::debug!(target: "prixfixe_tls", "x"),
        );
        assert_eq!(line, "TIME DEBUG x target=prixfixe_tls\n");
    }
}
