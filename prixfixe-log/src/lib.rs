//! The log on stderr: one line an event, as text or as JSON.
//!
//! A thread that logs puts its finished line into a queue in memory and goes on; a thread of the log's own writes, many
//! lines at once where they come fast. A stderr that is slow, full or closed delays nobody: lines that find the queue full are dropped, and a
//! line says how many as soon as there is room again.

mod clock;
mod format;
mod journal;
mod lines;
mod panics;
mod queue;
mod value;

use std::io;
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use self::lines::Lines;
use self::queue::Queue;
use crate::config::{Log, LogLevel};

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log that was started.
pub(crate) struct Logging {
    queue: Queue,
    lines: Arc<Lines>,
}

impl Logging {
    /// From here on events of all threads are written to stderr, and a panic is an event.
    pub(crate) fn start(log: &Log) -> io::Result<Self> {
        let queue = Queue::start(io::stderr())?;
        let lines = Arc::new(
            Lines::new(queue.clone(), log.format, level(log.level))
                .for_journal(journal::is_stderr()),
        );
        tracing::subscriber::set_global_default(Arc::clone(&lines)).map_err(io::Error::other)?;
        panic::set_hook(Box::new(panics::hook()));
        Ok(Self { queue, lines })
    }

    /// Writes from here on as these say.
    pub(crate) fn change(&self, log: &Log) {
        self.lines.change(log.format, level(log.level));
    }

    /// Waits, though not for long, until what was logged is written.
    pub(crate) fn flush(&self) {
        self.queue.flush(LAST_LINES);
    }

    /// Does the same at the end of whoever has it.
    pub(crate) fn last_lines(&self) -> LastLines {
        LastLines(self.queue.clone())
    }
}

/// Waits for the last lines when it is dropped.
pub(crate) struct LastLines(Queue);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
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
