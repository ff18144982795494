//! What an application does with mail.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use prixfixe_core::{ForwardPath, MailParameters, Reply, ReversePath};

use crate::{BodyError, Client, Envelope, Message};

/// Decides what is accepted, and keeps it.
///
/// One question is asked at a time in a session; while it is open the client waits, and so does whatever it has
/// pipelined. An `Err` is the reply that the client gets: its code must be 4xx or 5xx (anything else is sent as
/// `451 4.3.0`), and a `421` closes the connection. A panic is answered `421 4.3.0` and logged; an answer that takes
/// longer than the server's `handler_timeout` is given up and answered `451 4.3.0`.
///
/// The future is polled by the connection's own task or loop: do blocking work elsewhere.
///
/// A closure `Fn(Message) -> impl Future` is a handler that accepts every client, sender and recipient.
///
/// ```
/// use prixfixe_server::{Accepted, Client, Envelope, ForwardPath, Handler, Message, Reply};
///
/// struct OnlyUs;
///
/// impl Handler for OnlyUs {
///     async fn rcpt(&self, _: &Client, _: &Envelope, to: &ForwardPath) -> Result<(), Reply> {
///         match to {
///             ForwardPath::Mailbox(mailbox) if mailbox.domain() != "example.com" => {
///                 Err(Reply::permanent("we do not receive mail for that domain"))
///             }
///             _ => Ok(()),
///         }
///     }
///
///     async fn message(&self, message: Message) -> Result<Accepted, Reply> {
///         let message = message.collect().await?;
///         println!("{} octets for {:?}", message.content().len(), message.envelope().forward_paths());
///         Ok(Accepted::default())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// A client has connected and waits for the greeting.
    fn connect(&self, client: &Client) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = client;
        async { Ok(()) }
    }

    /// A client wants to begin a transaction.
    fn mail(
        &self,
        client: &Client,
        from: &ReversePath,
        parameters: &MailParameters,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = (client, from, parameters);
        async { Ok(()) }
    }

    /// A client names a recipient. The envelope holds those accepted before.
    fn rcpt(
        &self,
        client: &Client,
        envelope: &Envelope,
        to: &ForwardPath,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = (client, envelope, to);
        async { Ok(()) }
    }

    /// Takes the message as it arrives. `Ok`: it is safe, the client is told 250 and may forget it.
    ///
    /// Where the content will never be complete, [`Body::chunk`](crate::Body::chunk) says so: the future is polled once
    /// more, to see it, and dropped. It is dropped as well when the connection is lost or the server stops. So what has to be
    /// cleaned up is cleaned up by `Drop`, or by a task of its own.
    fn message(&self, message: Message) -> impl Future<Output = Result<Accepted, Reply>> + Send;
}

impl<F, A> Handler for F
where
    F: Fn(Message) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Accepted, Reply>> + Send,
{
    async fn message(&self, message: Message) -> Result<Accepted, Reply> {
        self(message).await
    }
}

/// A shared handler is one too, so that an application can keep a hand on it.
impl<H: Handler> Handler for Arc<H> {
    async fn connect(&self, client: &Client) -> Result<(), Reply> {
        H::connect(self, client).await
    }

    async fn mail(
        &self,
        client: &Client,
        from: &ReversePath,
        parameters: &MailParameters,
    ) -> Result<(), Reply> {
        H::mail(self, client, from, parameters).await
    }

    async fn rcpt(
        &self,
        client: &Client,
        envelope: &Envelope,
        to: &ForwardPath,
    ) -> Result<(), Reply> {
        H::rcpt(self, client, envelope, to).await
    }

    async fn message(&self, message: Message) -> Result<Accepted, Reply> {
        H::message(self, message).await
    }
}

/// A message is safe: what its client is told.
///
/// By default `250 2.0.0 OK ID`, with the message's id.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    text: Option<Cow<'static, str>>,
}

impl Accepted {
    /// Accepted, with a text in place of `OK ID`.
    #[must_use]
    pub fn with_text(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: Some(text.into()),
        }
    }

    pub(crate) fn into_reply(self, id: crate::MessageId) -> Reply {
        // Formatting would cost more than all else about this reply.
        let text = || Cow::Owned(["OK ", id.as_str()].concat());
        Reply::ok(self.text.unwrap_or_else(text))
    }
}

/// So that a handler can write `message.collect().await?`. The client of a broken message is gone or gets the reply
/// that its mistake earned, whatever the handler says.
impl From<BodyError> for Reply {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Refused(reply) => reply,
            BodyError::Incomplete | BodyError::TimedOut | BodyError::Stopped => {
                Reply::transient("message incomplete")
            }
        }
    }
}
