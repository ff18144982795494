//! The log, as the configuration has it.

use std::io;

use prixfixe_config::{Log, LogFormat, LogLevel};
use prixfixe_log::{Format, LevelFilter, Logging};

/// From here on events of all threads are written to stderr, and a panic is an event.
pub(crate) fn start(log: &Log) -> io::Result<Logging> {
    Logging::start(format(log.format), level(log.level))
}

/// Writes from here on as these say.
pub(crate) fn change(logging: &Logging, log: &Log) {
    logging.change(format(log.format), level(log.level));
}

fn format(format: LogFormat) -> Format {
    match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
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
