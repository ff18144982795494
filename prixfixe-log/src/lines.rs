//! Who is told of events, and makes lines of them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, callsite};

use super::format::Line;
use super::journal;
use super::queue::Queue;
use crate::Format;

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

/// Writes each event into the queue, as one line.
///
/// A line names its peer and message itself, so that spans, of which there is one for each question
/// to the handler, would be made for nobody.
#[derive(Debug)]
pub(super) struct Lines {
    queue: Queue,
    is_json: AtomicBool,
    to_journal: bool,
    /// Read where an event is met for the first time, and kept by `tracing`.
    level: RwLock<LevelFilter>,
}

impl Lines {
    pub(super) fn new(queue: Queue, format: Format, level: LevelFilter) -> Self {
        Self {
            queue,
            is_json: AtomicBool::new(format == Format::Json),
            to_journal: false,
            level: RwLock::new(level),
        }
    }

    /// Lines begin with their priority.
    pub(super) fn for_journal(self, to_journal: bool) -> Self {
        Self { to_journal, ..self }
    }

    pub(super) fn change(&self, format: Format, level: LevelFilter) {
        let is_json = format == Format::Json;
        self.is_json.store(is_json, Ordering::Relaxed);
        *self.level.write().unwrap_or_else(PoisonError::into_inner) = level;
        callsite::rebuild_interest_cache();
    }

    fn level(&self) -> LevelFilter {
        *self.level.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &mut Line, event: &Event<'_>) {
        let format = match self.is_json.load(Ordering::Relaxed) {
            true => Format::Json,
            false => Format::Text,
        };
        let prefix = match self.to_journal {
            true => journal::prefix(*event.metadata().level()),
            false => "",
        };
        self.queue
            .push(line.of(prefix, format, SystemTime::now(), event).as_bytes());
    }
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level();
        // What libraries are pleased to tell of themselves is nothing to run a server by.
        let most = match metadata.target().starts_with("prixfixe") || level >= LevelFilter::DEBUG {
            true => level,
            false => level.min(LevelFilter::WARN),
        };
        metadata.is_event() && *metadata.level() <= most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level())
    }

    fn event(&self, event: &Event<'_>) {
        let written = LINE.try_with(|line| {
            let line = line.try_borrow_mut();
            line.map(|mut line| self.write(&mut line, event)).is_ok()
        });
        // A value that logs while it is shown, or a thread at its end.
        if written != Ok(true) {
            self.write(&mut Line::default(), event);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn log() {
        tracing::info!(target: "async_nats", "connected");
        tracing::warn!(target: "async_nats::connection", "slow");
        tracing::info!(target: "prixfixe_delivery::nats", "ours");
    }

    #[test]
    fn a_library_is_heard_from_warnings_on_unless_all_is_asked_for() {
        for (level, expected) in [
            (LevelFilter::ERROR, &[][..]),
            (LevelFilter::WARN, &["slow"]),
            (LevelFilter::INFO, &["slow", "ours"]),
            (LevelFilter::DEBUG, &["connected", "slow", "ours"]),
        ] {
            let written = Written::default();
            let queue = Queue::start(written.clone()).unwrap();
            let lines = Lines::new(queue.clone(), Format::Text, level);
            prixfixe_test_support::listening(lines, log);
            queue.flush(std::time::Duration::from_secs(60));
            let text = written.0.lock().unwrap().clone();
            let text = String::from_utf8(text).unwrap();
            let told: Vec<&str> = ["connected", "slow", "ours"]
                .into_iter()
                .filter(|word| text.contains(word))
                .collect();
            assert_eq!(told, expected, "{level}: {text}");
        }
    }

    #[derive(Clone, Default)]
    struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
