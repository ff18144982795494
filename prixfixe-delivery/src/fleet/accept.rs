//! A message on its way into the stream: once for each target.

use std::collections::VecDeque;

use bytes::Bytes;
use prixfixe_server::{Digest, Gathered, Message, Recipient, Reply, reply};
use tokio::time::timeout;

use super::letter::{Content, HEADER_ROOM, Stored, whole};
use super::{Inner, mail, names};
use crate::hand_over::LOCAL_ERROR;
use crate::nats::link::Session;
use crate::nats::objects::Objects;
use crate::nats::send::{Letter, Waiting, hand_over, settle};
use crate::{Failure, FailureKind};

/// Who gets a message by one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The target's name: letters, digits, `-` and `_`.
    pub target: String,
    /// Those of the message's recipients who get it there, in the transaction's order.
    pub recipients: Vec<Recipient>,
}

/// Parts under way at once: each is a whole message in memory.
const WINDOW: usize = 4;

const TOO_MANY: Reply =
    reply!(452 4.5.3 "Too many recipients, send the rest in another transaction");

/// One that waits for its waiting.
struct Sent {
    letter: Letter,
    object: Option<String>,
    waiting: Waiting,
}

/// A part that can be kept.
struct Destination<'a> {
    /// A word of a subject.
    target: &'a str,
    recipients: &'a [Recipient],
    /// Where they are in the transaction.
    places: Vec<u32>,
}

/// All parts, or why one of them would be lost: then none is kept.
fn destinations<'a>(message: &Message, parts: &'a [Part]) -> Result<Vec<Destination<'a>>, Failure> {
    let destination = |part: &'a Part| {
        let Part { target, recipients } = part;
        if !names::is_word(target) {
            let words = "the target's name is not one of letters, digits, - and _";
            return Err(Failure::said(LOCAL_ERROR).because(words));
        }
        let Some(places) = mail::places(message, recipients) else {
            let words = "the part has recipients that the transaction has not, or in another order";
            return Err(Failure::said(LOCAL_ERROR).because(words));
        };
        Ok(Destination {
            target,
            recipients,
            places,
        })
    };
    parts.iter().map(destination).collect()
}

/// A message, and where it goes.
struct Acceptance<'a> {
    inner: &'a Inner,
    session: &'a Session,
    message: &'a Message,
    content: &'a Gathered,
    digest: Digest,
    stream: String,
    origin: Option<&'a str>,
}

/// What a report is of. It is written anew where a server dies before it has said that it gave up:
/// this tells the repeat.
pub(super) struct Origin<'a> {
    /// The stream with the message that it is of, which knows repeats.
    pub(super) stream: &'a str,
    pub(super) id: &'a str,
}

impl Inner {
    /// Keeps the message, or says why not. Nothing is promised before all parts are acknowledged.
    pub(super) async fn keep(
        &self,
        message: Message,
        parts: &[Part],
        origin: Option<&Origin<'_>>,
    ) -> Result<(), Failure> {
        let shared = &self.keeper.shared;
        let put = self.put(message, parts, origin);
        let kept = timeout(shared.options.final_timeout, put).await;
        let result = kept
            .unwrap_or_else(|_| Err(Failure::unknown("the stream did not acknowledge in time")));
        if let Err(failure) = &result
            && failure.reply().code() == 451
        {
            shared.look.notify_one();
        }
        result
    }

    async fn put(
        &self,
        mut message: Message,
        parts: &[Part],
        origin: Option<&Origin<'_>>,
    ) -> Result<(), Failure> {
        if parts.is_empty() {
            return Err(Failure::said(LOCAL_ERROR).because("it goes nowhere"));
        }
        let destinations = destinations(&message, parts)?;
        let content = message.gather().await?;
        let digest = message.digest().await?;
        let size = content.size().saturating_mul(parts.len() as u64);
        if !self.usage.has_room_for(size) {
            return Err(Failure::said(Reply::NO_ROOM).because("the spool is full"));
        }
        let session = self.keeper.shared.session().await?;
        let acceptance = Acceptance {
            inner: self,
            session: &session,
            message: &message,
            content: &content,
            digest,
            stream: origin.map_or_else(
                || self.names.stream_of(&digest),
                |origin| origin.stream.to_owned(),
            ),
            origin: origin.map(|it| it.id),
        };
        acceptance.publish(&destinations).await?;
        self.usage.add(size);
        Ok(())
    }
}

impl Acceptance<'_> {
    async fn publish(&self, parts: &[Destination<'_>]) -> Result<(), Failure> {
        let mut sent: VecDeque<Sent> = VecDeque::new();
        for part in parts {
            if sent.len() >= WINDOW
                && let Some(first) = sent.pop_front()
            {
                self.settle(first).await?;
            }
            sent.push_back(self.send(part).await?);
        }
        for one in sent {
            self.settle(one).await?;
        }
        Ok(())
    }

    async fn send(&self, part: &Destination<'_>) -> Result<Sent, Failure> {
        let envelope = self.envelope(part);
        let limit = self.session.limit().saturating_sub(HEADER_ROOM);
        if envelope.len() > limit {
            return Err(Failure::said(TOO_MANY));
        }
        let size = usize::try_from(self.content.size()).unwrap_or(usize::MAX);
        let fits = envelope.len().saturating_add(size) <= limit;
        let (content, object) = match fits {
            true => {
                let content = whole(self.content.body(), size).await;
                let content = content.map_err(|error| Failure::said(error.into()))?;
                (Content::Here(content), None)
            }
            false => {
                let name = self.store(part).await?;
                (Content::Object(name.clone()), Some(name))
            }
        };
        let stored = Stored {
            digest: self.digest.to_string(),
            attempt: 0,
            envelope,
            content,
            cause: None,
            is_shared: false,
        };
        let (headers, payload) = stored.write(&self.id(part));
        let letter = Letter {
            subject: names::due(&self.stream, part.target, &self.digest.to_string()),
            headers,
            payload,
        };
        let waiting = match hand_over(self.session, &letter).await {
            Ok(waiting) => waiting,
            Err(failure) => {
                self.forget(object).await;
                return Err(failure);
            }
        };
        Ok(Sent {
            letter,
            object,
            waiting,
        })
    }

    fn envelope(&self, part: &Destination<'_>) -> Bytes {
        let (size, places) = (self.content.size(), part.places.clone());
        let envelope = mail::write(self.message, self.digest, size, part.target, places);
        Bytes::from(envelope)
    }

    /// A repeat of the same message goes by the same id. Where routes have changed in between,
    /// others may get it by this target.
    fn id(&self, part: &Destination<'_>) -> String {
        let mark = names::mark(part.recipients.iter().map(ToString::to_string));
        match self.origin {
            Some(origin) => format!("{origin}.{}.{mark}", part.target),
            None => format!("{}.{}.0.{mark}", self.digest, part.target),
        }
    }

    /// Each part has an object of its own, which goes when the part is delivered.
    async fn store(&self, part: &Destination<'_>) -> Result<String, Failure> {
        let bucket = self.inner.names.bucket();
        let objects = Objects::open(self.session, bucket).await?;
        let name = format!("{}.{}.{}", self.digest, part.target, self.message.id());
        let mut body = self.content.body();
        objects
            .put(name.clone(), self.session.limit(), &mut body)
            .await?;
        Ok(name)
    }

    async fn settle(&self, sent: Sent) -> Result<(), Failure> {
        let Sent {
            letter,
            object,
            waiting,
        } = sent;
        let settled = settle(self.session, letter, waiting).await;
        let is_needed = match &settled {
            // The part that the stream has already has an object of its own.
            Ok(acknowledged) => !acknowledged.duplicate,
            Err(failure) => failure.kind() == FailureKind::Unknown,
        };
        if !is_needed {
            self.forget(object).await;
        }
        settled.map(drop)
    }

    async fn forget(&self, object: Option<String>) {
        if let Some(object) = object
            && let Ok(objects) = Objects::open(self.session, self.inner.names.bucket()).await
        {
            objects.remove(&object).await;
        }
    }
}
