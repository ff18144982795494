//! What is wrong with a configuration, and where.

use std::fmt;

/// What is wrong with a value, and what would be right; where it was written is for the caller to
/// say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// One mistake in the configuration: a flag, variable, key or file, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Invalid {
    /// The flag, the variable, or the file with its line and key.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

/// The most characters that are shown of a place, or of what is wrong there.
const MAX_SHOWN: usize = 500;

impl Invalid {
    pub fn new(place: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            place: cut(place.into()),
            problem: cut(problem.to_string()),
        }
    }
}

/// A file may hold anything, and an error is one line that somebody reads.
fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// All mistakes that were found in a configuration, one at least.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Invalid>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl From<Invalid> for Mistakes {
    fn from(mistake: Invalid) -> Self {
        Self(vec![mistake])
    }
}
