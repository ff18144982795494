//! Handlers and sessions of any type as one type.
//!
//! The traits with boxed futures stay in here: in scope beside [`Handler`] and [`Session`] their
//! methods would be ambiguous.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use prixfixe_core::Reply;

use super::{Accepted, Handler, Session};
use crate::hooks::{Command, Data, Hello, Mail, Rcpt};
use crate::{Client, Identity, Login, Message};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Reply>> + Send + 'a>>;

/// A handler of any type. Cheap to clone.
///
/// ```
/// use prixfixe_server::{Accepted, BoxHandler, Message, Server, inbox};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (collecting, _inbox) = inbox();
/// let dropping = |_: Message| async { Ok(Accepted::default()) };
/// let handler = if std::env::args().len() > 1 { BoxHandler::new(collecting) } else { BoxHandler::new(dropping) };
/// let server = Server::builder().listen(([127, 0, 0, 1], 0)).handler(handler).start()?;
/// # drop(server);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct BoxHandler(Arc<dyn Connects>);

impl BoxHandler {
    /// Forgets the type of a handler.
    #[must_use]
    pub fn new(handler: impl Handler) -> Self {
        Self(Arc::new(Erased(Arc::new(handler))))
    }
}

impl Handler for BoxHandler {
    type Session = BoxSession;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<BoxSession, Reply> {
        self.0.connect(client).await
    }

    fn needs_runtime(&self) -> bool {
        self.0.needs_runtime()
    }
}

impl fmt::Debug for BoxHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxHandler").finish_non_exhaustive()
    }
}

trait Connects: Send + Sync {
    fn connect<'a>(&'a self, client: &'a Client) -> Boxed<'a, BoxSession>;
    fn needs_runtime(&self) -> bool;
}

struct Erased<H>(Arc<H>);

impl<H: Handler> Connects for Erased<H> {
    fn connect<'a>(&'a self, client: &'a Client) -> Boxed<'a, BoxSession> {
        Box::pin(async { Ok(BoxSession::new(self.0.connect(client).await?)) })
    }

    fn needs_runtime(&self) -> bool {
        self.0.needs_runtime()
    }
}

/// A session of any type. Each question to it costs an allocation.
pub struct BoxSession(Box<dyn Answers>);

impl BoxSession {
    /// Forgets the type of a session.
    #[must_use]
    pub fn new(session: impl Session) -> Self {
        Self(Box::new(Whole(session)))
    }
}

impl fmt::Debug for BoxSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxSession").finish_non_exhaustive()
    }
}

/// A type of its own, so that the trait below is not one of every session's.
struct Whole<S>(S);

macro_rules! hooks {
    ($($hook:ident($argument:ty) -> $answer:ty;)*) => {
        trait Answers: Send {
            $(fn $hook<'a>(&'a mut self, argument: $argument) -> Boxed<'a, $answer>;)*
            fn reset(&mut self);
        }

        impl<S: Session> Answers for Whole<S> {
            $(fn $hook<'a>(&'a mut self, argument: $argument) -> Boxed<'a, $answer> {
                Box::pin(self.0.$hook(argument))
            })*

            fn reset(&mut self) {
                self.0.reset();
            }
        }
    };
}

hooks! {
    hello(Hello<'a>) -> ();
    authenticate(Login<'a>) -> Identity;
    mail(Mail<'a>) -> ();
    rcpt(Rcpt<'a>) -> ();
    data(Data<'a>) -> ();
    message(Message) -> Accepted;
    command(Command<'a>) -> Reply;
}

impl Session for BoxSession {
    async fn hello(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        self.0.hello(hello).await
    }

    async fn authenticate(&mut self, login: Login<'_>) -> Result<Identity, Reply> {
        self.0.authenticate(login).await
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.0.mail(mail).await
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        self.0.rcpt(rcpt).await
    }

    async fn data(&mut self, data: Data<'_>) -> Result<(), Reply> {
        self.0.data(data).await
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        self.0.message(message).await
    }

    async fn command(&mut self, command: Command<'_>) -> Result<Reply, Reply> {
        self.0.command(command).await
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
