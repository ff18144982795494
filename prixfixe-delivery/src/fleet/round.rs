//! One attempt: a message that came from the stream, until the stream knows what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::AckKind;
use async_nats::{HeaderMap, Message as Raw};
use bytes::Bytes;
use jiff::Timestamp;
use prixfixe_server::{Reply, reply};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::actions::{has_message, trouble, waits_for};
use super::letter::{Content, Stored};
use super::mail::{self, Kept};
use super::sweep::owner;
use super::verdict::{Verdict, is_too_old, verdict, words};
use super::{Inner, Phase, names, reached};
use crate::nats::link::Session;
use crate::nats::objects::Objects;
use crate::nats::send::{Letter, hand_over as send, settle};
use crate::tracked::Tracked;
use crate::{Failure, Outcomes, hand_over};

/// What an attempt needs.
pub(super) struct Round {
    pub(super) inner: Arc<Inner>,
    pub(super) stream: String,
    pub(super) target: Arc<Tracked>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Before a message comes again that this server could not even try.
const TROUBLE: Duration = Duration::from_secs(5);

/// Before the stream is told once more what came of an attempt.
const PAUSE: Duration = Duration::from_secs(1);

const NOT_WRITTEN: &str = "the spool does not take what came of an attempt, it is told again";

/// Word that a delivery lasts is worth nothing later.
const LASTING: Duration = Duration::from_secs(5);

/// A content counts as lost when a message comes for this time without it.
const LOST_AT: u64 = 3;

/// Somebody has removed the object.
const CONTENT_LOST: Reply = reply!(554 5.3.0 "The content of this message is lost");

impl Round {
    /// All of it.
    pub(super) async fn go(self, raw: Raw) {
        let Some(reply) = raw.reply.clone() else {
            return;
        };
        let done = match Stored::read(raw.headers.as_ref(), &raw.payload) {
            Ok(stored) => match Kept::read(&stored.envelope) {
                Ok(kept) => self.attempt(&reply, stored, kept).await,
                Err(error) => self.set_aside(&raw, &error.to_string()).await,
            },
            Err(error) => self.set_aside(&raw, &error.to_string()).await,
        };
        let done = match done {
            Err(Undone::Unreadable(words)) => self.set_aside(&raw, &words).await,
            done => done,
        };
        let kind = match done {
            Ok(None) => AckKind::Ack,
            Ok(Some(object)) => {
                if let Err(cause) = self.finish(reply, &object).await {
                    tracing::debug!(object, %cause, "an object stays");
                }
                return;
            }
            Err(Undone::Stopping | Undone::Unreadable(_)) => AckKind::Nak(None),
            Err(Undone::Trouble(words)) => {
                let (target, stream) = (self.target.name(), &self.stream);
                tracing::warn!(target, stream, cause = %words, "an attempt came to nothing, the message is tried again");
                AckKind::Nak(Some(TROUBLE))
            }
        };
        self.say(&reply, kind).await;
    }

    /// Fire and forget: where this is lost the message comes again.
    async fn say(&self, reply: &async_nats::Subject, kind: AckKind) {
        if let Ok(session) = self.session().await {
            let client = session.context.client();
            let _ = client.publish(reply.clone(), Bytes::from(kind)).await;
        }
    }

    /// Another server would try it too if this were not said. The delivery does not wait for it.
    fn say_that_it_lasts(&self, reply: &async_nats::Subject) {
        if let Some(session) = self.inner.keeper.shared.ready() {
            let (client, reply) = (session.context.client(), reply.clone());
            tokio::spawn(async move {
                let said = client.publish(reply, Bytes::from(AckKind::Progress));
                let _ = timeout(LASTING, said).await;
            });
        }
    }

    /// The object goes when the stream is known to have forgotten the message, or nobody could
    /// deliver it again. What was held or released meanwhile is a message of its own.
    async fn finish(&self, reply: async_nats::Subject, object: &str) -> Result<(), Failure> {
        let session = self.inner.keeper.shared.session().await?;
        let client = session.context.client();
        let beside = Came::read(&reply).map(|came| (&*self.stream, came.sequence));
        let acknowledged = client.request(reply, Bytes::from(AckKind::Ack)).await;
        acknowledged.map_err(|error| trouble(&error))?;
        let names = &self.inner.names;
        if let Some((digest, target)) = owner(object)
            && waits_for(&session, names, target, digest, beside).await?
        {
            return Ok(());
        }
        let objects = Objects::open(&session, names.bucket()).await?;
        objects.remove(object).await;
        Ok(())
    }

    /// A repeat of what is over just now finds no content, and nothing is lost. The stream may
    /// take a moment to forget a message that was acknowledged.
    async fn is_over(&self, reply: &async_nats::Subject) -> Result<bool, Undone> {
        let Some(came) = Came::read(reply) else {
            return Ok(false);
        };
        let session = self.session().await?;
        let stream = session.context.get_stream(&self.stream).await;
        let stream = stream.map_err(|error| trouble(&error))?;
        match has_message(&stream, came.sequence).await? {
            false => Ok(true),
            true if came.times < LOST_AT => {
                Err(Undone::Trouble("its content is not there".to_owned()))
            }
            true => Ok(false),
        }
    }

    /// An object that is not needed any more, where there is one.
    async fn attempt(
        &self,
        reply: &async_nats::Subject,
        stored: Stored,
        kept: Kept,
    ) -> Result<Option<String>, Undone> {
        let since = Instant::now();
        let Some(content) = self.content(&stored).await? else {
            if self.is_over(reply).await? {
                return Ok(None);
            }
            let lost = Outcomes::All(Err(Failure::said(CONTENT_LOST)));
            return self.settle(reply, stored, &kept, lost, since, true).await;
        };
        let message = match kept.message(content) {
            Ok(message) => message,
            Err(error) => return Err(Undone::Unreadable(error.to_string())),
        };
        let target = Arc::clone(&self.target);
        let mut phase = self.phase.clone();
        let delivery = async move {
            tokio::select! {
                outcomes = hand_over(target.target(), message) => Ok(outcomes),
                () = reached(&mut phase, Phase::Over) => Err(Undone::Stopping),
            }
        };
        let outcomes = self.lasting(reply, delivery).await?;
        self.settle(reply, stored, &kept, outcomes, since, false)
            .await
    }

    /// Keeps the message from the other servers while this is done.
    async fn lasting<T>(&self, reply: &async_nats::Subject, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        // A third of the wait, so that one word may be lost.
        let mut tick = interval((self.inner.ack_wait / 3).max(Duration::from_millis(10)));
        tick.tick().await;
        loop {
            tokio::select! {
                done = &mut work => break done,
                _ = tick.tick() => self.say_that_it_lasts(reply),
            }
        }
    }

    /// Large contents are fetched first.
    async fn content(&self, stored: &Stored) -> Result<Option<mail::Content>, Undone> {
        match &stored.content {
            Content::Here(content) => Ok(Some(mail::Content::Here(content.clone()))),
            Content::Object(name) => {
                let session = self.session().await?;
                let bucket = self.inner.names.bucket();
                let objects = Objects::open(&session, bucket).await?;
                let object = objects.get(name).await?;
                Ok(object.map(|it| mail::Content::Object(Box::new(it))))
            }
        }
    }

    async fn session(&self) -> Result<Arc<Session>, Undone> {
        Ok(self.inner.keeper.shared.session().await?)
    }

    /// Tells the stream what is next, before the message goes from it.
    async fn settle(
        &self,
        reply: &async_nats::Subject,
        stored: Stored,
        kept: &Kept,
        outcomes: Outcomes,
        since: Instant,
        is_lost: bool,
    ) -> Result<Option<String>, Undone> {
        self.target.count(&outcomes, since.elapsed());
        let places = kept.places();
        let outcomes = outcomes.each_of(places.len());
        let give_up_after = self.inner.attempts().give_up_after;
        let is_old = is_too_old(kept.tried_since(), SystemTime::now(), give_up_after);
        let verdict = verdict(places, outcomes, is_old);
        self.log(&stored, kept, &verdict, since.elapsed());
        self.lasting(reply, self.conclude(stored, kept, &verdict, is_lost))
            .await
    }

    async fn conclude(
        &self,
        stored: Stored,
        kept: &Kept,
        verdict: &Verdict,
        is_lost: bool,
    ) -> Result<Option<String>, Undone> {
        let mut untold = self.report(&stored, kept, verdict).await;
        // Somebody may bring the content back.
        if is_lost {
            untold = verdict.failed.iter().collect();
        }
        if !untold.is_empty() {
            self.give_up(&stored, kept, &untold).await?;
        }
        let is_needed = stored.is_shared || !untold.is_empty();
        if !verdict.waiting.is_empty() {
            self.defer(stored, kept, verdict, is_needed).await?;
            return Ok(None);
        }
        Ok(match stored.content {
            Content::Object(name) if !is_needed => Some(name),
            _ => None,
        })
    }

    /// A schedule with the recipients that remain. A NAK would stay in the consumer, and a dead
    /// target would fill it.
    async fn defer(
        &self,
        stored: Stored,
        kept: &Kept,
        verdict: &Verdict,
        is_shared: bool,
    ) -> Result<(), Undone> {
        let attempt = stored.attempt.saturating_add(1);
        let waiting: Vec<u32> = verdict.waiting.iter().map(|(place, _)| *place).collect();
        let next = Stored {
            attempt,
            envelope: kept.with_places(waiting.clone()),
            cause: verdict.waiting.first().map(|(_, failure)| words(failure)),
            is_shared,
            ..stored
        };
        let name = self.target.name();
        let pause = self.inner.attempts().retry.wait(attempt);
        let when = Timestamp::try_from(SystemTime::now() + pause);
        let when = when.map_err(|error| Undone::Trouble(error.to_string()))?;
        let mark = kept.mark(&waiting);
        let id = format!("{}.{name}.{attempt}.{mark}", next.digest);
        let (mut headers, payload) = next.write(&id);
        let target = names::due(&self.stream, name, &next.digest);
        headers.insert("Nats-Schedule", format!("@at {when:.0}"));
        headers.insert("Nats-Schedule-Target", target);
        let subject = names::wait(&self.stream, name, &next.digest, attempt, &mark);
        self.publish_surely(Letter {
            subject,
            headers,
            payload,
        })
        .await
    }

    async fn give_up(
        &self,
        stored: &Stored,
        kept: &Kept,
        failed: &[&(u32, Failure)],
    ) -> Result<(), Undone> {
        let places: Vec<u32> = failed.iter().map(|(place, _)| *place).collect();
        let mark = kept.mark(&places);
        let failed = Stored {
            envelope: kept.with_places(places),
            cause: failed.first().map(|(_, failure)| words(failure)),
            ..stored.clone()
        };
        let name = self.target.name();
        let id = format!("{}.{name}.{}.failed.{mark}", stored.digest, stored.attempt);
        let (headers, payload) = failed.write(&id);
        let subject = self.inner.names.failed_subject(name, &stored.digest);
        self.publish_surely(Letter {
            subject,
            headers,
            payload,
        })
        .await?;
        self.inner.given_up(name);
        Ok(())
    }

    /// What is no message of ours goes where people look.
    async fn set_aside(&self, raw: &Raw, cause: &str) -> Result<Option<String>, Undone> {
        let (target, subject) = (self.target.name(), raw.subject.as_str());
        tracing::error!(
            target,
            subject,
            cause,
            "a message of the spool cannot be read, it is set aside"
        );
        self.publish(Letter {
            subject: format!("{}.{target}.unreadable", self.inner.names.failed()),
            headers: set_aside_headers(raw.headers.as_ref()),
            payload: raw.payload.clone(),
        })
        .await?;
        Ok(None)
    }

    /// What is said of a delivery that was made: in the place of a repeat of it, this is repeated.
    async fn publish_surely(&self, letter: Letter) -> Result<(), Undone> {
        let mut is_said = false;
        loop {
            let Err(undone) = self.publish(letter.clone()).await else {
                return Ok(());
            };
            if let Undone::Trouble(cause) = undone
                && !is_said
            {
                let (target, stream) = (self.target.name(), &self.stream);
                tracing::warn!(target, stream, cause, "{NOT_WRITTEN}");
                is_said = true;
            }
            let mut phase = self.phase.clone();
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = reached(&mut phase, Phase::Over) => return Err(Undone::Stopping),
            }
        }
    }

    async fn publish(&self, letter: Letter) -> Result<(), Undone> {
        let session = self.session().await?;
        let sent = send(&session, &letter).await?;
        settle(&session, letter, sent).await?;
        Ok(())
    }
}

/// Which message of the stream came, and for which time.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    sequence: u64,
    times: u64,
}

impl Came {
    /// Where it is acknowledged says so: `$JS.ACK.STREAM.CONSUMER.TIMES.SEQUENCE.…`, or with a
    /// domain and a hash of the account before the stream.
    fn read(reply: &str) -> Option<Self> {
        let words: Vec<&str> = reply.split('.').collect();
        let first = match words.len() {
            0..9 => return None,
            9 => 4,
            _ => 6,
        };
        Some(Self {
            times: words.get(first)?.parse().ok()?,
            sequence: words.get(first + 1)?.parse().ok()?,
        })
    }
}

/// Whoever looks needs them: one says where a large content is. Those of the stream's would have it
/// do something.
fn set_aside_headers(headers: Option<&HeaderMap>) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let is_streams = |it: &str| {
            it.get(..5)
                .is_some_and(|it| it.eq_ignore_ascii_case("nats-"))
        };
        if !is_streams(name.as_ref()) {
            for value in values {
                kept.append(name.clone(), value.clone());
            }
        }
    }
    kept
}

/// Why a message stays in the stream as it is.
enum Undone {
    /// This server stops.
    Stopping,
    /// No attempt will ever be made.
    Unreadable(String),
    /// This time it was not to be.
    Trouble(String),
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self::Trouble(failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_says_which_message_it_is_of() {
        let came = Some(Came {
            sequence: 17,
            times: 2,
        });
        assert_eq!(Came::read("$JS.ACK.PRIXFIXE.deliver-x.2.17.5.1.0"), came);
        assert_eq!(
            Came::read("$JS.ACK.hub.hash.PRIXFIXE.deliver-x.2.17.5.1.0"),
            came
        );
        assert_eq!(
            Came::read("$JS.ACK.hub.hash.PRIXFIXE.deliver-x.2.17.5.1.0.token"),
            came
        );
        assert_eq!(Came::read("_INBOX.x"), None);
    }
}
