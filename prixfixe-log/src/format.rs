//! One event, one line.
//!
//! Not the formats of `tracing-subscriber`: their lines have no greatest length, and what peers
//! send would have to be escaped before it comes to them.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::clock::Clock;
use super::number;
use super::value::{write_json, write_message, write_text};
use crate::Format;

/// What `tracing` calls the text of an event.
const MESSAGE: &str = "message";

/// The longest line, its line end included.
const MAX_LINE: usize = 4096;

/// How much of a line one value may take.
const MAX_VALUE: usize = 2048;

/// What is kept for names and numbers, and for the ends of values that are cut off.
const KEPT: usize = 768;

/// A line under way. It is written over again and again, so that no line allocates.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    clock: Clock,
}

impl Line {
    /// The event as `TIME LEVEL MESSAGE NAME=VALUE ...`, or as one flat JSON object.
    /// Behind a prefix.
    pub(super) fn of(
        &mut self,
        prefix: &str,
        format: Format,
        now: SystemTime,
        event: &Event<'_>,
    ) -> &str {
        self.text.clear();
        self.text.push_str(prefix);
        match format {
            Format::Text => self.write_as_text(now, event),
            Format::Json => self.write_as_json(now, event),
        }
        &self.text
    }

    fn write_as_text(&mut self, now: SystemTime, event: &Event<'_>) {
        let text = &mut self.text;
        self.clock.write(text, now);
        text.push_str(match *event.metadata().level() {
            Level::ERROR => " ERROR ",
            Level::WARN => " WARN  ",
            Level::INFO => " INFO  ",
            Level::DEBUG => " DEBUG ",
            Level::TRACE => " TRACE ",
        });
        let start = text.len();
        event.record(&mut Fields(
            |name: &'static str, value: Value<'_>| match value {
                Value::Text(value) if name == MESSAGE => message(text, start, value),
                _ => {
                    text.push(' ');
                    text.push_str(name);
                    text.push('=');
                    match value {
                        Value::Text(value) => write_text(text, room(text), value),
                        plain => write_plain(text, plain),
                    }
                }
            },
        ));
        if let Some(target) = foreign_target(event) {
            text.push_str(" target=");
            text.push_str(target);
        }
        text.push('\n');
    }

    fn write_as_json(&mut self, now: SystemTime, event: &Event<'_>) {
        let text = &mut self.text;
        text.push_str("{\"timestamp\":\"");
        self.clock.write(text, now);
        text.push_str("\",\"level\":\"");
        text.push_str(event.metadata().level().as_str());
        text.push('"');
        event.record(&mut Fields(|name: &'static str, value: Value<'_>| {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":");
            match value {
                Value::Text(value) => write_json(text, room(text), value),
                plain => write_plain(text, plain),
            }
        }));
        if let Some(target) = foreign_target(event) {
            text.push_str(",\"target\":\"");
            text.push_str(target);
            text.push('"');
        }
        text.push_str("}\n");
    }
}

/// What the next value may take of a line.
fn room(line: &str) -> usize {
    (MAX_LINE - KEPT).saturating_sub(line.len()).min(MAX_VALUE)
}

/// The message stands before the fields, wherever it is among them: as a rule it is the first.
fn message(line: &mut String, start: usize, value: fmt::Arguments<'_>) {
    let end = line.len();
    write_message(line, room(line), value);
    if end > start {
        let message = line.split_off(end);
        line.insert_str(start, &message);
    }
}

/// What is never escaped.
fn write_plain(line: &mut String, value: Value<'_>) {
    match value {
        Value::Unsigned(value) => number::write_unsigned(line, value),
        Value::Float(value) => number::write_float(line, value),
        Value::Text(value) | Value::Plain(value) => {
            // A string takes all, and numbers give no errors.
            let _ = line.write_fmt(value);
        }
    }
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
    Unsigned(u64),
    /// A finite one.
    Float(f64),
}

/// Gives each field of an event to a function.
struct Fields<F>(F);

impl<F: FnMut(&'static str, Value<'_>)> Visit for Fields<F> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field.name(), Value::Text(format_args!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field.name(), Value::Text(format_args!("{value}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        (self.0)(field.name(), Value::Text(format_args!("{value}")));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field.name(), Value::Plain(format_args!("{value}")));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field.name(), Value::Plain(format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field.name(), Value::Unsigned(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        (self.0)(field.name(), Value::Plain(format_args!("{value}")));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        (self.0)(field.name(), Value::Plain(format_args!("{value}")));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what isn't a number (RFC 8259 section 6).
        match value.is_finite() {
            true => (self.0)(field.name(), Value::Float(value)),
            false => (self.0)(field.name(), Value::Text(format_args!("{value}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::level_filters::LevelFilter;

    use super::super::lines::Lines;
    use super::super::queue::Queue;
    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` logs, without the time, which is checked to be one.
    fn logged(format: Format, log: impl FnOnce()) -> String {
        let lines = Written::default();
        let queue = Queue::start(lines.clone()).unwrap();
        let level = LevelFilter::TRACE;
        prixfixe_test_support::listening(Lines::new(queue.clone(), format, level), log);
        queue.flush(Duration::from_secs(60));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let start = if format == Format::Json {
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
        assert_eq!(logged(Format::Text, event), expected);
    }

    #[test]
    fn json_is_a_flat_object() {
        let line = logged(Format::Json, event);
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
            for format in [Format::Text, Format::Json] {
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
                if format == Format::Json {
                    serde_json::from_str::<serde_json::Value>(&line).unwrap();
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_none_are_text_in_json() {
        let line = logged(
            Format::Json,
            || tracing::info!(target: "prixfixe", rate = f64::NAN, "x"),
        );
        assert_eq!(
            line,
            "{\"timestamp\":\"TIME\",\"level\":\"INFO\",\"message\":\"x\",\"rate\":\"NaN\"}\n"
        );
    }

    #[test]
    fn a_message_among_the_fields_stands_before_them() {
        let line = logged(
            Format::Text,
            || tracing::info!(target: "prixfixe", a = 1, message = "x", b = "\""),
        );
        assert_eq!(line, "TIME INFO  x a=1 b=\"\\\"\"\n");
    }

    #[test]
    fn a_value_that_fails_is_as_long_as_it_came() {
        struct Fails;
        impl fmt::Display for Fails {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("so far")?;
                Err(fmt::Error)
            }
        }
        let line = logged(
            Format::Json,
            || tracing::info!(target: "prixfixe", a = %Fails, b = 1, "x"),
        );
        let end = "\"message\":\"x\",\"a\":\"so far\",\"b\":1}\n";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn events_of_others_name_their_source() {
        assert_eq!(
            logged(Format::Text, || tracing::warn!(target: "mio", "x")),
            "TIME WARN  x target=mio\n"
        );
        let line = logged(
            Format::Text,
            || tracing::debug!(target: "prixfixe_tls", "x"),
        );
        assert_eq!(line, "TIME DEBUG x target=prixfixe_tls\n");
    }
}
