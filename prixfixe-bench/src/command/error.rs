//! What ends the command without a report.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::{Broken, RunError};

/// Why the command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The arguments ask for what cannot be done: names the argument, and what mends it.
    #[error("{0}")]
    Plan(String),
    /// Conditions of `--fail-if` were met.
    #[error("--fail-if {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Broken(Vec<Broken>),
    /// `bench plan` could not measure.
    #[error("cannot measure: {0}")]
    Measure(String),
    /// The load could not be driven.
    #[error(transparent)]
    Load(#[from] RunError),
    /// The report to compare with cannot be read.
    #[error("--compare {path}: {reason}", path = .path.display())]
    Compare {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A report cannot be made at this place.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A report that was begun cannot be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Signals cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// Standard output is gone or full.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl CommandError {
    /// 2 for what its caller wrote, 1 for what happened while running.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Plan(_) | Self::Compare { .. } | Self::Create { .. } => ExitCode::from(2),
            Self::Broken(_)
            | Self::Measure(_)
            | Self::Load(_)
            | Self::Write { .. }
            | Self::Signals(_)
            | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// What went wrong, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Broken(broken) => broken.iter().map(|it| format!("--fail-if {it}")).collect(),
            _ => vec![self.to_string()],
        }
    }
}
