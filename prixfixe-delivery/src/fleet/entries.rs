//! What a person sees of mail that is in the spool, and how one message is acted on.

use std::fmt;
use std::io;
use std::time::SystemTime;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;

use super::actions::{State, Which, delete_message, next, trouble, waits_for};
use super::entry::{FleetEntry, FleetError, FleetId, entry, read};
use super::letter::{Content, Stored};
use super::{Fleet, mail, names};
use crate::BoxFuture;
use crate::nats::link::Session;
use crate::nats::objects::Objects;
use crate::nats::send::{Letter, hand_over, settle};

/// A message that was found, and the stream that has it.
struct Seen {
    stream: Stream,
    raw: StreamMessage,
}

impl Fleet {
    /// Has every message of the spool taken, an entry for each of its targets: of each stream in
    /// the order in which they came to stand there, then those that have failed. Gives how many
    /// there were. What comes meanwhile may be left out.
    ///
    /// # Errors
    ///
    /// [`FleetError`], and what `take` fails with.
    pub async fn list(
        &self,
        mut take: impl FnMut(FleetEntry) -> io::Result<()>,
    ) -> Result<u64, FleetError> {
        let inner = &self.0.inner;
        let mut count = 0;
        let failed = inner.names.failed();
        for stream in inner.names.streams().chain([failed]) {
            count += self
                .walk(&stream, &format!("{stream}.>"), &mut take)
                .await?;
        }
        Ok(count)
    }

    /// Has what is there of one message taken, an entry for each target.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list); [`FleetError::Unknown`] where there is nothing.
    pub async fn show(
        &self,
        id: &FleetId,
        mut take: impl FnMut(FleetEntry) -> io::Result<()>,
    ) -> Result<(), FleetError> {
        let mut count = 0;
        for (stream, filter) in self.places(id) {
            count += self.walk(&stream, &filter, &mut take).await?;
        }
        match count {
            0 => Err(FleetError::Unknown(id.clone())),
            _ => Ok(()),
        }
    }

    /// Writes a message with the headers of a mailbox: `Return-Path`, `Delivered-To`, `Received`.
    ///
    /// # Errors
    ///
    /// As [`show`](Self::show).
    pub async fn export(
        &self,
        id: &FleetId,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FleetError> {
        let session = self.0.inner.keeper.shared.session().await?;
        let raw = self.first(&session, id).await?.raw;
        let (stored, kept) = read(&raw)?;
        let content = match stored.content {
            Content::Here(content) => mail::Content::Here(content),
            Content::Object(name) => {
                let objects = Objects::open(&session, self.0.inner.names.bucket()).await?;
                let object = objects.get(&name).await?;
                let object = object
                    .ok_or_else(|| FleetError::Unreadable("its content is lost".to_owned()))?;
                mail::Content::Object(Box::new(object))
            }
        };
        let unreadable = |error: &dyn fmt::Display| FleetError::Unreadable(error.to_string());
        let mut message = kept.message(content).map_err(|it| unreadable(&it))?;
        write(&message.trace_headers(message.envelope().recipients()))?;
        let content = message.gather().await.map_err(|it| unreadable(&it))?;
        let mut body = content.body();
        while let Some(piece) = body.chunk().await.map_err(|it| unreadable(&it))? {
            write(&piece)?;
        }
        Ok(())
    }

    /// Has a message tried now. One that has failed is due again, as if it were new, and is failed
    /// no more.
    ///
    /// # Errors
    ///
    /// [`FleetError`].
    pub async fn retry_one(&self, id: &FleetId) -> Result<(), FleetError> {
        match id {
            FleetId::Queued(digest) => {
                let count = self.retry(Which::Digest(digest)).await?;
                self.or_unknown(count, id).await
            }
            FleetId::Failed { .. } => self.retry_failed(id).await,
        }
    }

    /// Has nothing more done with a message until it is released.
    ///
    /// # Errors
    ///
    /// [`FleetError`].
    pub async fn hold_one(&self, id: &FleetId) -> Result<(), FleetError> {
        let count = self.hold(Which::Digest(queued(id)?)).await?;
        self.or_unknown(count, id).await
    }

    /// Has a message that was held tried now.
    ///
    /// # Errors
    ///
    /// [`FleetError`].
    pub async fn release_one(&self, id: &FleetId) -> Result<(), FleetError> {
        let count = self.release(Which::Digest(queued(id)?)).await?;
        self.or_unknown(count, id).await
    }

    /// Forgets a message: nobody gets it any more, and nobody is told.
    ///
    /// # Errors
    ///
    /// [`FleetError`].
    pub async fn remove_one(&self, id: &FleetId) -> Result<(), FleetError> {
        match id {
            FleetId::Queued(digest) => match self.remove(Which::Digest(digest)).await? {
                0 => Err(FleetError::Unknown(id.clone())),
                _ => Ok(()),
            },
            FleetId::Failed { .. } => {
                let session = self.0.inner.keeper.shared.session().await?;
                let mut seen = self.first(&session, id).await?;
                loop {
                    let object = self.object_of(&session, &seen.raw).await?;
                    delete(&seen).await?;
                    if let Some(object) = object {
                        let objects = Objects::open(&session, self.0.inner.names.bucket()).await?;
                        objects.remove(&object).await;
                    }
                    seen = match self.first(&session, id).await {
                        Ok(seen) => seen,
                        Err(FleetError::Unknown(_)) => return Ok(()),
                        Err(error) => return Err(error),
                    };
                }
            }
        }
    }

    /// The large content of a failed message, where nothing that waits needs it.
    fn object_of<'f>(
        &'f self,
        session: &'f Session,
        raw: &'f StreamMessage,
    ) -> BoxFuture<'f, Result<Option<String>, FleetError>> {
        Box::pin(async move {
            let Ok(stored) = Stored::read(Some(&raw.headers), &raw.payload) else {
                return Ok(None);
            };
            let (Content::Object(name), Some(target)) =
                (stored.content, raw.subject.split('.').nth(1))
            else {
                return Ok(None);
            };
            let names = &self.0.inner.names;
            let is_needed = waits_for(session, names, target, &stored.digest, None).await?;
            Ok((!is_needed).then_some(name))
        })
    }

    fn retry_failed<'f>(&'f self, id: &'f FleetId) -> BoxFuture<'f, Result<(), FleetError>> {
        Box::pin(async move {
            let FleetId::Failed { target, .. } = id else {
                return Ok(());
            };
            let session = self.0.inner.keeper.shared.session().await?;
            let mut seen = self.first(&session, id).await?;
            loop {
                let (mut stored, kept) = read(&seen.raw)?;
                // Others that wait or have failed may need the object. The sweep removes it.
                stored.is_shared = true;
                stored.attempt = 0;
                stored.cause = None;
                stored.envelope = kept.again(SystemTime::now());
                let stream = self.0.inner.names.stream_of_word(&stored.digest);
                let (digest, sequence) = (&stored.digest, seen.raw.sequence);
                let (headers, payload) =
                    stored.write(&format!("{digest}.{target}.again.{sequence}"));
                let letter = Letter {
                    subject: names::due(&stream, target, digest),
                    headers,
                    payload,
                };
                let sent = hand_over(&session, &letter).await?;
                settle(&session, letter, sent).await?;
                delete(&seen).await?;
                seen = match self.first(&session, id).await {
                    Ok(seen) => seen,
                    Err(FleetError::Unknown(_)) => return Ok(()),
                    Err(error) => return Err(error),
                };
            }
        })
    }

    /// What was asked for may be so already.
    async fn or_unknown(&self, count: u64, id: &FleetId) -> Result<(), FleetError> {
        match count {
            0 => self.show(id, |_| Ok(())).await,
            _ => Ok(()),
        }
    }

    /// Where a message may stand: streams, and filters.
    fn places(&self, id: &FleetId) -> Vec<(String, String)> {
        let names = &self.0.inner.names;
        match id {
            FleetId::Queued(digest) => {
                // A report lies where its message does, and the number of partitions may have been
                // another.
                let mut places = Vec::new();
                for stream in names.streams() {
                    for state in [State::Due, State::Waiting, State::Held] {
                        if let Some(filter) = state.filter(&stream, Which::Digest(digest)) {
                            places.push((stream.clone(), filter));
                        }
                    }
                }
                places
            }
            FleetId::Failed { digest, target } => {
                vec![(names.failed(), names.failed_subject(target, digest))]
            }
        }
    }

    fn first<'f>(
        &'f self,
        session: &'f Session,
        id: &'f FleetId,
    ) -> BoxFuture<'f, Result<Seen, FleetError>> {
        Box::pin(async move {
            for (stream, filter) in self.places(id) {
                let stream = get(session, &stream).await?;
                if let Some(raw) = next(&stream, &filter, 1).await? {
                    return Ok(Seen { stream, raw });
                }
            }
            Err(FleetError::Unknown(id.clone()))
        })
    }

    async fn walk(
        &self,
        stream: &str,
        filter: &str,
        take: &mut impl FnMut(FleetEntry) -> io::Result<()>,
    ) -> Result<u64, FleetError> {
        let session = self.0.inner.keeper.shared.session().await?;
        let found = get(&session, stream).await?;
        // Mail that is tried in vain stands behind it then, again and again.
        let last = found.cached_info().state.last_sequence;
        let (mut count, mut sequence) = (0, 1);
        while let Some(raw) = next(&found, filter, sequence).await? {
            if raw.sequence > last {
                break;
            }
            sequence = raw.sequence.saturating_add(1);
            match entry(&raw) {
                Ok(entry) => {
                    count += 1;
                    take(entry)?;
                }
                Err(error) => {
                    let subject = raw.subject.as_str();
                    tracing::warn!(target: "prixfixe", subject, sequence = raw.sequence, %error, "a message cannot be listed");
                }
            }
        }
        Ok(count)
    }
}

fn get<'f>(session: &'f Session, stream: &'f str) -> BoxFuture<'f, Result<Stream, FleetError>> {
    Box::pin(async move {
        let found = session.context.get_stream(stream).await;
        Ok(found.map_err(|error| trouble(&error))?)
    })
}

async fn delete(seen: &Seen) -> Result<(), FleetError> {
    // Somebody who was quicker has done the same.
    delete_message(&seen.stream, seen.raw.sequence).await?;
    Ok(())
}

/// Of one that is not failed.
fn queued(id: &FleetId) -> Result<&str, FleetError> {
    match id {
        FleetId::Queued(digest) => Ok(digest),
        FleetId::Failed { .. } => Err(FleetError::IsFailed(id.clone())),
    }
}
