//! A value as somebody wrote it, with where it was written.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A value before it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    /// A dotted key of a configuration file and its line, from 1.
    File {
        path: Arc<Path>,
        line: usize,
        key: String,
    },
}

/// What is wrong with the configuration: a flag, variable, key or file, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Invalid {
    /// The flag, the variable, or the file with its line and key.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl Given {
    /// What the text means to `parse`.
    pub(crate) fn parse<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Invalid> {
        parse(&self.text).map_err(|problem| self.origin.invalid(problem))
    }
}

impl Origin {
    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Invalid {
        Invalid {
            place: self.to_string(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => f.write_str(variable),
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
        }
    }
}
