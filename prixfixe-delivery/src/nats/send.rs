//! One message on its way into a stream, and the stream's answer.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{Error, ErrorCode};
use bytes::Bytes;
use prixfixe_server::Reply;
use tokio::time::sleep;

use super::answers::{Awaited, InUse};
use super::link::{Session, words_of};
use crate::Failure;

/// What is sent, to be sent once more where it must.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// For an acknowledgement.
pub(crate) struct Waiting {
    acknowledgement: PublishAckFuture,
    /// How often the connection was lost before.
    losses: u64,
    /// Between the sending and the waiting, too.
    _use: InUse,
}

/// The stream is writing an earlier attempt down just now: then this one is soon a duplicate.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);
const CONFLICT_ATTEMPTS: usize = 10;

pub(crate) const CONNECTION_LOST: &str = "the connection to the server was lost";

/// Sends it. The answer comes later.
pub(crate) async fn hand_over(session: &Session, letter: &Letter) -> Result<Waiting, Failure> {
    // From here on: a connection that is lost before somebody waits takes the acknowledgement along
    // too.
    let losses = session.losses();
    let in_use = InUse::begin(&session.answers);
    let message = PublishMessage::build()
        .headers(letter.headers.clone())
        .payload(letter.payload.clone());
    let sent = session
        .context
        .send_publish(letter.subject.clone(), message);
    let acknowledgement = tokio::select! {
        sent = sent => sent.map_err(|error| failure(&error, &letter.subject))?,
        () = session.is_lost_since(losses) => return Err(Failure::unreachable(CONNECTION_LOST)),
    };
    Ok(Waiting {
        acknowledgement,
        losses,
        _use: in_use,
    })
}

/// Waits for the acknowledgement.
pub(crate) async fn settle(
    session: &Session,
    letter: Letter,
    mut waiting: Waiting,
) -> Result<PublishAck, Failure> {
    for _ in 0..CONFLICT_ATTEMPTS {
        let awaited = Awaited::begin(&session.answers);
        let answer = tokio::select! {
            biased;
            answer = waiting.acknowledgement.into_future() => answer,
            () = session.is_lost_since(waiting.losses) => return Err(Failure::unknown(CONNECTION_LOST)),
        };
        if is_answer(&answer) {
            awaited.answered();
        }
        match answer {
            Ok(acknowledged) => return Ok(acknowledged),
            Err(error) if is_conflict(&error) => sleep(CONFLICT_PAUSE).await,
            Err(error) => return Err(failure(&error, &letter.subject)),
        }
        // The attempt before it may succeed all the same.
        waiting = hand_over(session, &letter).await.map_err(in_doubt)?;
    }
    Err(Failure::unknown(
        "another attempt with the same message is under way in the stream",
    ))
}

/// The same, where the stream may have the message.
fn in_doubt(failure: Failure) -> Failure {
    Failure::unknown(failure.to_string())
}

/// Whether the stream has said something, be it no.
fn is_answer(answer: &Result<PublishAck, PublishError>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => api_error(error).is_some_and(is_of_stream),
    }
}

/// A leader that has lost the others still says from its memory that an attempt is under way.
fn is_of_stream(error: &Error) -> bool {
    error.error_code() != ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT
}

fn api_error(error: &PublishError) -> Option<&Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_conflict(error: &PublishError) -> bool {
    api_error(error).is_some_and(|error| !is_of_stream(error))
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
pub(super) fn full(words: &str) -> bool {
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
    use crate::FailureKind;

    #[test]
    fn a_conflict_says_nothing_of_the_stream() {
        let error = |text: &str| serde_json::from_str::<Error>(text).unwrap();
        assert!(!is_of_stream(&error(
            r#"{"code":409,"err_code":10158,"description":"duplicate message id is in process"}"#
        )));
        assert!(is_of_stream(&error(
            r#"{"code":503,"err_code":10077,"description":"maximum messages exceeded"}"#
        )));
    }

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
