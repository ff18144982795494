//! What is due for one target on one stream: a consumer that all servers of the fleet share, and
//! what this one asks it for.
//!
//! A message is asked for only when there is a place to deliver it, so that none waits here while
//! another server is idle.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::names;
use super::round::Round;
use super::{Inner, Phase, left};
use crate::nats::link::{Session, words_of};
use crate::tracked::Tracked;

/// One target's mail on one stream.
pub(super) struct Line {
    pub(super) inner: Arc<Inner>,
    pub(super) stream: String,
    pub(super) name: String,
    /// `None`: it is gone from the configuration.
    pub(super) target: watch::Receiver<Option<Arc<Tracked>>>,
    /// Messages of it at once, in all the fleet.
    pub(super) concurrency: usize,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Why a line is begun anew, or not.
enum End {
    Stopped,
    Again,
}

/// How long a request for messages stands, and how much later it is known to be lost.
const EXPIRES: Duration = Duration::from_secs(10);
const LOST: Duration = Duration::from_secs(5);

/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

impl Line {
    /// Delivers until the fleet stops. Ends when nothing of it is under way.
    pub(super) async fn run(self) {
        let places = Arc::new(Semaphore::new(self.concurrency));
        while self.is_running() {
            let Ok(session) = self.inner.keeper.shared.session().await else {
                self.pause().await;
                continue;
            };
            // From here on: a connection that is given up while the line is made is known to be so.
            let is_lost = session.is_lost_since(session.losses());
            match self.pull(&session, &places, is_lost).await {
                Ok(End::Stopped) => break,
                Ok(End::Again) => {}
                Err(words) => {
                    let (stream, target) = (&self.stream, &self.name);
                    tracing::debug!(stream, target, cause = %words, "cannot take what is due");
                    self.pause().await;
                }
            }
        }
        let all = u32::try_from(self.concurrency).unwrap_or(u32::MAX);
        // Never closed: this waits for all that is under way.
        let _ = places.acquire_many(all).await;
    }

    /// Also over when whoever could stop it is gone.
    fn is_running(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Running)
            && self.phase.has_changed().is_ok()
            && self.target.borrow().is_some()
            && self.target.has_changed().is_ok()
    }

    /// Waits until nothing more is to be delivered.
    async fn is_over(&self) {
        let (mut phase, mut target) = (self.phase.clone(), self.target.clone());
        tokio::select! {
            () = left(&mut phase, Phase::Running) => {}
            _ = target.wait_for(Option::is_none) => {}
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = self.is_over() => {}
        }
    }

    async fn pull(
        &self,
        session: &Session,
        places: &Arc<Semaphore>,
        is_lost: impl Future<Output = ()>,
    ) -> Result<End, String> {
        self.make_consumer(session).await?;
        let client = session.context.client();
        let inbox = client.new_inbox();
        let subscribed = client.subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|error| words_of(&error))?;
        let mut asking = Asking {
            line: self,
            client,
            inbox,
            messages,
            asked: Vec::new(),
        };
        let end = asking.ask(places, is_lost).await;
        asking.leave().await;
        end
    }

    /// Made where it is missing, and changed where the concurrency is another.
    async fn make_consumer(&self, session: &Session) -> Result<(), String> {
        let target = &self.name;
        let config = pull::Config {
            durable_name: Some(names::consumer(target)),
            filter_subject: names::filter(&self.stream, target),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.inner.ack_wait,
            // What nobody could deliver is told after days, by us.
            max_deliver: -1,
            max_ack_pending: i64::try_from(self.concurrency).unwrap_or(i64::MAX),
            ..pull::Config::default()
        };
        let context = &session.context;
        let made = context.create_consumer_on_stream(config, &self.stream);
        made.await.map(drop).map_err(|error| words_of(&error))
    }
}

/// An inbox that messages come to, and the places that are kept for them.
struct Asking<'a> {
    line: &'a Line,
    client: Client,
    inbox: String,
    messages: Subscriber,
    asked: Vec<OwnedSemaphorePermit>,
}

impl Asking<'_> {
    async fn ask(
        &mut self,
        places: &Arc<Semaphore>,
        is_lost: impl Future<Output = ()>,
    ) -> Result<End, String> {
        let is_over = self.line.is_over();
        tokio::pin!(is_lost, is_over);
        let mut silent = Instant::now() + EXPIRES + LOST;
        loop {
            tokio::select! {
                () = &mut is_over => return Ok(End::Stopped),
                () = &mut is_lost => return Ok(End::Again),
                message = self.messages.next() => match message {
                    Some(message) => self.take(message)?,
                    None => return Ok(End::Again),
                },
                // A leader that died has forgotten what it was asked for.
                () = sleep_until(silent), if !self.asked.is_empty() => return Ok(End::Again),
                place = Arc::clone(places).acquire_owned() => {
                    let Ok(place) = place else {
                        return Ok(End::Stopped);
                    };
                    self.request(place, places).await?;
                }
            }
            silent = Instant::now() + EXPIRES + LOST;
        }
    }

    /// Asks for as many as there are places.
    async fn request(
        &mut self,
        place: OwnedSemaphorePermit,
        places: &Arc<Semaphore>,
    ) -> Result<(), String> {
        let before = self.asked.len();
        self.asked.push(place);
        while let Ok(place) = Arc::clone(places).try_acquire_owned() {
            self.asked.push(place);
        }
        let batch = self.asked.len() - before;
        let expires = EXPIRES.as_nanos();
        let (stream, consumer) = (&self.line.stream, names::consumer(&self.line.name));
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let request = format!("{{\"batch\":{batch},\"expires\":{expires}}}");
        let inbox = self.inbox.clone();
        let sent = self
            .client
            .publish_with_reply(subject, inbox, request.into());
        sent.await.map_err(|error| words_of(&error))
    }

    /// A message, or word of why so many will not come.
    fn take(&mut self, message: Message) -> Result<(), String> {
        let Some(status) = message.status else {
            self.start(message);
            return Ok(());
        };
        let headers = message.headers.as_ref();
        let rest = headers.and_then(|headers| headers.get("Nats-Pending-Messages"));
        match (
            status.as_u16(),
            rest.and_then(|it| it.as_str().parse::<usize>().ok()),
        ) {
            // Nobody waits for an answer any more: ask again.
            (404 | 408 | 409, Some(rest)) => {
                self.asked.truncate(self.asked.len().saturating_sub(rest));
                Ok(())
            }
            (code, _) => {
                let words = message.description.as_deref().unwrap_or_default();
                Err(format!("the consumer says {code} {words}"))
            }
        }
    }

    fn start(&mut self, message: Message) {
        let line = self.line;
        let Some(target) = line.target.borrow().clone() else {
            return;
        };
        let round = Round {
            inner: Arc::clone(&line.inner),
            stream: line.stream.clone(),
            target,
            phase: line.phase.clone(),
        };
        let place = self.asked.pop();
        tokio::spawn(async move {
            round.go(message).await;
            drop(place);
        });
    }

    /// What comes all the same goes back.
    async fn leave(mut self) {
        let _ = self.messages.unsubscribe().await;
        let _ = self.client.flush().await;
        while let Some(message) = self.messages.next().await {
            if let (None, Some(reply)) = (message.status, message.reply) {
                let back: Bytes = AckKind::Nak(None).into();
                let _ = self.client.publish(reply, back).await;
            }
        }
    }
}
