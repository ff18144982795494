//! NATS JetStream: one message for each recipient's domain, acknowledged by a stream that keeps it.
//!
//! | a client's `250` | means |
//! |---|---|
//! | with a stream of three replicas | most of them have the message in a file, for every domain of its recipients |
//! | with `min_replicas` 1 and such a stream | one server has it |
//! | in either case | it outlives the servers' processes. Whether it outlives a loss of power in all places at once depends on their `sync_interval`, which no client can see: `always` is safe |
//!
//! # What is published
//!
//! The subject is that of the URL and the labels of the recipient's domain, reversed: for
//! `bob@mail.example.org` below `mail` it is `mail.org.example.mail`. A local part is never in a
//! subject. An address literal is one word, such as `mail.[192-0-2-1]`.
//!
//! The payload is the message as final delivery writes it: `Return-Path`, a `Delivered-To` for each
//! recipient of this copy, `Received`, the content. A message that is too large for the server or
//! the stream is an object of the bucket, named by its digest, and the payload is empty. Objects
//! are never deleted by this crate. The copies of several domains share one, which then has no
//! `Delivered-To`.
//!
//! | header | value |
//! |---|---|
//! | `Nats-Msg-Id` | `DIGEST.DOMAIN`: a repeat of the same message is a duplicate to the stream |
//! | `Prixfixe-Id`, `Prixfixe-Digest` | the names of this attempt, and of the message in all attempts |
//! | `Prixfixe-From` | the sender, empty for a bounce |
//! | `Prixfixe-To` | a recipient of this copy; one header for each |
//! | `Prixfixe-Peer`, `Prixfixe-Helo`, `Prixfixe-Tls`, `Prixfixe-User` | the client, its name, its TLS version, its login, as far as there are any |
//! | `Prixfixe-Received`, `Prixfixe-Size` | when it came (RFC 3339), bytes of the content |
//! | `Prixfixe-Spf`, `Prixfixe-Dkim`, `Prixfixe-Dmarc` | what checks found, where they looked |
//! | `Prixfixe-Object` | `BUCKET/NAME`, where the payload is empty |
//! | `Content-Type` | `message/rfc822` |
//!
//! # What is refused
//!
//! The stream and the bucket are inspected when the target is opened and once a minute. What keeps
//! messages in memory, does not acknowledge or acknowledges before it writes, has too few replicas,
//! or drops old messages for new ones is a fault: of [`Nats::open`], and later `451 4.3.5`. Servers
//! that cannot be reached are a target that is down, `451 4.4.1`.

pub(crate) mod answers;
pub(crate) mod connection;
pub(crate) mod inspect;
mod keep;
mod letter;
pub(crate) mod link;
pub(crate) mod objects;
mod options;
mod publish;
pub(crate) mod send;
mod tls;
mod url;

use std::fmt;
use std::sync::Arc;

use prixfixe_server::{Mail, Message, Recipient, Reply, reply};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::inspect::Wanted;
use self::link::Keeper;
use self::publish::Post;
use crate::domains::copies;
use crate::upstream::Pass;
use crate::{
    Asked, BoxFuture, Delivered, Failure, FailureKind, Health, Outcomes, Target, Transaction,
};

pub use self::options::{NatsError, NatsOptions};
pub use self::url::{NatsUrl, ParseNatsUrlError};

/// A target that publishes mail to a NATS JetStream stream. Clones share everything.
#[derive(Clone)]
pub struct Nats {
    keeper: Arc<Keeper>,
    /// For copies beyond the memory for messages, one at a time.
    alone: Arc<Semaphore>,
}

impl Nats {
    /// Connects and inspects the stream. To be awaited inside a tokio runtime, in which the
    /// connection then lives.
    ///
    /// Servers that cannot be reached are no error: mail is refused with `451 4.4.1` until they can
    /// be.
    ///
    /// # Errors
    ///
    /// [`NatsError`], for what no waiting mends.
    pub async fn open(url: &NatsUrl, options: NatsOptions) -> Result<Self, NatsError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if options.objects.is_empty() || !options.objects.bytes().all(is_word) {
            return Err(NatsError::Bucket(options.objects));
        }
        let wanted = Wanted {
            subject: url.subject().into(),
            bucket: options.objects.as_str().into(),
            min_replicas: options.min_replicas,
        };
        let keeper = Keeper::open(url, options, wanted).await?;
        Ok(Self {
            keeper: Arc::new(keeper),
            alone: Arc::new(Semaphore::new(1)),
        })
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.keeper.shared.url.to_string();
        f.debug_struct("Nats")
            .field("url", &url)
            .finish_non_exhaustive()
    }
}

impl Target for Nats {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(match self.keeper.shared.refusal() {
            Some(failure) => Err(failure),
            None => Ok(Box::new(Posting {
                target: self.clone(),
                recipients: Vec::new(),
                header_size: 0,
            })),
        })
    }

    fn health(&self) -> Health {
        self.keeper.shared.upstream.health()
    }
}

/// A message under way.
struct Posting {
    target: Nats,
    recipients: Vec<Recipient>,
    /// What recipients take of the headers at the most: all of them may be of one domain.
    header_size: usize,
}

/// JetStream takes headers of 64 KiB. The rest of ours take less than 4 KiB.
const MAX_HEADER_SIZE: usize = 56 << 10;

const TOO_MANY: Reply =
    reply!(452 4.5.3 "Too many recipients, send the rest in another transaction");

impl Transaction for Posting {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        let size = recipient.to_string().len() + "Prixfixe-To: \r\n".len();
        if self.header_size + size > MAX_HEADER_SIZE {
            return Asked::Now(Err(Failure::said(TOO_MANY)));
        }
        self.header_size += size;
        self.recipients.push(recipient.clone());
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            match self.post(message).await {
                Ok(outcomes) => outcomes,
                Err(failure) => failure.into(),
            }
        })
    }
}

impl Posting {
    async fn post(self, mut message: Message) -> Result<Outcomes, Failure> {
        let content = message.gather().await?;
        let digest = message.digest().await?;
        let shared = &self.target.keeper.shared;
        let session = shared.session().await?;
        let pass = shared.upstream.enter().await?;
        let copies = copies(&self.recipients, &shared.options.domain);
        let post = Post {
            session: &session,
            message: &message,
            content: &content,
            digest,
            prefix: shared.url.subject(),
            bucket: &shared.options.objects,
            alone: &self.target.alone,
        };
        let published = timeout(shared.options.final_timeout, post.publish(&copies)).await;
        let Ok(of_copies) = published else {
            let failure = Failure::unknown("the stream did not acknowledge all copies in time");
            self.report(&pass, Some(&failure));
            return Err(failure);
        };
        self.report(&pass, of_copies.iter().find_map(|it| trouble(it)));
        let mut outcomes = vec![Ok(Delivered::default()); self.recipients.len()];
        for (copy, outcome) in copies.iter().zip(of_copies) {
            for place in &copy.places {
                if let Some(place) = outcomes.get_mut(*place) {
                    *place = outcome.clone();
                }
            }
        }
        Ok(Outcomes::Each(outcomes))
    }

    /// Says how it went, and has the stream looked at where it went wrong.
    fn report(&self, pass: &Pass, trouble: Option<&Failure>) {
        match trouble {
            None => pass.succeeded(),
            Some(failure) => {
                pass.failed(&failure.to_string());
                self.target.keeper.shared.look.notify_one();
            }
        }
    }
}

/// A stream that is full works.
fn trouble(outcome: &Result<Delivered, Failure>) -> Option<&Failure> {
    let failure = outcome.as_ref().err()?;
    let is_trouble = failure.kind() == FailureKind::Unknown || failure.reply().code() == 451;
    is_trouble.then_some(failure)
}
