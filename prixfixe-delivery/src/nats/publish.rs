//! A message on its way into the stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::ObjectMetadata;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{Error, ErrorCode};
use bytes::Bytes;
use prixfixe_server::{Digest, Gathered, Message, MessageMemory, Reply, header_separator};
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::letter::{headers, payload, subject, wire_size};
use super::link::{Session, words_of};
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
}

/// A copy before it has a payload.
struct Draft<'a> {
    copy: &'a Copy<'a>,
    headers: HeaderMap,
    trace: Vec<u8>,
    /// With the content behind it. `None`: it is too large, and goes into the bucket.
    whole: Option<usize>,
}

/// What is sent, to be sent once more where it must.
struct Letter {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    _memory: Room,
}

/// Leave to have a copy in memory.
enum Room {
    /// It counts within the memory for messages.
    Counted { _memory: MessageMemory },
    /// None of that is left: one such copy at a time.
    Alone { _permit: OwnedSemaphorePermit },
}

/// For an acknowledgement.
struct Waiting {
    acknowledgement: PublishAckFuture,
    /// How often the connection was lost before.
    lost: u64,
}

/// Copies under way at once: each is a whole message in memory, which counts within the server's memory for messages.
const WINDOW: usize = 4;

/// The stream is writing an earlier attempt down just now: then this one is soon a duplicate.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);
const CONFLICT_ATTEMPTS: usize = 10;

/// A piece of an object, unless the server takes less.
const CHUNK: usize = 128 << 10;

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
        let letter = self.letter(draft, room).await?;
        let waiting = self.hand_over(&letter).await?;
        Ok(Sent {
            index,
            letter,
            waiting,
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
            whole: whole.filter(|whole| *whole <= self.limit()),
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
    async fn letter(&self, draft: Draft<'_>, room: Room) -> Result<Letter, Failure> {
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
            _memory: room,
        })
    }

    /// The largest message, headers included.
    fn limit(&self) -> usize {
        let server = self.session.context.client().max_payload();
        let stream = self.session.max_message_size;
        stream.map_or(server, |stream| server.min(stream))
    }

    /// Puts the content into the bucket, unless an earlier attempt has. All who get the message share the object, so that it
    /// names recipients only where this copy has all of them.
    async fn store(&self, copy: &Copy<'_>) -> Result<String, Failure> {
        let failed = |what: &str, error: &dyn std::error::Error| {
            let words = format!("{what} of the bucket {}: {}", self.bucket, words_of(error));
            match full(&words) {
                true => Failure::said(Reply::NO_ROOM).because(words),
                false => Failure::unreachable(words),
            }
        };
        let lost = self.losses();
        let bucket = self.session.context.get_object_store(self.bucket).await;
        let bucket = bucket.map_err(|error| failed("cannot get hold", &error))?;
        let name = self.digest.to_string();
        let object = format!("{}/{name}", self.bucket);
        // What the name stands for never differs. Objects are complete, since their description is stored last.
        if bucket.info(&name).await.is_ok_and(|info| !info.deleted) {
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
        let put = bucket.put(
            ObjectMetadata {
                name,
                description: Some("message/rfc822".to_owned()),
                chunk_size: Some(CHUNK.min(self.limit()).max(1)),
                ..ObjectMetadata::default()
            },
            &mut whole,
        );
        tokio::select! {
            stored = put => stored.map_err(|error| failed("cannot store an object", &error))?,
            () = self.lost(lost) => return Err(Failure::unreachable(CONNECTION_LOST)),
        };
        Ok(object)
    }

    async fn hand_over(&self, letter: &Letter) -> Result<Waiting, Failure> {
        // From here on: a connection that is lost before somebody waits takes the acknowledgement along too.
        let lost = self.losses();
        let message = PublishMessage::build()
            .headers(letter.headers.clone())
            .payload(letter.payload.clone());
        let sent = self
            .session
            .context
            .send_publish(letter.subject.clone(), message);
        let acknowledgement = tokio::select! {
            sent = sent => sent.map_err(|error| failure(&error, &letter.subject))?,
            () = self.lost(lost) => return Err(Failure::unreachable(CONNECTION_LOST)),
        };
        Ok(Waiting {
            acknowledgement,
            lost,
        })
    }

    /// Waits for the acknowledgement.
    async fn settle(&self, sent: Sent) -> Outcome {
        let Sent {
            letter,
            mut waiting,
            ..
        } = sent;
        for _ in 0..CONFLICT_ATTEMPTS {
            let answer = tokio::select! {
                biased;
                answer = waiting.acknowledgement.into_future() => answer,
                () = self.lost(waiting.lost) => return Err(Failure::unknown(CONNECTION_LOST)),
            };
            match answer {
                Ok(acknowledged) => return Ok(Delivered::saying(words(&acknowledged))),
                Err(error) if is_conflict(&error) => sleep(CONFLICT_PAUSE).await,
                Err(error) => return Err(failure(&error, &letter.subject)),
            }
            // The attempt before it may succeed all the same.
            waiting = self.hand_over(&letter).await.map_err(in_doubt)?;
        }
        Err(Failure::unknown(
            "another attempt with the same message is under way in the stream",
        ))
    }

    /// How often the connection was lost so far.
    fn losses(&self) -> u64 {
        self.session.lost.borrow().times
    }

    /// Ends when the connection has been lost more often than that: what waits in it is never answered.
    async fn lost(&self, times: u64) {
        let mut lost = self.session.lost.clone();
        // An error: the connection was given up.
        let _ = lost.wait_for(|now| now.times != times).await;
    }
}

/// The same, where the stream may have the message.
fn in_doubt(failure: Failure) -> Failure {
    Failure::unknown(failure.to_string())
}

const NOT_TRIED: &str = "not tried, since another copy failed";
const CONNECTION_LOST: &str = "the connection to the server was lost";

fn words(acknowledged: &PublishAck) -> String {
    let PublishAck {
        stream, sequence, ..
    } = acknowledged;
    match acknowledged.duplicate {
        true => format!("stream {stream}, sequence {sequence}, a duplicate"),
        false => format!("stream {stream}, sequence {sequence}"),
    }
}

fn api_error(error: &PublishError) -> Option<&Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_conflict(error: &PublishError) -> bool {
    let conflict = ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT;
    api_error(error).is_some_and(|error| error.error_code() == conflict)
}

/// What the stream's words mean for the client.
fn failure(error: &PublishError, subject: &str) -> Failure {
    match error.kind() {
        PublishErrorKind::StreamNotFound => {
            Failure::unreachable(format!("no stream takes the subject {subject}"))
        }
        PublishErrorKind::TimedOut => {
            Failure::unknown("the stream did not acknowledge in time: no quorum, or overloaded")
        }
        PublishErrorKind::BrokenPipe => Failure::unknown(CONNECTION_LOST),
        PublishErrorKind::MaxPayloadExceeded => {
            Failure::unreachable("the server's max_payload has just been lowered")
        }
        _ => match api_error(error) {
            Some(refused) => refusal(refused),
            None => Failure::unknown(words_of(error)),
        },
    }
}

fn refusal(error: &Error) -> Failure {
    let words = format!("the stream says {error}");
    let is_full = match error.error_code() {
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED => true,
        _ => full(&words),
    };
    match is_full {
        true => Failure::said(Reply::NO_ROOM).because(words),
        false => Failure::unreachable(words),
    }
}

/// "Stream store failed" has many causes, which only its words tell apart.
fn full(words: &str) -> bool {
    let causes = [
        "maximum messages",
        "maximum bytes",
        "no space left",
        "insufficient resources",
        "insufficient storage",
        "resource limits exceeded",
    ];
    causes.iter().any(|cause| words.contains(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stream_is_told_from_one_that_fails() {
        let error = |text: &str| serde_json::from_str::<Error>(text).unwrap();
        for (text, code) in [
            (
                r#"{"code":503,"err_code":10077,"description":"maximum messages exceeded"}"#,
                452,
            ),
            (
                r#"{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}"#,
                452,
            ),
            (
                r#"{"code":503,"err_code":10077,"description":"maximum messages per subject exceeded"}"#,
                452,
            ),
            (
                r#"{"code":500,"err_code":10077,"description":"write: no space left on device"}"#,
                452,
            ),
            (
                r#"{"code":400,"err_code":10002,"description":"resource limits exceeded for account"}"#,
                452,
            ),
            (
                r#"{"code":503,"err_code":10023,"description":"insufficient resources"}"#,
                452,
            ),
            (
                r#"{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}"#,
                451,
            ),
            (
                r#"{"code":503,"err_code":10077,"description":"input/output error"}"#,
                451,
            ),
            (
                r#"{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}"#,
                451,
            ),
        ] {
            let failure = refusal(&error(text));
            assert_eq!(failure.reply().code(), code, "{text}");
            assert_eq!(failure.kind(), FailureKind::NotNow);
        }
    }
}
