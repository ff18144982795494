//! The application's side of a connection: one future that owns its session and answers questions.
//!
//! The future is made when a client connects and lives as long as the connection. It is handed
//! owned questions and gives owned answers; what a hook borrows lives inside of it. So the hooks of
//! one session follow each other with neither a lock nor an allocation of ours, and an idle
//! connection costs what the session itself does.
//!
//! Question and answer pass through a place of the thread, since a future is given nothing but a
//! waker when it is polled. The place is filled immediately before the poll and emptied immediately
//! after it, and the future takes its question before it runs any code of the application's. A hook
//! may so drive another server on the same thread.
//!
//! A hook that is to end early (its time is over, its body broke off) is dropped alone, by
//! [`abandon`](Conversation::abandon); the session is told by [`Session::reset`] and stays.

mod run;
mod runtime;
mod stack;

pub(crate) use self::runtime::Surroundings;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Waker};

use prixfixe_core::{Mechanism, Reply, Secret};

pub(crate) use self::stack::Checked;
use crate::authenticator::AnyAuthenticator;
use crate::check::Checks;
use crate::client::Greeting;
use crate::login::Exchange;
use crate::{Accepted, Client, Envelope, Handler, Message, Recipient};

/// Over this, in bytes, the future of each connection is worth a warning.
const LARGE: usize = 2048;

/// What the session is asked, or told.
pub(crate) enum Question {
    /// Its client greets. Accepted, the client is the one with that greeting.
    Hello(Greeting),
    Mail(Arc<Envelope>),
    Rcpt(Arc<Envelope>, Recipient),
    Data(Arc<Envelope>),
    Message(Box<Message>),
    /// The client is who it says, for all that the session knows. Accepted, the client is the one
    /// with that identity.
    Login(Box<LoginQuestion>),
    Command {
        verb: Box<str>,
        argument: Box<str>,
    },
    /// The transaction is gone.
    Reset,
}

/// A login: by what, what came with it, and the way to the client.
pub(crate) struct LoginQuestion {
    pub(crate) mechanism: Mechanism,
    pub(crate) initial_response: Option<Secret>,
    pub(crate) exchange: Arc<Exchange>,
    /// `None`: the session is asked.
    pub(crate) authenticator: Option<AnyAuthenticator>,
}

/// What the session says, and what came of the question beside that.
pub(crate) struct Answer {
    pub(crate) result: Result<Accepted, Reply>,
    pub(crate) about: About,
}

/// What is given back with an answer.
pub(crate) enum About {
    Nothing,
    /// The client as it is known from now on.
    Client(Client),
    /// The recipient that was asked about.
    Recipient(Recipient),
}

/// The application panicked; the panic's message went to the panic hook.
#[derive(Debug)]
pub(crate) struct Panicked;

/// What is handed to the future.
enum Told {
    /// The first question: whether this client is wanted.
    Connect(Client),
    Question(Question),
    /// The client is another one now: it speaks TLS.
    Client(Client),
}

thread_local! {
    static TOLD: Cell<Option<Told>> = const { Cell::new(None) };
    static ANSWER: Cell<Option<Answer>> = const { Cell::new(None) };
    /// The hook that is running is to be dropped.
    static ABANDON: Cell<bool> = const { Cell::new(false) };
}

/// What the future was handed. In a thread that is ending, nothing.
fn told() -> Option<Told> {
    TOLD.try_with(Cell::take).ok().flatten()
}

fn give(answer: Answer) {
    let _ = ANSWER.try_with(|place| place.set(Some(answer)));
}

fn is_abandoned() -> bool {
    ABANDON.try_with(Cell::take).unwrap_or(false)
}

/// What makes conversations, whatever the type of the handler.
pub(crate) trait Begin: Send + Sync {
    /// The conversation about a connection; its first question is
    /// [`connect`](Conversation::connect).
    fn begin(&self) -> Conversation;

    /// What its hooks need around them, if they do.
    fn surroundings(&self) -> Option<Arc<Surroundings>>;
}

/// A handler without its type.
pub(crate) struct Application<H> {
    handler: Arc<H>,
    checks: Checks,
    measured: Once,
    /// `None`: nobody needs a runtime.
    surroundings: Option<Arc<Surroundings>>,
}

impl<H: Handler> Application<H> {
    pub(crate) fn new(handler: Arc<H>, checks: Checks) -> Self {
        let needs_runtime = handler.needs_runtime() || checks.need_runtime();
        Self {
            surroundings: needs_runtime.then(Arc::default),
            handler,
            checks,
            measured: Once::new(),
        }
    }
}

impl<H> Application<H> {
    /// Starts what the hooks need around them, where the transport has no runtime.
    pub(crate) fn start_surroundings(&self) -> io::Result<()> {
        match &self.surroundings {
            Some(surroundings) => surroundings.start(),
            None => Ok(()),
        }
    }
}

impl<H: Handler> Begin for Application<H> {
    fn begin(&self) -> Conversation {
        let future = run::run(Arc::clone(&self.handler), self.checks.clone());
        let size = size_of_val(&future);
        self.measured.call_once(|| warn_of(size));
        Conversation {
            future: Some(Box::pin(future)),
            surroundings: self.surroundings.clone(),
        }
    }

    fn surroundings(&self) -> Option<Arc<Surroundings>> {
        self.surroundings.clone()
    }
}

fn warn_of(size: usize) {
    if size > LARGE {
        tracing::warn!(
            target: "prixfixe",
            bytes = size,
            "each connection holds a large session; box what is large in its hooks"
        );
    }
}

/// The conversation with the application about one connection.
pub(crate) struct Conversation {
    /// `None` after a panic.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What the future is polled, and dropped, inside of.
    surroundings: Option<Arc<Surroundings>>,
}

impl Conversation {
    /// Asks whether a client is wanted: the first question.
    pub(crate) fn connect(
        &mut self,
        client: Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Panicked>> {
        self.turn(Some(Told::Connect(client)), cx)
    }

    /// Asks, and gives the answer if it is there at once. One question at a time.
    pub(crate) fn ask(
        &mut self,
        question: Question,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Panicked>> {
        self.turn(Some(Told::Question(question)), cx)
    }

    /// Lets the session go on with the open question.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Panicked>> {
        self.turn(None, cx)
    }

    /// Drops the hook that is running. The answer is there at once.
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>) -> Result<Answer, Panicked> {
        let _ = ABANDON.try_with(|abandon| abandon.set(true));
        let turned = self.turn(None, cx);
        // Not for another connection's hook, if none took it here.
        let _ = ABANDON.try_with(Cell::take);
        match turned {
            Poll::Ready(answer) => answer,
            // No hook was running, or the session is broken.
            Poll::Pending => Err(Panicked),
        }
    }

    /// Tells the session that the transaction is gone. After a panic there is none to tell, and the
    /// panic was reported when it happened.
    pub(crate) fn reset(&mut self, cx: &mut Context<'_>) -> Result<(), Panicked> {
        if self.future.is_none() {
            return Ok(());
        }
        match self.turn(Some(Told::Question(Question::Reset)), cx) {
            Poll::Ready(Err(panicked)) => Err(panicked),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    /// From now on the client is this one.
    pub(crate) fn set_client(&mut self, client: Client) {
        // Nothing of the application's runs.
        let _ = self.turn(
            Some(Told::Client(client)),
            &mut Context::from_waker(Waker::noop()),
        );
    }

    fn turn(&mut self, what: Option<Told>, cx: &mut Context<'_>) -> Poll<Result<Answer, Panicked>> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(Err(Panicked));
        };
        if what.is_some() {
            let _ = TOLD.try_with(|place| place.set(what));
        }
        let _entered = self.surroundings.as_ref().and_then(|it| it.enter_to_ask());
        // The future is dropped after a panic, so nobody sees what it left half done.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let _ = TOLD.try_with(Cell::take);
        let answer = ANSWER.try_with(Cell::take).ok().flatten();
        if polled.is_err() {
            self.drop_session();
            return Poll::Ready(Err(Panicked));
        }
        answer.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
    }

    /// The end of the session is the application's code too.
    fn drop_session(&mut self) {
        let future = self.future.take();
        let _entered = self.surroundings.as_ref().and_then(|it| it.enter());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.drop_session();
    }
}

#[cfg(test)]
mod tests;
