//! The latest messages that were accepted, for people.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prixfixe_core::{ForwardPath, ReversePath};

use super::recent::Address;
use crate::MessageId;

/// How many are kept.
pub(super) const KEPT: usize = 200;

/// How many of a second are listed, of those that the threads of a shard took. Nobody reads more,
/// and the list must not cost a busy server anything.
pub(super) const LISTED_PER_SECOND: u64 = 50;

/// A message that was accepted, as it is told to people. Its texts are
/// [printable](crate::printable).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedMessage {
    /// When its client was told so.
    pub time: SystemTime,
    /// The id in its reply, its `Received` header and the log.
    pub id: MessageId,
    /// The address of the client, where it has one.
    pub client: Option<IpAddr>,
    /// The sender; empty for the null reverse-path.
    pub sender: String,
    /// The first recipient.
    pub recipient: Option<String>,
    /// How many recipients there are.
    pub recipients: usize,
    /// Bytes of content.
    pub size: u64,
    /// From MAIL to the reply.
    pub duration: Duration,
}

/// The same, as it is noted: it is made a text only when somebody asks.
#[derive(Debug)]
pub(crate) struct AcceptedNote {
    pub(crate) id: MessageId,
    pub(crate) client: Option<IpAddr>,
    pub(crate) sender: ReversePath,
    pub(crate) recipient: Option<ForwardPath>,
    pub(crate) recipients: usize,
    pub(crate) size: u64,
    pub(crate) duration: Duration,
}

/// A ring of notes.
#[derive(Debug, Default)]
pub(super) struct LatestAccepted {
    notes: Mutex<VecDeque<(SystemTime, AcceptedNote)>>,
}

impl LatestAccepted {
    pub(super) fn note(&self, note: AcceptedNote) {
        let mut notes = self.lock();
        if notes.len() >= KEPT {
            notes.pop_front();
        }
        notes.push_back((SystemTime::now(), note));
    }

    /// The latest first.
    pub(super) fn messages(&self) -> Vec<AcceptedMessage> {
        let notes = self.lock();
        notes.iter().rev().map(AcceptedMessage::from).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(SystemTime, AcceptedNote)>> {
        // A note is there or not, whatever happened to its thread.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<&(SystemTime, AcceptedNote)> for AcceptedMessage {
    fn from((time, note): &(SystemTime, AcceptedNote)) -> Self {
        let recipient = note.recipient.clone().map(Address::Path);
        Self {
            time: *time,
            id: note.id,
            client: note.client,
            sender: Address::Path(note.sender.clone()).shown(),
            recipient: recipient.as_ref().map(Address::shown),
            recipients: note.recipients,
            size: note.size,
            duration: note.duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_come_first() {
        let latest = LatestAccepted::default();
        let ids: Vec<MessageId> = (0..KEPT + 10)
            .map(|_| MessageId::new(SystemTime::now()))
            .collect();
        for id in &ids {
            latest.note(AcceptedNote {
                id: *id,
                client: None,
                sender: ReversePath::Null,
                recipient: Some(ForwardPath::Postmaster),
                recipients: 1,
                size: 5,
                duration: Duration::ZERO,
            });
        }
        let kept: Vec<MessageId> = latest.messages().iter().map(|it| it.id).collect();
        let expected: Vec<MessageId> = ids.into_iter().rev().take(KEPT).collect();
        assert_eq!(kept, expected);
    }
}
