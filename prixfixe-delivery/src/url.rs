//! Where mail goes, as an operator writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A delivery target: `maildir:PATH`, `discard:` or `stdout:`.
///
/// ```
/// use prixfixe_delivery::TargetUrl;
///
/// let target: TargetUrl = "maildir:/var/mail/incoming".parse()?;
/// assert_eq!(target, TargetUrl::Maildir("/var/mail/incoming".into()));
/// assert_eq!(target.to_string(), "maildir:/var/mail/incoming");
/// assert!("maildir:".parse::<TargetUrl>().is_err());
/// # Ok::<(), prixfixe_delivery::ParseTargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetUrl {
    /// Every message is a file in the Maildir at this path. A relative one is relative to the working directory
    /// at the time when the Maildir is opened.
    Maildir(PathBuf),
    /// Messages are counted and dropped.
    Discard,
    /// Every message is a line of JSON on the standard output.
    Stdout,
}

/// A text that names no delivery target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTargetError {
    /// It has no kind before a colon.
    #[error("{0:?} is no delivery target: write maildir:PATH, discard: or stdout:")]
    NoKind(String),
    /// Its kind is none of ours.
    #[error("unknown kind of delivery target {0:?}: write maildir:PATH, discard: or stdout:")]
    UnknownKind(String),
    /// `maildir:` without a path.
    #[error("maildir: needs the path of a directory, such as maildir:./mail")]
    NoPath,
    /// `discard:` or `stdout:` with something behind it.
    #[error("{kind}: takes nothing behind the colon, {rest:?} was found there")]
    Unexpected {
        /// The kind of target.
        kind: &'static str,
        /// What was behind the colon.
        rest: String,
    },
}

impl FromStr for TargetUrl {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text
            .split_once(':')
            .ok_or_else(|| ParseTargetError::NoKind(text.to_owned()))?;
        let alone = |kind, target| match rest {
            "" => Ok(target),
            _ => Err(ParseTargetError::Unexpected {
                kind,
                rest: rest.to_owned(),
            }),
        };
        match kind {
            "maildir" if rest.is_empty() => Err(ParseTargetError::NoPath),
            "maildir" => Ok(Self::Maildir(PathBuf::from(rest))),
            "discard" => alone("discard", Self::Discard),
            "stdout" => alone("stdout", Self::Stdout),
            _ => Err(ParseTargetError::UnknownKind(kind.to_owned())),
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Discard => f.write_str("discard:"),
            Self::Stdout => f.write_str("stdout:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_read_and_written_the_same() {
        for text in ["maildir:./mail", "maildir:/a b/c:d", "discard:", "stdout:"] {
            assert_eq!(
                text.parse::<TargetUrl>().map(|target| target.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn an_error_names_what_is_wrong_and_what_would_be_right() {
        let cases = [
            (
                "",
                "\"\" is no delivery target: write maildir:PATH, discard: or stdout:",
            ),
            (
                "./mail",
                "\"./mail\" is no delivery target: write maildir:PATH, discard: or stdout:",
            ),
            (
                "mbox:x",
                "unknown kind of delivery target \"mbox\": write maildir:PATH, discard: or stdout:",
            ),
            (
                "maildir:",
                "maildir: needs the path of a directory, such as maildir:./mail",
            ),
            (
                "discard:x",
                "discard: takes nothing behind the colon, \"x\" was found there",
            ),
            (
                "stdout:-",
                "stdout: takes nothing behind the colon, \"-\" was found there",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(
                text.parse::<TargetUrl>().expect_err(text).to_string(),
                message
            );
        }
    }
}
