//! The queue as an operator sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use prixfixe_spool::MessageId;
use serde::Serialize;

/// The name of a message of a spool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EntryId {
    /// It is in the log: `17-4128`.
    Queued(MessageId),
    /// It lies in `failed/`, under this name: `17-4128.hook`.
    Failed(String),
}

/// A text is no [`EntryId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the id of a message in the spool: examples are 17-4128 and, for one in failed/, 17-4128.hook"
)]
pub struct InvalidEntryId;

/// A message of a spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SpoolEntry {
    /// Its name in the spool.
    #[serde(serialize_with = "as_text")]
    pub id: EntryId,
    /// The name that it had in its `250`.
    pub message: String,
    /// Its digest.
    pub digest: String,
    /// Whether it is tried now, later, or not at all.
    pub state: EntryState,
    /// The sender; empty for the null reverse-path.
    pub from: String,
    /// Bytes of its content.
    pub size: u64,
    /// When it was received, in milliseconds since 1970.
    pub received: u64,
    /// Where it goes.
    pub targets: Vec<EntryTarget>,
}

/// What is going on with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EntryState {
    /// It is under way, or is next.
    Ready,
    /// An attempt has failed, and the next one has its time.
    Waiting,
    /// An operator holds it.
    Held,
    /// It lies in `failed/`.
    Failed,
}

/// A target of a message, and how far that delivery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryTarget {
    /// Its configured name.
    pub name: String,
    /// False: there is no such target now. Its mail is kept.
    pub is_known: bool,
    /// Those for whom it is not over.
    pub recipients: Vec<String>,
    /// Those for whom it is.
    pub ended: Vec<String>,
    /// Attempts that were made.
    pub attempts: u32,
    /// When the next one is, in milliseconds since 1970. `None`: there is none.
    pub next_attempt: Option<u64>,
    /// What the last failed one said.
    pub last_error: Option<String>,
}

/// A spool at one moment, for metrics and a status page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// This process delivers.
    pub is_delivering: bool,
    /// It is a fleet's: each of its servers tells of all of it.
    pub is_shared: bool,
    /// Messages under way, or next.
    pub ready: u64,
    /// Messages that wait for the time of their next attempt.
    pub waiting: u64,
    /// Messages that an operator holds, or whose target is unknown.
    pub held: u64,
    /// Messages in `failed/`.
    pub failed: u64,
    /// Bytes on the disk, without those of `failed/`.
    pub bytes: u64,
    /// The most bytes with which messages are taken.
    pub max_bytes: u64,
    /// How long ago the oldest message that is not over was received.
    pub oldest: Option<Duration>,
    /// By target.
    pub targets: BTreeMap<String, QueueStatus>,
}

/// The queue of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// False: there is no such target now. Its mail is kept.
    pub is_known: bool,
    /// Messages under way.
    pub under_way: u64,
    /// Messages that are next, those under way included.
    pub ready: u64,
    /// Messages that wait for the time of their next attempt.
    pub waiting: u64,
    /// Messages that an operator holds; of an unknown target, all.
    pub held: u64,
    /// When the oldest of them was received.
    pub oldest: Option<SystemTime>,
    /// When the next attempt is, of those that wait.
    pub next_attempt: Option<SystemTime>,
    /// What the last failed attempt said; `None` since one succeeded.
    pub last_error: Option<String>,
    /// Recipients that were given up, since the start.
    pub given_up: u64,
}

fn as_text<S: serde::Serializer>(id: &EntryId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued(id) => id.fmt(f),
            Self::Failed(name) => name.fmt(f),
        }
    }
}

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    fn from_str(text: &str) -> Result<Self, InvalidEntryId> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Queued(id));
        }
        // It becomes the name of a file.
        let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        let (id, rest) = text.split_once('.').ok_or(InvalidEntryId)?;
        let fits = id.parse::<MessageId>().is_ok()
            && !rest.is_empty()
            && rest.chars().all(is_plain)
            && text.len() <= 200;
        fits.then(|| Self::Failed(text.to_owned()))
            .ok_or(InvalidEntryId)
    }
}

impl fmt::Display for EntryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_is_no_way_out_of_a_directory() {
        for text in ["17-4128", "17-4128.hook", "17-4128.hook.2"] {
            assert_eq!(
                text.parse::<EntryId>().map(|it| it.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "",
            "17",
            "hook",
            "17-4128.",
            "17-4128./x",
            "../17-4128.x",
            "17-4128.\u{e4}",
        ] {
            assert_eq!(text.parse::<EntryId>(), Err(InvalidEntryId), "{text}");
        }
    }
}
