//! What an application does with mail: a handler that makes a session for each connection.

mod accepted;
mod boxed;
mod closure;
mod or_reply;

use std::future::Future;
use std::sync::Arc;

use prixfixe_core::Reply;

use crate::hooks::{Command, Data, Hello, Mail, Rcpt};
use crate::{Client, Identity, Login, Message};

pub use accepted::Accepted;
pub(crate) use accepted::Outcome;
pub use boxed::{BoxHandler, BoxSession};
pub use closure::{Closure, Sessions};
pub use or_reply::OrReply;

/// Makes a [`Session`] for each connection.
///
/// A closure `Fn(Message) -> impl Future` is a handler that accepts every client, sender and
/// recipient. [`ServerBuilder::sessions`](crate::ServerBuilder::sessions) takes a closure that
/// makes sessions. Write a handler of your own where that is not enough.
///
/// ```
/// use std::sync::Arc;
///
/// use prixfixe_server::{Accepted, Client, Handler, Message, Rcpt, Reply, Session};
///
/// struct Shop {
///     domain: String,
/// }
///
/// impl Handler for Shop {
///     type Session = Visit;
///
///     async fn connect(self: &Arc<Self>, _: &Client) -> Result<Visit, Reply> {
///         Ok(Visit { shop: Arc::clone(self), unknown: 0 })
///     }
/// }
///
/// /// One connection: what it has found out stays with it.
/// struct Visit {
///     shop: Arc<Shop>,
///     unknown: u32,
/// }
///
/// impl Session for Visit {
///     async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
///         match rcpt.path().mailbox() {
///             Some(mailbox) if mailbox.domain() != self.shop.domain => {
///                 self.unknown += 1;
///                 Err(Reply::NO_SUCH_USER)
///             }
///             _ => Ok(()),
///         }
///     }
///
///     async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
///         let message = message.collect().await?;
///         println!("{} octets after {} bad names", message.content().len(), self.unknown);
///         Ok(Accepted::default())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle mail",
    label = "neither a `Handler` nor a closure `Fn(Message) -> impl Future<Output = Result<Accepted, Reply>>`",
    note = "give `ServerBuilder::handler` a closure `|message: Message| async move {{ .. }}` or a type with `impl Handler`",
    note = "or give `ServerBuilder::sessions` a closure that makes a `Session` for each `Client`"
)]
pub trait Handler: Send + Sync + 'static {
    /// One connection, as the application sees it.
    type Session: Session;

    /// A client has connected and waits for the greeting. An `Err` is what it gets in place of one.
    fn connect(
        self: &Arc<Self>,
        client: &Client,
    ) -> impl Future<Output = Result<Self::Session, Reply>> + Send;

    /// True: the hooks use sockets or timers of tokio's. They are then polled inside of a runtime
    /// on the raw transport too, which has none of its own: a server starts one, with one thread,
    /// for all of its sessions. Asked once, when the server starts.
    fn needs_runtime(&self) -> bool {
        false
    }
}

/// One connection, as the application sees it.
///
/// It is asked one question at a time, in the order of the dialogue. While a question is open the
/// client waits, and so does whatever it has pipelined. An `Err` is the reply that the client gets:
/// its code must be 4xx or 5xx (anything else is sent as `451 4.3.0`). A `421`, and a reply that
/// [closes](Reply::and_close), ends the connection.
///
/// State lives in the session: what RCPT found out is there at `message`. Its `Drop` is the end of
/// the connection.
///
/// Each hook's future may be dropped at any `.await`: when the client is gone, when the server
/// stops, and when it takes longer than the server's `handler_timeout`. In the last case the client
/// receives `451 4.3.0` (at a login `454 4.7.0`) and the session goes on; over MAIL and over a
/// message [`reset`](Self::reset) is called, since the transaction is gone. A panic ends the
/// connection with `421 4.3.0` and is logged.
///
/// The futures are polled by the connection's own task or loop: do blocking work elsewhere.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no session of an application's",
    note = "write `impl Session for {Self}`; only `message` has no default"
)]
pub trait Session: Send + 'static {
    /// The client introduces itself.
    fn hello(&mut self, hello: Hello<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = hello;
        async { Ok(()) }
    }

    /// The client wants to log in. Asked where mechanisms are offered
    /// ([`Settings::auth_mechanisms`](crate::Settings::auth_mechanisms)) and no
    /// [`Authenticator`](crate::Authenticator) is set. `Ok`: the client is this one from now on, up
    /// to a STARTTLS.
    ///
    /// [`Reply::BAD_CREDENTIALS`] is for a login that is wrong, and counts against the client;
    /// [`Reply::LOGIN_UNAVAILABLE`] for one that cannot be checked now.
    fn authenticate(
        &mut self,
        login: Login<'_>,
    ) -> impl Future<Output = Result<Identity, Reply>> + Send {
        let _ = login;
        async { Err(Reply::BAD_CREDENTIALS) }
    }

    /// The client wants to begin a transaction.
    fn mail(&mut self, mail: Mail<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = mail;
        async { Ok(()) }
    }

    /// The client names a recipient.
    fn rcpt(&mut self, rcpt: Rcpt<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = rcpt;
        async { Ok(()) }
    }

    /// The client is about to send the content: the last moment at which none of it has been sent.
    /// A refusal ends the transaction.
    fn data(&mut self, data: Data<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = data;
        async { Ok(()) }
    }

    /// Takes the message as it arrives. `Ok`: it is safe, the client receives 250 and may forget
    /// it.
    ///
    /// Where the content will never be complete, [`Body::chunk`](crate::Body::chunk) says so: the
    /// future is polled once more, to see it, and dropped. So what has to be cleaned up is cleaned
    /// up by `Drop`, by [`reset`](Self::reset), or by a task of its own.
    fn message(&mut self, message: Message)
    -> impl Future<Output = Result<Accepted, Reply>> + Send;

    /// The client sent a command that is none of SMTP's. `Ok` is the reply to it; the default
    /// refuses it as an unknown one.
    fn command(
        &mut self,
        command: Command<'_>,
    ) -> impl Future<Output = Result<Reply, Reply>> + Send {
        let _ = command;
        async { Err(Reply::UNKNOWN_COMMAND) }
    }

    /// The transaction is gone without an answer of [`message`](Self::message) that counted: RSET,
    /// another EHLO, a lost or refused body, a refusal of [`data`](Self::data), or
    /// [`mail`](Self::mail) or [`message`](Self::message) that ran over its time.
    fn reset(&mut self) {}
}

/// A shared handler is one too, so that an application can keep a hand on it.
impl<H: Handler> Handler for Arc<H> {
    type Session = H::Session;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<H::Session, Reply> {
        H::connect(self, client).await
    }

    fn needs_runtime(&self) -> bool {
        H::needs_runtime(self)
    }
}
