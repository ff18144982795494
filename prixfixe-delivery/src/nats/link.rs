//! What is known of the servers and their stream: whether mail can be published, and how.
//!
//! One task says so ([`keep`](super::keep)). Messages only look at what it has said.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::{Context, ContextBuilder};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::answers::Answers;
use super::connection::{Access, Lost};
use super::inspect::Found;
use super::keep::Begun;
use super::options::{NatsError, NatsOptions};
use super::url::NatsUrl;
use crate::upstream::Upstream;
use crate::{BoxFuture, Failure};

/// Looks whether what is there keeps what it acknowledges.
pub(crate) trait Inspection: Send + Sync + 'static {
    /// Looks once.
    fn look<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Found>;
}

/// A connection that is kept, until this is dropped.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    task: AbortHandle,
}

/// The connection ends with its last user.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Connects and looks once. Servers that cannot be reached are no error.
    pub(crate) async fn open(
        url: &NatsUrl,
        options: NatsOptions,
        inspection: impl Inspection,
    ) -> Result<Self, NatsError> {
        let access = Access::read(url, &options)?;
        let away = State::Away("it was not reached yet".into(), Instant::now());
        let shared = Arc::new(Shared {
            url: url.clone(),
            access: RwLock::new(Accesses::new(access)),
            changed: Notify::new(),
            upstream: Upstream::new(&options.name, options.concurrency),
            state: watch::Sender::new(away),
            look: Notify::new(),
            inspection: Box::new(inspection),
            options,
        });
        let first = shared.any();
        let looked = timeout(shared.options.timeout, shared.first_look(first)).await;
        if looked.is_err() {
            let words = "the server has taken too long, at the start";
            shared.away(words, Instant::now()).await;
        }
        let begun = match looked.ok().flatten() {
            Some((_, Found::Fault(words))) => return Err(NatsError::Stream(words)),
            Some((connection, _)) => Begun::With(connection),
            None => Begun::Without(first),
        };
        let task = tokio::spawn(Arc::clone(&shared).keep(begun)).abort_handle();
        Ok(Self { shared, task })
    }
}

/// What all messages share.
pub(crate) struct Shared {
    pub(crate) url: NatsUrl,
    pub(crate) options: NatsOptions,
    access: RwLock<Accesses>,
    /// The configuration says which access is wanted.
    pub(super) changed: Notify,
    pub(crate) upstream: Upstream,
    pub(crate) state: watch::Sender<State>,
    /// Somebody has a reason to doubt what is known.
    pub(crate) look: Notify,
    pub(super) inspection: Box<dyn Inspection>,
}

/// What the servers are reached with. A new one may not work, and the one before still does.
struct Accesses {
    /// What the configuration says.
    wanted: Arc<Access>,
    /// What mail could be published with last.
    worked: Option<Arc<Access>>,
}

impl Accesses {
    fn new(wanted: Access) -> Self {
        Self {
            wanted: Arc::new(wanted),
            worked: None,
        }
    }
}

/// Whether mail can be published.
#[derive(Clone)]
pub(crate) enum State {
    /// There is no connection, or JetStream does not answer. Until then it may be but a moment.
    Away(Box<str>, Instant),
    /// The stream would not keep it.
    Faulty(Box<str>),
    Ready(Arc<Session>),
}

/// A connection that works, and a stream that keeps what it acknowledges.
pub(crate) struct Session {
    pub(crate) context: Context,
    /// The largest message, headers included, that the stream takes.
    pub(crate) max_message_size: Option<usize>,
    /// How often the connection was lost: whoever waits for an answer while that grows waits for
    /// nothing.
    pub(crate) lost: watch::Receiver<Lost>,
    /// Where is counted who waits for an acknowledgement, and what else is under way.
    pub(crate) answers: Arc<Answers>,
}

impl Session {
    /// The largest message, headers included.
    pub(crate) fn limit(&self) -> usize {
        let server = self.context.client().max_payload();
        self.max_message_size
            .map_or(server, |stream| server.min(stream))
    }

    /// How often the connection was lost so far.
    pub(crate) fn losses(&self) -> u64 {
        self.lost.borrow().times
    }

    /// Ends when the connection has been lost more often than that: what waits in it is never
    /// answered.
    pub(crate) async fn is_lost_since(&self, times: u64) {
        let mut lost = self.lost.clone();
        // An error: the connection was given up.
        let _ = lost.wait_for(|now| now.times != times).await;
    }
}

impl Shared {
    /// Where to publish, if that is known just now.
    #[cfg(feature = "fleet")]
    pub(crate) fn ready(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            State::Ready(session) => Some(Arc::clone(session)),
            State::Away(..) | State::Faulty(_) => None,
        }
    }

    /// Where to publish, or why not. Waits while a connection may come back in a moment.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.subscribe();
        loop {
            let until = match &*state.borrow_and_update() {
                State::Ready(session) => return Ok(Arc::clone(session)),
                State::Faulty(words) => return Err(Failure::said(FAULTY).because(words.clone())),
                State::Away(words, until) if *until <= Instant::now() => {
                    return Err(Failure::unreachable(words.clone()));
                }
                State::Away(_, until) => *until,
            };
            let _ = timeout(
                until.saturating_duration_since(Instant::now()),
                state.changed(),
            )
            .await;
        }
    }

    /// What is known before a content is read.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        match &*self.state.borrow() {
            State::Faulty(words) => Some(Failure::said(FAULTY).because(words.clone())),
            State::Away(words, until) if *until <= Instant::now() => {
                Some(Failure::unreachable(words.clone()))
            }
            State::Away(..) | State::Ready(_) => None,
        }
    }

    /// The access that is wanted from now on; it is tried at once where another one is in use.
    /// Messages under way have their answers over the connection before.
    #[cfg(feature = "fleet")]
    pub(crate) fn set_access(&self, access: Access) {
        let mut current = self.access.write().unwrap_or_else(PoisonError::into_inner);
        current.wanted = Arc::new(access);
        self.changed.notify_one();
    }

    pub(super) fn wanted(&self) -> Arc<Access> {
        let current = self.access.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.wanted)
    }

    /// What has worked last, where that is another one than what is wanted.
    pub(super) fn worked_before(&self) -> Option<Arc<Access>> {
        let current = self.access.read().unwrap_or_else(PoisonError::into_inner);
        let worked = current.worked.as_ref();
        worked.filter(|it| !it.is_same(&current.wanted)).cloned()
    }

    pub(super) fn has_worked(&self, access: &Arc<Access>) {
        let mut current = self.access.write().unwrap_or_else(PoisonError::into_inner);
        current.worked = Some(Arc::clone(access));
    }

    pub(super) fn context(&self, client: Client, timeout: Duration) -> Context {
        ContextBuilder::new()
            .timeout(timeout)
            .ack_timeout(timeout)
            .backpressure_on_inflight(true)
            .build(client)
    }
}

/// A stream that loses what it acknowledges: not the client's matter, and not for long.
const FAULTY: prixfixe_server::Reply = prixfixe_server::reply!(
    451 4.3.5 "Delivery is not set up correctly, try again later"
);

/// An error with its causes.
pub(crate) fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
        source = error.source();
    }
    words
}
