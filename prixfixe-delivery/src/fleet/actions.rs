//! What a person does with mail that is in the spool.
//!
//! A message changes its subject: it is published under the new one, and then it is deleted. Where
//! that breaks off in the middle it is there twice.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, LastRawMessageErrorKind, Stream};

use super::letter::{Content, Stored};
use super::names::Names;
use super::{Fleet, names};
use crate::nats::link::{Session, words_of};
use crate::nats::objects::Objects;
use crate::nats::send::{Letter, hand_over, settle};
use crate::{BoxFuture, Failure};

/// Which messages of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which<'a> {
    /// All of a target's.
    Target(&'a str),
    /// Those with this digest, for all of their targets.
    Digest(&'a str),
    /// Every one.
    All,
}

/// A state, and how its subjects go on behind the target's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    Due,
    Waiting,
    Held,
}

impl Fleet {
    /// Has what waits for its next attempt tried now; how many there were.
    ///
    /// # Errors
    ///
    /// [`Failure`], where the servers are away: some may have been moved.
    pub async fn retry(&self, which: Which<'_>) -> Result<u64, Failure> {
        self.for_each(&[State::Waiting], which, Some(State::Due))
            .await
    }

    /// Has nothing more done with what waits or is due; how many there were. One that is being
    /// delivered just now may be delivered all the same.
    ///
    /// # Errors
    ///
    /// As [`retry`](Self::retry).
    pub async fn hold(&self, which: Which<'_>) -> Result<u64, Failure> {
        self.for_each(&[State::Waiting, State::Due], which, Some(State::Held))
            .await
    }

    /// Has what was held tried now; how many there were.
    ///
    /// # Errors
    ///
    /// As [`retry`](Self::retry).
    pub async fn release(&self, which: Which<'_>) -> Result<u64, Failure> {
        self.for_each(&[State::Held], which, Some(State::Due)).await
    }

    /// Forgets what waits, is due or is held; how many there were. Nobody gets it, and nobody is
    /// told.
    ///
    /// # Errors
    ///
    /// As [`retry`](Self::retry).
    pub async fn remove(&self, which: Which<'_>) -> Result<u64, Failure> {
        let all = [State::Waiting, State::Due, State::Held];
        self.for_each(&all, which, None).await
    }

    fn for_each<'f>(
        &'f self,
        from: &'f [State],
        which: Which<'f>,
        to: Option<State>,
    ) -> BoxFuture<'f, Result<u64, Failure>> {
        Box::pin(async move {
            let inner = &self.0.inner;
            let session = inner.keeper.shared.session().await?;
            let mut count = 0;
            for name in inner.names.streams() {
                let stream = session.context.get_stream(&name).await;
                let stream = stream.map_err(|error| trouble(&error))?;
                // What is tried in vain meanwhile waits again: that is not for now.
                let last = stream.cached_info().state.last_sequence;
                for state in from {
                    let Some(filter) = state.filter(&name, which) else {
                        continue;
                    };
                    let mut sequence = 1;
                    while let Some(message) = next(&stream, &filter, sequence).await? {
                        if message.sequence > last {
                            break;
                        }
                        sequence = message.sequence.saturating_add(1);
                        let copy = match to {
                            Some(to) => Some(to.put(&session, &name, &message).await?),
                            None => None,
                        };
                        let is_ours = delete_message(&stream, message.sequence).await?;
                        count += u64::from(is_ours);
                        match copy {
                            // It was delivered meanwhile, or somebody else moved it.
                            Some(copy) if !is_ours => drop(delete_message(&stream, copy).await?),
                            // What is due may be under delivery: its content is left to the sweep.
                            None if is_ours && !matches!(state, State::Due) => {
                                self.forget_content(&session, &message).await?;
                            }
                            _ => {}
                        }
                    }
                }
            }
            Ok(count)
        })
    }

    /// Nobody gets the message any more. A content that another message needs stays.
    async fn forget_content(
        &self,
        session: &Session,
        message: &StreamMessage,
    ) -> Result<(), Failure> {
        if let Ok(Stored {
            content: Content::Object(name),
            is_shared: false,
            digest,
            ..
        }) = Stored::read(Some(&message.headers), &message.payload)
        {
            let names = &self.0.inner.names;
            let target = message.subject.split('.').nth(2).unwrap_or_default();
            if !waits_for(session, names, target, &digest, None).await? {
                let objects = Objects::open(session, names.bucket()).await?;
                objects.remove(&name).await;
            }
        }
        Ok(())
    }
}

/// Whether there is mail of this digest for the target that is not over, beside a message of a
/// stream that is.
pub(super) fn waits_for<'f>(
    session: &'f Session,
    names: &'f Names,
    target: &'f str,
    digest: &'f str,
    beside: Option<(&'f str, u64)>,
) -> BoxFuture<'f, Result<bool, Failure>> {
    Box::pin(async move {
        for name in names.streams() {
            let stream = session.context.get_stream(&name).await;
            let stream = stream.map_err(|error| trouble(&error))?;
            for filter in [
                names::due(&name, target, digest),
                names::held(&name, target, digest),
                format!("{name}.wait.{target}.{digest}.*"),
            ] {
                let mut sequence = 1;
                while let Some(message) = next(&stream, &filter, sequence).await? {
                    if beside != Some((&name, message.sequence)) {
                        return Ok(true);
                    }
                    sequence = message.sequence.saturating_add(1);
                }
            }
        }
        Ok(false)
    })
}

/// Deletes a message. False: it was gone before.
pub(super) fn delete_message(
    stream: &Stream,
    sequence: u64,
) -> BoxFuture<'_, Result<bool, Failure>> {
    Box::pin(async move {
        let Err(error) = stream.delete_message(sequence).await else {
            return Ok(true);
        };
        match error.kind() {
            // Without an answer it may have been deleted by this very request.
            DeleteMessageErrorKind::JetStream(_) if !has_message(stream, sequence).await? => {
                Ok(false)
            }
            _ => Err(trouble(&error)),
        }
    })
}

/// Whether a stream has a message: its leader's word.
pub(super) async fn has_message(stream: &Stream, sequence: u64) -> Result<bool, Failure> {
    match stream.get_raw_message(sequence).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(trouble(&error)),
    }
}

pub(super) fn next<'f>(
    stream: &'f Stream,
    filter: &'f str,
    sequence: u64,
) -> BoxFuture<'f, Result<Option<StreamMessage>, Failure>> {
    Box::pin(async move {
        let found = stream.get_first_raw_message_by_subject(filter, sequence);
        match found.await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(trouble(&error)),
        }
    })
}

pub(super) fn trouble(error: &dyn std::error::Error) -> Failure {
    Failure::unreachable(words_of(error))
}

impl State {
    /// `None`: what is no word of a subject is nobody's.
    pub(super) fn filter(self, stream: &str, which: Which<'_>) -> Option<String> {
        let (target, digest) = match which {
            Which::Target(name) => (names::is_word(name).then_some(name)?, "*"),
            Which::Digest(digest) => ("*", names::is_word(digest).then_some(digest)?),
            Which::All => ("*", "*"),
        };
        Some(match self {
            Self::Due => names::due(stream, target, digest),
            Self::Waiting => format!("{stream}.wait.{target}.{digest}.*"),
            Self::Held => names::held(stream, target, digest),
        })
    }

    /// The same message in this state, under an id that nobody gives it twice: who finds that
    /// somebody was quicker deletes a copy of its own. Where it is now.
    async fn put(
        self,
        session: &Session,
        stream: &str,
        message: &StreamMessage,
    ) -> Result<u64, Failure> {
        let words: Vec<&str> = message.subject.split('.').collect();
        let (Some(target), Ok(stored)) = (
            words.get(2),
            Stored::read(Some(&message.headers), &message.payload),
        ) else {
            return Err(Failure::unreachable(
                "a message of the spool cannot be read",
            ));
        };
        let id = format!(
            "{}.{target}.{}.{}.{:016x}",
            stored.digest,
            stored.attempt,
            message.sequence,
            fastrand::u64(..)
        );
        let (headers, payload): (HeaderMap, _) = stored.write(&id);
        let subject = match self {
            Self::Due | Self::Waiting => names::due(stream, target, &stored.digest),
            Self::Held => names::held(stream, target, &stored.digest),
        };
        let letter = Letter {
            subject,
            headers,
            payload,
        };
        let sent = hand_over(session, &letter).await?;
        Ok(settle(session, letter, sent).await?.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reaches_more_than_was_named() {
        let filter = |which| State::Waiting.filter("PRIXFIXE", which);
        assert_eq!(
            filter(Which::Target("relay")).as_deref(),
            Some("PRIXFIXE.wait.relay.*.*")
        );
        assert_eq!(
            filter(Which::Digest("0f")).as_deref(),
            Some("PRIXFIXE.wait.*.0f.*")
        );
        for word in ["*", ">", "", "a.b"] {
            assert_eq!(filter(Which::Target(word)), None, "{word}");
            assert_eq!(filter(Which::Digest(word)), None, "{word}");
        }
    }
}
