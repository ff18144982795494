//! The log on stderr: one line an event, as text or as JSON.
//!
//! A thread that logs puts its finished line into a queue in memory and goes on; a thread of the
//! log's own writes, many lines at once where they come fast. A stderr that is slow, full or closed
//! delays nobody: lines that find the queue full are dropped, and a line says how many as soon as
//! there is room again.
//!
//! ```no_run
//! use prixfixe_log::{Format, LevelFilter, Logging};
//!
//! # fn main() -> std::io::Result<()> {
//! let logging = Logging::start(Format::Text, LevelFilter::INFO)?;
//! tracing::info!(target: "prixfixe", peer = "192.0.2.1:1024", "connected");
//! // 2026-11-28T03:05:13.681202Z INFO  connected peer=192.0.2.1:1024
//! logging.flush();
//! # Ok(())
//! # }
//! ```
//!
//! What peers send is escaped, and a line is at most 4 KiB: a value that is longer is cut off.
//! Events of other libraries than PrixFixe's are written from warnings on, unless the level is
//! `debug`. Where stderr is the journal of systemd, a line begins with its priority.
#![deny(missing_docs)]

mod clock;
mod format;
mod journal;
mod lines;
mod number;
mod panics;
mod queue;
mod value;

use std::io;
use std::panic;
use std::sync::Arc;
use std::time::Duration;

pub use tracing::level_filters::LevelFilter;

use self::lines::Lines;
use self::queue::Queue;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `TIME LEVEL MESSAGE NAME=VALUE ...`
    #[default]
    Text,
    /// One flat object.
    Json,
}

/// The log that was started.
#[derive(Debug)]
pub struct Logging {
    queue: Queue,
    lines: Arc<Lines>,
}

impl Logging {
    /// From here on events of all threads are written to stderr, and a panic is an event.
    ///
    /// # Errors
    ///
    /// There is no thread, or `tracing` has a subscriber for the whole process already.
    pub fn start(format: Format, level: LevelFilter) -> io::Result<Self> {
        let queue = Queue::start(io::stderr())?;
        let lines =
            Arc::new(Lines::new(queue.clone(), format, level).for_journal(journal::is_stderr()));
        tracing::subscriber::set_global_default(Arc::clone(&lines)).map_err(io::Error::other)?;
        panic::set_hook(Box::new(panics::hook()));
        Ok(Self { queue, lines })
    }

    /// Writes from here on as these say.
    pub fn change(&self, format: Format, level: LevelFilter) {
        self.lines.change(format, level);
    }

    /// Waits, though not for long, until what was logged is written.
    pub fn flush(&self) {
        self.queue.flush(LAST_LINES);
    }

    /// Does the same at the end of whoever has it.
    #[must_use]
    pub fn last_lines(&self) -> LastLines {
        LastLines(self.queue.clone())
    }
}

/// Waits for the last lines when it is dropped.
#[derive(Debug)]
pub struct LastLines(Queue);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
    }
}
