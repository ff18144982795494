//! Contents that nobody will ask for: a server that dies between two steps leaves them in the
//! bucket.
//!
//! An object goes when all of this is so: it is older than
//! [`FleetOptions::objects_age`](super::FleetOptions::objects_age), no message of any of the
//! fleet's streams has its digest and target, and the look before this one has found the same. Its
//! age covers a server that has stored it and not published its message yet. The second look covers
//! a message that changed its subject during the first.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::{sleep, timeout};

use super::names::{self, Names};
use crate::Failure;
use crate::nats::link::{Session, Shared, words_of};
use crate::nats::objects::Objects;

/// Looks for what is left over.
pub(super) struct Sweep<'a> {
    pub(super) shared: &'a Shared,
    pub(super) names: &'a Names,
    pub(super) age: Duration,
}

/// A look that lasts longer is begun anew.
const PATIENCE: Duration = Duration::from_secs(600);

/// Looks are no closer, whatever the age.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// What was left over at the last look: names of objects, and subjects of pieces without one.
type Suspects = HashSet<String>;

impl Sweep<'_> {
    /// Looks 24 times in the age that it removes at, for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut suspects = Suspects::new();
        loop {
            // The servers of a fleet do not look together.
            let pause = (self.age / 24).mul_f64(fastrand::f64() + 0.5);
            sleep(pause.max(MIN_PAUSE)).await;
            let Some(session) = self.shared.ready() else {
                continue;
            };
            match timeout(PATIENCE, self.look(&session, &suspects)).await {
                Ok(Ok(found)) => suspects = found,
                Ok(Err(cause)) => tracing::debug!(%cause, "cannot look for objects left over"),
                Err(_) => tracing::debug!("looking for objects left over takes too long"),
            }
        }
    }

    async fn look(&self, session: &Session, before: &Suspects) -> Result<Suspects, Failure> {
        let context = &session.context;
        let bucket = self.names.bucket();
        let stream = context.get_stream(format!("OBJ_{bucket}")).await;
        let stream = stream.map_err(|error| trouble(&error))?;
        // Pieces first: an object that becomes whole meanwhile is among the descriptions.
        let mut pieces = self.pieces(&stream).await?;
        let store = context.get_object_store(bucket).await;
        let store = store.map_err(|error| trouble(&error))?;
        let mut objects = store.list().await.map_err(|error| trouble(&error))?;
        let mut old = Vec::new();
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| trouble(&error))?;
            pieces.remove(&format!("$O.{bucket}.C.{}", object.nuid));
            if object.modified.is_some_and(|time| self.is_old(time.into())) {
                old.push(object.name);
            }
        }
        let mut suspects = Suspects::new();
        for name in old {
            if self.is_named(context, &name).await? {
                continue;
            }
            if before.contains(&name) {
                tracing::info!(bucket, name, "removed an object that no message names");
                Objects::open(session, bucket).await?.remove(&name).await;
            } else {
                suspects.insert(name);
            }
        }
        let mut described = None;
        for subject in pieces {
            if !self.is_left(&stream, &subject).await? {
                continue;
            }
            if before.contains(&subject) {
                // The list may have ended early, and says nothing of it.
                let described = match &mut described {
                    Some(described) => described,
                    none => none.insert(self.described(&stream).await?),
                };
                if described.contains(&subject) {
                    continue;
                }
                tracing::info!(bucket, subject, "removed pieces of no object");
                let purged = stream.purge().filter(&subject).await;
                purged.map_err(|error| trouble(&error))?;
            } else {
                suspects.insert(subject);
            }
        }
        Ok(suspects)
    }

    fn is_old(&self, time: SystemTime) -> bool {
        time.elapsed().is_ok_and(|age| age > self.age)
    }

    async fn pieces(&self, stream: &Stream) -> Result<HashSet<String>, Failure> {
        self.subjects(stream, "C").await
    }

    /// The subjects of all pieces that a description names: the leader's word for each.
    async fn described(&self, stream: &Stream) -> Result<HashSet<String>, Failure> {
        let mut described = HashSet::new();
        for subject in self.subjects(stream, "M").await? {
            let description = stream.get_last_raw_message_by_subject(&subject).await;
            let description = match description {
                Ok(description) => description,
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => continue,
                Err(error) => return Err(trouble(&error)),
            };
            let object: ObjectInfo =
                serde_json::from_slice(&description.payload).map_err(|error| trouble(&error))?;
            if !object.deleted {
                described.insert(format!("$O.{}.C.{}", self.names.bucket(), object.nuid));
            }
        }
        Ok(described)
    }

    async fn subjects(&self, stream: &Stream, kind: &str) -> Result<HashSet<String>, Failure> {
        let filter = format!("$O.{}.{kind}.>", self.names.bucket());
        let subjects = stream.info_builder().subjects(filter).fetch().await;
        let subjects = subjects.map_err(|error| trouble(&error))?;
        let subjects = subjects.map_ok(|(subject, _)| subject);
        subjects
            .try_collect()
            .await
            .map_err(|error| trouble(&error))
    }

    /// Nothing was added for so long: nobody is storing it.
    async fn is_left(&self, stream: &Stream, subject: &str) -> Result<bool, Failure> {
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(self.is_old(message.time.into())),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// Whether a message may need it. What has no name of ours is somebody else's.
    async fn is_named(&self, context: &Context, object: &str) -> Result<bool, Failure> {
        let Some((digest, target)) = owner(object) else {
            return Ok(true);
        };
        let failed = self.names.failed();
        let mut streams = Vec::new();
        // Partitions that were given up may still have mail.
        let mut all = context.stream_names();
        while let Some(name) = all.next().await {
            let name = name.map_err(|error| trouble(&error))?;
            if name != failed && self.names.may_be_partition(&name) {
                streams.push(name);
            }
        }
        let waits = async || {
            for name in &streams {
                let filters = [
                    format!("{name}.*.{target}.{digest}"),
                    format!("{name}.*.{target}.{digest}.>"),
                ];
                if is_there(context, name, &filters).await? {
                    return Ok::<_, Failure>(true);
                }
            }
            Ok(false)
        };
        // A message is in the stream that it goes to before it leaves the other one.
        let has_failed = [
            self.names.failed_subject(target, digest),
            self.names.failed_subject(target, "unreadable"),
        ];
        Ok(waits().await? || is_there(context, &failed, &has_failed).await? || waits().await?)
    }
}

async fn is_there(context: &Context, stream: &str, filters: &[String]) -> Result<bool, Failure> {
    let stream = context.get_stream_no_info(stream).await;
    let stream = stream.map_err(|error| trouble(&error))?;
    for filter in filters {
        match stream.get_last_raw_message_by_subject(filter).await {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(trouble(&error)),
        }
    }
    Ok(false)
}

fn trouble(error: &dyn std::error::Error) -> Failure {
    Failure::unreachable(words_of(error))
}

/// Digest and target of the message that an object is of.
pub(super) fn owner(object: &str) -> Option<(&str, &str)> {
    let mut words = object.splitn(3, '.');
    let (digest, target) = (words.next()?, words.next()?);
    words.next()?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_digest && names::is_word(target)).then_some((digest, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_of_ours_are_anybodys() {
        let digest = "0f".repeat(32);
        let named =
            |rest: &str| owner(&format!("{digest}{rest}")).map(|(_, target)| target.to_owned());
        assert_eq!(named(".relay.01KB").as_deref(), Some("relay"));
        for rest in ["", ".relay", ".*.01KB", "0.relay.01KB", ".>.x"] {
            assert_eq!(named(rest), None, "{rest}");
        }
        assert_eq!(owner("notes.relay.x"), None);
    }
}
