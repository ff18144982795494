//! The log on stderr: one line an event, as text or as JSON.
//!
//! A thread that logs puts its finished line into a queue in memory and goes on; a thread of the log's own writes. A
//! stderr that is slow, full or closed delays nobody: lines that find the queue full are dropped, and a
//! line says how many as soon as there is room again.

mod format;
mod panics;
mod queue;
mod value;

use std::io;
use std::panic;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use self::format::LineFormat;
use self::queue::Queue;
use crate::config::{Log, LogLevel};

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log that was started. Dropping it waits for what was logged until then.
pub(crate) struct Logging {
    queue: Queue,
    format: LineFormat,
    level: reload::Handle<LevelFilter, Registry>,
}

impl Logging {
    /// From here on events of all threads are written to stderr, and a panic is an event.
    pub(crate) fn start(log: &Log) -> io::Result<Self> {
        let queue = Queue::start(io::stderr())?;
        let format = LineFormat::new(log.format);
        let (filter, level) = reload::Layer::new(level(log.level));
        let lines = tracing_subscriber::fmt::layer()
            .event_format(format.clone())
            .with_writer(queue.clone());
        // A line names its peer and message itself, so that spans, of which there is one for each question to the
        // handler, would be made for nobody.
        let events_alone = filter_fn(|metadata| metadata.is_event());
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(events_alone)
            .with(lines);
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        panic::set_hook(Box::new(panics::hook()));
        Ok(Self {
            queue,
            format,
            level,
        })
    }

    /// Writes from here on as these say.
    pub(crate) fn change(&self, log: &Log) {
        self.format.change(log.format);
        // It fails only where the subscriber is gone, and the global one never goes.
        let _ = self.level.reload(level(log.level));
    }

    /// Waits, though not for long, until what was logged is written.
    pub(crate) fn flush(&self) {
        self.queue.flush(LAST_LINES);
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
