//! What an operator sees and does.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use prixfixe_spool::{Disk, MessageId, ReadError};

use super::content;
use super::core::Core;
use super::entry::{EntryId, EntryState, EntryTarget, QueueStatus, SpoolEntry, SpoolStatus};
use super::envelope::StoredEnvelope;
use super::failed::FailedMessage;
use super::queue::JobState;
use super::state::DeliveryState;

/// Why an operator's wish is not granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// There is no such message, or it is over.
    #[error("there is no message {0} in the spool")]
    Unknown(EntryId),
    /// It is in `failed/`, where nothing is tried: it can be shown, exported, retried and removed.
    #[error("{0} lies in failed/: it can be retried or removed")]
    IsFailed(EntryId),
    /// An operator holds it.
    #[error("{0} is held: release it, and it is tried at once")]
    IsHeld(EntryId),
    /// Another process delivers, and it alone can do this.
    #[error("another process delivers from this spool")]
    NotDelivering,
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of `failed/` cannot be worked with.
    #[error("failed/: {0}")]
    Failed(#[from] io::Error),
    /// It cannot be stored again.
    #[error("it cannot be stored again: {0}")]
    Store(String),
    /// What is stored is not understood.
    #[error("{0}")]
    Envelope(String),
}

impl<D: Disk> Core<D> {
    pub(super) fn status(&self) -> SpoolStatus {
        let now = self.now();
        let mut status = SpoolStatus {
            is_delivering: self.is_delivering(),
            failed: self.failed.load(Ordering::Relaxed),
            bytes: self.log.size(),
            max_bytes: self.options().log.max_size,
            ..SpoolStatus::default()
        };
        let queue = self.queue();
        let lanes = queue.lanes();
        let mut targets: Vec<QueueStatus> = lanes
            .iter()
            .map(|lane| QueueStatus {
                is_known: lane.concurrency.is_some(),
                under_way: lane.under_way as u64,
                last_error: lane.last_error.as_deref().map(Into::into),
                given_up: lane.given_up,
                ..QueueStatus::default()
            })
            .collect();
        let time = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        let mut oldest = None::<u64>;
        for (_, received, jobs) in queue.all() {
            oldest = Some(oldest.map_or(received, |it| it.min(received)));
            match state_of(jobs.iter().map(|job| queue.seen(job))) {
                EntryState::Held => status.held += 1,
                EntryState::Waiting => status.waiting += 1,
                _ => status.ready += 1,
            }
            for job in jobs {
                let Some(target) = targets.get_mut(usize::from(job.lane)) else {
                    continue;
                };
                match queue.seen(job) {
                    JobState::Over => continue,
                    JobState::Held => target.held += 1,
                    JobState::Waiting => {
                        target.waiting += 1;
                        let due = time(job.due);
                        target.next_attempt =
                            Some(target.next_attempt.map_or(due, |it| it.min(due)));
                    }
                    _ => target.ready += 1,
                }
                let received = time(received);
                target.oldest = Some(target.oldest.map_or(received, |it| it.min(received)));
            }
        }
        status.oldest = oldest.map(|it| Duration::from_millis(now.saturating_sub(it)));
        let named = lanes.iter().map(|lane| lane.name.to_string()).zip(targets);
        status.targets = named.collect::<BTreeMap<_, _>>();
        status
    }

    /// A message of the log, as an operator sees it.
    pub(super) fn queued_entry(&self, id: MessageId) -> Result<SpoolEntry, OperationError> {
        let stored = self.log.read(id)?;
        let envelope = understood(&stored.envelope)?;
        let queue = self.queue();
        let jobs = queue.jobs(id).ok_or(ReadError::Unknown)?;
        let state = queue
            .state(id)
            .unwrap_or_else(|| DeliveryState::new(&envelope));
        let states: Vec<JobState> = jobs.iter().map(|job| queue.seen(job)).collect();
        let lanes = queue.lanes();
        let known: Vec<bool> = jobs
            .iter()
            .map(|job| {
                let lane = lanes.get(usize::from(job.lane));
                lane.is_some_and(|lane| lane.concurrency.is_some())
            })
            .collect();
        drop(queue);
        let mut targets = Vec::with_capacity(envelope.targets.len());
        let of_jobs = states.iter().zip(&known).zip(&state.targets);
        for (target, ((job, is_known), state)) in envelope.targets.iter().zip(of_jobs) {
            let (mut recipients, mut ended) = (Vec::new(), Vec::new());
            for (place, recipient) in envelope.recipients_of(target).enumerate() {
                match *job == JobState::Over || state.has_ended(place) {
                    true => ended.push(recipient.to.clone()),
                    false => recipients.push(recipient.to.clone()),
                }
            }
            targets.push(EntryTarget {
                name: target.name.clone(),
                is_known: *is_known,
                recipients,
                ended,
                attempts: state.attempts,
                next_attempt: match job {
                    JobState::Waiting => Some(state.next),
                    JobState::Ready | JobState::UnderWay if *is_known => Some(self.now()),
                    _ => None,
                },
                last_error: state.error.clone(),
            });
        }
        let state = state_of(states.into_iter());
        Ok(described(EntryId::Queued(id), state, envelope, targets))
    }

    /// A message in `failed/`, as an operator sees it.
    pub(super) fn failed_entry(&self, name: &str) -> Result<SpoolEntry, OperationError> {
        let id = EntryId::Failed(name.to_owned());
        let failed = self.read_failed(name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OperationError::Unknown(id.clone()),
            _ => error.into(),
        })?;
        let last = failed.recipients.last();
        let target = EntryTarget {
            is_known: self.routes().named(&failed.target).is_some(),
            name: failed.target,
            recipients: failed.recipients.iter().map(|it| it.to.clone()).collect(),
            ended: Vec::new(),
            attempts: last.map_or(0, |it| it.attempts),
            next_attempt: None,
            last_error: last.and_then(|it| it.detail.clone().or_else(|| it.reply.clone())),
        };
        Ok(described(
            id,
            EntryState::Failed,
            failed.envelope,
            vec![target],
        ))
    }

    /// Writes a message, with the headers that a mailbox wants, piece by piece.
    pub(super) fn export(
        &self,
        id: &EntryId,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), OperationError> {
        match id {
            EntryId::Failed(name) => Ok(self.read_failed_content(name, 0, take)?),
            EntryId::Queued(queued) => {
                let stored = self.log.read(*queued).map_err(|error| match error {
                    ReadError::Unknown => OperationError::Unknown(id.clone()),
                    error => error.into(),
                })?;
                let envelope = understood(&stored.envelope)?;
                let all: Vec<u32> = (0..).take(envelope.recipients.len()).collect();
                let message = envelope.message(&all, |it| it);
                let message =
                    message.map_err(|error| OperationError::Envelope(error.to_string()))?;
                take(&message.trace_headers(message.envelope().recipients()))?;
                content::each_piece(stored.content, |piece| {
                    take(piece).map_err(OperationError::from)
                })
            }
        }
    }

    /// Holds a message, or lets it go on.
    pub(super) fn set_held(&self, id: &EntryId, is_held: bool) -> Result<(), OperationError> {
        let queued = self.queued(id)?;
        let is_there = match is_held {
            true => self.queue().hold(queued),
            false => self.queue().release(queued),
        };
        if !is_there {
            return Err(OperationError::Unknown(id.clone()));
        }
        self.store_state(queued);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn remove(&self, id: &EntryId) -> Result<(), OperationError> {
        if let EntryId::Failed(name) = id {
            return self
                .remove_failed(name)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => OperationError::Unknown(id.clone()),
                    _ => error.into(),
                });
        }
        let queued = self.queued(id)?;
        if !self.queue().remove(queued) {
            return Err(OperationError::Unknown(id.clone()));
        }
        self.log.done(queued);
        self.settle();
        Ok(())
    }

    pub(super) fn retry_queued(&self, id: &EntryId) -> Result<(), OperationError> {
        let queued = self.queued(id)?;
        if self.queue().is_held(queued) {
            return Err(OperationError::IsHeld(id.clone()));
        }
        if !self.queue().retry(queued) {
            return Err(OperationError::Unknown(id.clone()));
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Stores a message of `failed/` again, for those who did not get it, and removes it there.
    pub(super) fn retry_failed(self: &Arc<Self>, name: &str) -> Result<(), OperationError> {
        let failed: FailedMessage = self.read_failed(name)?;
        let envelope = failed.again(self.now());
        let mut memory = Vec::new();
        let mut writer = match envelope.size > super::store::IN_RECORD as u64 {
            true => Some(self.log.large()?),
            false => None,
        };
        self.read_failed_content(name, failed.trace, |piece| match &mut writer {
            Some(writer) => writer.write(piece),
            None => {
                memory.extend_from_slice(piece);
                Ok(())
            }
        })?;
        let file = writer.map(|writer| writer.finish()).transpose()?;
        let ticket = self.submit(&envelope, &memory, file);
        ticket
            .wait()
            .map_err(|error| OperationError::Store(error.to_string()))?;
        self.wake.notify_one();
        Ok(self.remove_failed(name)?)
    }

    fn queued(&self, id: &EntryId) -> Result<MessageId, OperationError> {
        match id {
            EntryId::Failed(_) => Err(OperationError::IsFailed(id.clone())),
            EntryId::Queued(_) if !self.is_delivering() => Err(OperationError::NotDelivering),
            EntryId::Queued(id) => Ok(*id),
        }
    }
}

fn understood(bytes: &[u8]) -> Result<StoredEnvelope, OperationError> {
    StoredEnvelope::from_bytes(bytes).map_err(|error| OperationError::Envelope(error.to_string()))
}

fn state_of(mut jobs: impl Iterator<Item = JobState> + Clone) -> EntryState {
    if jobs.clone().any(|it| it == JobState::Held) {
        EntryState::Held
    } else if jobs.any(|it| {
        matches!(
            it,
            JobState::Ready | JobState::UnderWay | JobState::UnderWayThenHeld
        )
    }) {
        EntryState::Ready
    } else {
        EntryState::Waiting
    }
}

fn described(
    id: EntryId,
    state: EntryState,
    envelope: StoredEnvelope,
    targets: Vec<EntryTarget>,
) -> SpoolEntry {
    SpoolEntry {
        id,
        message: envelope.id,
        digest: envelope.digest,
        state,
        from: envelope.from,
        size: envelope.size,
        received: envelope.received,
        targets,
    }
}
