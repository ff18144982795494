//! The `[log]` table.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::words::{Word, read};

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Format of the log on stderr
    #[arg(id = "log.format", long = "log-format", value_name = "text|json", value_parser = Word::<LogFormat>::default())]
    #[serde(deserialize_with = "read::word")]
    pub format: LogFormat,
    /// Least severe events to log: off, error, warn, info, debug or trace
    #[arg(id = "log.level", long = "log", value_name = "LEVEL", value_parser = Word::<LogLevel>::default())]
    #[serde(deserialize_with = "read::word")]
    pub level: LogLevel,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// From the fewest lines to the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Off,
    Error,
    #[value(alias = "warning")]
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}
