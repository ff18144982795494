//! Messages as a stream of values: for tests, and for applications that would rather receive than
//! be called.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use prixfixe_core::Reply;
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::{Accepted, Client, CollectedMessage, Handler, Message, Session, reply};

/// Makes a handler that collects each message, and the inbox that it puts them in.
///
/// The inbox holds as many as come. Where they are not read as fast as they come, use
/// [`bounded_inbox`]. When the inbox is dropped, clients receive 451.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_server::{Server, inbox};
///
/// let (handler, mut inbox) = inbox();
/// let server = Server::builder().listen(([127, 0, 0, 1], 0)).handler(handler).start()?;
/// send_a_mail_to(server.local_address()).await?;
/// let message = inbox.next().await.ok_or("no message")?;
/// assert!(message.content().starts_with(b"Subject: "));
/// # Ok(()) }
/// # async fn send_a_mail_to(_: std::net::SocketAddr) -> Result<(), std::io::Error> { Ok(()) }
/// ```
#[must_use]
pub fn inbox() -> (InboxHandler, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inbox = Inbox(Receiver::Unbounded(receiver));
    (InboxHandler(Sender::Unbounded(sender)), inbox)
}

/// An [`inbox`] of at most so many messages, and at least one: while it is full, clients wait for
/// their 250.
///
/// A program that sends two messages before it reads one waits for ever where there is room for
/// one.
#[must_use]
pub fn bounded_inbox(capacity: usize) -> (InboxHandler, Inbox) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let inbox = Inbox(Receiver::Bounded(receiver));
    (InboxHandler(Sender::Bounded(sender)), inbox)
}

/// The receiving end of [`inbox`], and a [`Stream`] of messages.
#[derive(Debug)]
pub struct Inbox(Receiver);

#[derive(Debug)]
enum Receiver {
    Unbounded(mpsc::UnboundedReceiver<CollectedMessage>),
    Bounded(mpsc::Receiver<CollectedMessage>),
}

impl Inbox {
    /// Waits for the next message. `None`: the server is gone and all of its messages were read.
    pub async fn next(&mut self) -> Option<CollectedMessage> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next), for those who write their futures by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<CollectedMessage>> {
        match &mut self.0 {
            Receiver::Unbounded(receiver) => receiver.poll_recv(cx),
            Receiver::Bounded(receiver) => receiver.poll_recv(cx),
        }
    }

    /// [`next`](Self::next) for a thread that may block.
    ///
    /// # Panics
    ///
    /// Inside an async context, whose thread it would block.
    pub fn next_blocking(&mut self) -> Option<CollectedMessage> {
        match &mut self.0 {
            Receiver::Unbounded(receiver) => receiver.blocking_recv(),
            Receiver::Bounded(receiver) => receiver.blocking_recv(),
        }
    }

    /// The next message, if it is there.
    pub fn try_next(&mut self) -> Option<CollectedMessage> {
        let received = match &mut self.0 {
            Receiver::Unbounded(receiver) => receiver.try_recv(),
            Receiver::Bounded(receiver) => receiver.try_recv(),
        };
        received.map_err(|_: TryRecvError| ()).ok()
    }

    /// Messages that are there and were not read.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Receiver::Unbounded(receiver) => receiver.len(),
            Receiver::Bounded(receiver) => receiver.len(),
        }
    }

    /// True when no message is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Stream for Inbox {
    type Item = CollectedMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(&mut self, cx)
    }
}

/// The handler of [`inbox`], and its session.
#[derive(Debug, Clone)]
pub struct InboxHandler(Sender);

#[derive(Debug, Clone)]
enum Sender {
    Unbounded(mpsc::UnboundedSender<CollectedMessage>),
    Bounded(mpsc::Sender<CollectedMessage>),
}

impl Handler for InboxHandler {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Self, Reply> {
        Ok(Self::clone(self))
    }
}

impl Session for InboxHandler {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        let is_taken = match &self.0 {
            Sender::Unbounded(sender) => sender.send(message).is_ok(),
            Sender::Bounded(sender) => sender.send(message).await.is_ok(),
        };
        match is_taken {
            true => Ok(Accepted::default()),
            false => Err(reply!(451 4.3.0 "nobody reads this inbox any more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Envelope;

    #[tokio::test]
    async fn an_inbox_is_a_stream_that_ends_with_its_handler() {
        for (mut handler, mut inbox) in [inbox(), bounded_inbox(2)] {
            for content in ["one", "two"] {
                let client = Client::builder().build();
                let message = Message::new(client, Envelope::builder().build(), [content]);
                assert!(handler.message(message).await.is_ok());
            }
            drop(handler);
            let mut stream = Pin::new(&mut inbox);
            let mut seen = Vec::new();
            while let Some(message) = poll_fn(|cx| Stream::poll_next(stream.as_mut(), cx)).await {
                seen.push(message.into_content());
            }
            assert_eq!(seen, ["one", "two"]);
        }
    }
}
