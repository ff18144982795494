//! A message on its way into the stream.

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use prixfixe_server::{Digest, Gathered, Message, MessageMemory, header_separator};
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::letter::{headers, payload, subject, wire_size};
use super::link::Session;
use super::objects::Objects;
use super::send::{Letter, Waiting, hand_over, settle};
use crate::domains::Copy;
use crate::{Delivered, Failure, FailureKind};

/// What is published of a mail.
pub(super) struct Post<'a> {
    pub(super) session: &'a Session,
    pub(super) message: &'a Message,
    pub(super) content: &'a Gathered,
    pub(super) digest: Digest,
    /// Below it mail is published.
    pub(super) prefix: &'a str,
    pub(super) bucket: &'a str,
    /// Whoever has no memory for a copy waits for this.
    pub(super) alone: &'a Arc<Semaphore>,
}

/// One that waits for its acknowledgement.
struct Sent {
    index: usize,
    letter: Letter,
    waiting: Waiting,
    _memory: Room,
}

/// A copy before it has a payload.
struct Draft<'a> {
    copy: &'a Copy<'a>,
    headers: HeaderMap,
    trace: Vec<u8>,
    /// With the content behind it. `None`: it is too large, and goes into the bucket.
    whole: Option<usize>,
}

/// Leave to have a copy in memory.
enum Room {
    /// It counts within the memory for messages.
    Counted { _memory: MessageMemory },
    /// None of that is left: one such copy at a time.
    Alone { _permit: OwnedSemaphorePermit },
}

/// Copies under way at once: each is a whole message in memory, which counts within the server's
/// memory for messages.
const WINDOW: usize = 4;

type Outcome = Result<Delivered, Failure>;

impl Post<'_> {
    /// What became of each copy.
    pub(super) async fn publish(&self, copies: &[Copy<'_>]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        outcomes.resize_with(copies.len(), || Err(Failure::unreachable(NOT_TRIED)));
        let mut sent: VecDeque<Sent> = VecDeque::new();
        let mut keep = |index: usize, outcome: Outcome| {
            // Others would have to wait as long for nothing.
            let is_gone = outcome.as_ref().is_err_and(|failure| {
                failure.kind() == FailureKind::Unknown || failure.reply().code() == 451
            });
            if let Some(place) = outcomes.get_mut(index) {
                *place = outcome;
            }
            is_gone
        };
        let mut is_gone = false;
        for (index, copy) in copies.iter().enumerate() {
            let draft = self.draft(copy);
            let mut room = self.room(&draft);
            while sent.len() >= WINDOW || room.is_none() {
                let Some(first) = sent.pop_front() else {
                    break;
                };
                is_gone |= keep(first.index, self.settle(first).await);
                room = room.or_else(|| self.room(&draft));
            }
            if is_gone {
                break;
            }
            match self.send(index, draft, room).await {
                Ok(one) => sent.push_back(one),
                Err(failure) => is_gone |= keep(index, Err(failure)),
            }
        }
        while let Some(one) = sent.pop_front() {
            keep(one.index, self.settle(one).await);
        }
        outcomes
    }

    async fn settle(&self, sent: Sent) -> Outcome {
        let settled = settle(self.session, sent.letter, sent.waiting).await;
        settled.map(|acknowledged| Delivered::saying(words(&acknowledged)))
    }

    async fn send(
        &self,
        index: usize,
        draft: Draft<'_>,
        room: Option<Room>,
    ) -> Result<Sent, Failure> {
        let room = match room {
            Some(room) => room,
            // Nothing of this message has any now, so that nobody waits for itself.
            None => self.alone().await?,
        };
        let letter = self.letter(draft).await?;
        let waiting = hand_over(self.session, &letter).await?;
        Ok(Sent {
            index,
            letter,
            waiting,
            _memory: room,
        })
    }

    fn draft<'c>(&self, copy: &'c Copy<'c>) -> Draft<'c> {
        let size = self.content.size();
        let headers = headers(copy, self.message, &self.digest, size);
        let trace = self.message.trace_headers(copy.recipients.iter().copied());
        let around = wire_size(&headers) + trace.len() + header_separator(b" ").len();
        let whole = usize::try_from((around as u64).saturating_add(size)).ok();
        Draft {
            copy,
            headers,
            trace,
            whole: whole.filter(|whole| *whole <= self.session.limit()),
        }
    }

    /// The memory that a copy takes, if there is so much.
    fn room(&self, draft: &Draft<'_>) -> Option<Room> {
        let memory = self.message.reserve_memory(draft.whole.unwrap_or(0) as u64);
        memory.map(|memory| Room::Counted { _memory: memory })
    }

    async fn alone(&self) -> Result<Room, Failure> {
        let permit = Arc::clone(self.alone).acquire_owned().await;
        // It is never closed.
        let permit = permit.map_err(|_| Failure::unreachable(NOT_TRIED))?;
        Ok(Room::Alone { _permit: permit })
    }

    /// A copy as it is published: whole, or as the name of an object.
    async fn letter(&self, draft: Draft<'_>) -> Result<Letter, Failure> {
        let Draft {
            copy,
            mut headers,
            trace,
            whole,
        } = draft;
        let payload = match whole {
            Some(whole) => payload(trace, self.content.body(), whole)
                .await
                .map_err(Failure::said)?,
            None => {
                let object = self.store(copy).await?;
                headers.insert("Prixfixe-Object", object);
                Bytes::new()
            }
        };
        Ok(Letter {
            subject: subject(self.prefix, &copy.domain),
            headers,
            payload,
        })
    }

    /// Puts the content into the bucket, unless an earlier attempt has. All who get the message
    /// share the object, so that it names recipients only where this copy has all of them.
    async fn store(&self, copy: &Copy<'_>) -> Result<String, Failure> {
        let bucket = Objects::open(self.session, self.bucket).await?;
        let name = self.digest.to_string();
        let object = format!("{}/{name}", self.bucket);
        // What the name stands for never differs. Objects are complete, since their description is
        // stored last.
        if bucket.has(&name).await {
            return Ok(object);
        }
        let has_all = copy.recipients.len() == self.message.envelope().recipients().len();
        let recipients: &[_] = if has_all { &copy.recipients } else { &[] };
        let mut trace = self.message.trace_headers(recipients.iter().copied());
        let mut body = self.content.body();
        let first = body
            .chunk()
            .await
            .map_err(|error| Failure::said(error.into()))?;
        let first = first.unwrap_or_default();
        trace.extend_from_slice(header_separator(&first));
        let mut whole = trace.as_slice().chain(&*first).chain(body);
        bucket.put(name, self.session.limit(), &mut whole).await?;
        Ok(object)
    }
}

const NOT_TRIED: &str = "not tried, since another copy failed";

fn words(acknowledged: &PublishAck) -> String {
    let PublishAck {
        stream, sequence, ..
    } = acknowledged;
    match acknowledged.duplicate {
        true => format!("stream {stream}, sequence {sequence}, a duplicate"),
        false => format!("stream {stream}, sequence {sequence}"),
    }
}
