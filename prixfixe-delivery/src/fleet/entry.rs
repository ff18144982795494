//! A message as a person sees it, and what it is called.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::message::StreamMessage;
use jiff::Timestamp;

use super::letter::Stored;
use super::mail::{self, Kept};
use super::names;
use crate::{EntryState, Failure};

/// The name of what stands in a fleet's spool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FleetId {
    /// It waits, is due or is held, for one target or for several: its digest.
    Queued(String),
    /// It was given up for a target: `DIGEST.TARGET`.
    Failed {
        /// Its digest.
        digest: String,
        /// The target.
        target: String,
    },
}

/// A text is no [`FleetId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the id of a message in a fleet's spool: that is a digest of 64 hexadecimal digits, and for one that failed DIGEST.TARGET"
)]
pub struct InvalidFleetId;

/// A message of a fleet's spool, for one of its targets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetEntry {
    /// Its name in the spool.
    pub id: FleetId,
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
    pub target: String,
    /// Who is to get it there.
    pub recipients: Vec<String>,
    /// Attempts that were made.
    pub attempts: u32,
    /// When the next one is, in milliseconds since 1970. `None`: there is none.
    pub next_attempt: Option<u64>,
    /// What the last failed one said.
    pub last_error: Option<String>,
}

/// Why an operator's wish is not granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// There is no such message, or it is over.
    #[error("there is no message {0} in the spool")]
    Unknown(FleetId),
    /// It was given up, and nothing is tried.
    #[error("{0} has failed: it can be retried or removed")]
    IsFailed(FleetId),
    /// The servers are away, or the stream does not keep what it takes.
    #[error("{0}")]
    Away(String),
    /// What is stored is not understood, or its content is gone.
    #[error("{0}")]
    Unreadable(String),
    /// What was found cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<Failure> for FleetError {
    fn from(failure: Failure) -> Self {
        Self::Away(match failure.detail() {
            Some(detail) => detail.to_owned(),
            None => failure.reply().to_string(),
        })
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued(digest) => f.write_str(digest),
            Self::Failed { digest, target } => write!(f, "{digest}.{target}"),
        }
    }
}

impl FromStr for FleetId {
    type Err = InvalidFleetId;

    fn from_str(text: &str) -> Result<Self, InvalidFleetId> {
        let (digest, target) = match text.split_once('.') {
            Some((digest, target)) => (digest, Some(target)),
            None => (text, None),
        };
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digest.len() != 64 || !digest.bytes().all(is_digit) {
            return Err(InvalidFleetId);
        }
        let digest = digest.to_owned();
        match target {
            None => Ok(Self::Queued(digest)),
            Some(target) if names::is_word(target) => Ok(Self::Failed {
                digest,
                target: target.to_owned(),
            }),
            Some(_) => Err(InvalidFleetId),
        }
    }
}

pub(super) fn read(raw: &StreamMessage) -> Result<(Stored, Kept), FleetError> {
    let unreadable = |error: String| FleetError::Unreadable(error);
    let stored = Stored::read(Some(&raw.headers), &raw.payload);
    let stored = stored.map_err(|error| unreadable(error.to_string()))?;
    let kept = Kept::read(&stored.envelope).map_err(|error| unreadable(error.to_string()))?;
    Ok((stored, kept))
}

pub(super) fn entry(raw: &StreamMessage) -> Result<FleetEntry, FleetError> {
    let (stored, kept) = read(raw)?;
    let words: Vec<&str> = raw.subject.split('.').collect();
    let (state, target) = match *words {
        [_, "due", target, ..] => (EntryState::Ready, target),
        [_, "wait", target, ..] => (EntryState::Waiting, target),
        [_, "held", target, ..] => (EntryState::Held, target),
        [_, target, _] => (EntryState::Failed, target),
        _ => return Err(FleetError::Unreadable("it has another subject".to_owned())),
    };
    let id = match state {
        EntryState::Failed => FleetId::Failed {
            digest: stored.digest.clone(),
            target: target.to_owned(),
        },
        _ => FleetId::Queued(stored.digest.clone()),
    };
    let places = kept.places().iter();
    let recipients = places.filter_map(|place| kept.recipient(*place));
    let attempts = match state {
        // The last one is not counted there.
        EntryState::Failed => stored.attempt.saturating_add(1),
        _ => stored.attempt,
    };
    let envelope = kept.envelope();
    Ok(FleetEntry {
        id,
        message: envelope.id.clone(),
        digest: stored.digest,
        state,
        from: envelope.from.clone(),
        size: envelope.size,
        received: envelope.received,
        target: target.to_owned(),
        recipients: recipients.map(|it| it.to.clone()).collect(),
        attempts,
        next_attempt: due_at(raw).map(mail::milliseconds),
        last_error: stored.cause,
    })
}

/// When a message that waits is made due.
pub(super) fn due_at(raw: &StreamMessage) -> Option<SystemTime> {
    let schedule = raw.headers.get("Nats-Schedule")?.as_str();
    let time: Timestamp = schedule.strip_prefix("@at ")?.parse().ok()?;
    let milliseconds = u64::try_from(time.as_millisecond()).ok()?;
    Some(UNIX_EPOCH + Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_reaches_nobody_elses() {
        let digest = "0f".repeat(32);
        for text in [digest.clone(), format!("{digest}.relay")] {
            assert_eq!(
                text.parse::<FleetId>().map(|it| it.to_string()),
                Ok(text.clone())
            );
        }
        for text in [
            String::new(),
            "17-4128".to_owned(),
            "*".to_owned(),
            "0F".repeat(32),
            format!("{digest}."),
            format!("{digest}.*"),
            format!("{digest}.a.b"),
        ] {
            assert_eq!(text.parse::<FleetId>(), Err(InvalidFleetId), "{text}");
        }
    }
}
