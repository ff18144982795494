//! What decides beside the handler: checks, asked in order before it.

mod content;
mod edit;
mod erased;
mod verdict;

use std::future::Future;
use std::sync::Arc;

use prixfixe_core::Reply;

use crate::Client;
use crate::hooks::{Command, Data, Hello, Mail, Rcpt};

pub use content::Content;
pub use edit::Edit;
pub(crate) use edit::apply;
pub(crate) use erased::{Checks, Opened};
pub(crate) use verdict::Judged;
pub use verdict::{Finding, Verdict};

/// A check of clients, senders, recipients or contents: a blocklist, SPF, a virus scanner.
///
/// Checks are stacked by [`ServerBuilder::check`](crate::ServerBuilder::check). Each is asked, in
/// their order, before the handler is. The first refusal wins, and nobody behind it is asked. There
/// is nothing to pass on by hand, and so nothing to forget.
///
/// ```
/// use std::sync::Arc;
///
/// use prixfixe_server::{Check, CheckSession, Client, Mail, Reply, Server, inbox};
///
/// struct NoBounces;
///
/// impl Check for NoBounces {
///     type Session = NoBounces;
///
///     async fn connect(self: &Arc<Self>, _: &Client) -> Result<NoBounces, Reply> {
///         Ok(NoBounces)
///     }
/// }
///
/// impl CheckSession for NoBounces {
///     async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
///         mail.reverse_path().mailbox().map(drop).ok_or(Reply::REFUSED)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (handler, _inbox) = inbox();
/// let server = Server::builder()
///     .listen(([127, 0, 0, 1], 0))
///     .check(NoBounces)
///     .handler(handler)
///     .start()?;
/// # drop(server);
/// # Ok(()) }
/// ```
pub trait Check: Send + Sync + 'static {
    /// One connection, as the check sees it.
    type Session: CheckSession;

    /// A client has connected and waits for the greeting.
    fn connect(
        self: &Arc<Self>,
        client: &Client,
    ) -> impl Future<Output = Result<Self::Session, Reply>> + Send;

    /// As [`Handler::needs_runtime`](crate::Handler::needs_runtime).
    fn needs_runtime(&self) -> bool {
        false
    }
}

/// One connection, as a check sees it. What holds for the hooks of a [`Session`](crate::Session)
/// holds here.
pub trait CheckSession: Send + 'static {
    /// The client introduces itself.
    fn hello(&mut self, hello: Hello<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = hello;
        async { Ok(()) }
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

    /// The client is about to send the content.
    fn data(&mut self, data: Data<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = data;
        async { Ok(()) }
    }

    /// The client gives a command that is none of SMTP's. What a check refuses, the handler is not
    /// asked about.
    fn command(&mut self, command: Command<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = command;
        async { Ok(()) }
    }

    /// Whether the [content](Self::content) of this transaction is looked at: asked when it is
    /// about to come. If one of the checks looks, the message is [gathered](crate::Gathered) before
    /// the handler gets it.
    fn reads_content(&self) -> bool {
        false
    }

    /// All of the content is there, without the headers that the server adds: as the client sent
    /// it, or with the edits of the checks before this one, as [`sees_edits`](Self::sees_edits)
    /// says. Asked where [`reads_content`](Self::reads_content) says so.
    fn content(
        &mut self,
        content: Content<'_>,
    ) -> impl Future<Output = Result<Verdict, Reply>> + Send {
        let _ = content;
        async { Ok(Verdict::default()) }
    }

    /// Whether this check looks at the content as the checks before it have edited it. A filter
    /// does, since it may go by what another one has written; what verifies a signature does not.
    /// The checks behind it see the edits too.
    fn sees_edits(&self) -> bool {
        false
    }

    /// Whether nothing more of this transaction is of interest: asked when [`mail`](Self::mail) has
    /// accepted it, before each further hook. Then [`rcpt`](Self::rcpt), [`data`](Self::data) and
    /// [`content`](Self::content) are left out, which costs less than an answer.
    fn is_indifferent(&self) -> bool {
        false
    }

    /// The transaction is gone, as [`Session::reset`](crate::Session::reset) says.
    fn reset(&mut self) {}
}
