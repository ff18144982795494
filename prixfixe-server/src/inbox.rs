//! Messages as a stream of values: for tests, and for applications that would rather receive than be called.

use prixfixe_core::Reply;
use tokio::sync::mpsc;

use crate::{Accepted, CollectedMessage, Handler, Message};

/// Makes a handler that collects each message, and the inbox that it puts them in.
///
/// While `capacity` messages (at least one) wait in the inbox, clients wait for their 250. When the inbox is dropped,
/// they are told 451.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_server::{Server, inbox};
///
/// let (handler, mut inbox) = inbox(16);
/// let server = Server::builder().listen(([127, 0, 0, 1], 0)).handler(handler).start()?;
/// send_a_mail_to(server.local_address()).await?;
/// let message = inbox.next().await.ok_or("no message")?;
/// assert!(message.content().starts_with(b"Subject: "));
/// # Ok(()) }
/// # async fn send_a_mail_to(_: std::net::SocketAddr) -> Result<(), std::io::Error> { Ok(()) }
/// ```
#[must_use]
pub fn inbox(capacity: usize) -> (InboxHandler, Inbox) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    (InboxHandler { sender }, Inbox { receiver })
}

/// The receiving end of [`inbox`].
#[derive(Debug)]
pub struct Inbox {
    receiver: mpsc::Receiver<CollectedMessage>,
}

impl Inbox {
    /// Waits for the next message. `None`: the server is gone and all of its messages were read.
    pub async fn next(&mut self) -> Option<CollectedMessage> {
        self.receiver.recv().await
    }
}

/// The handler of [`inbox`].
#[derive(Debug, Clone)]
pub struct InboxHandler {
    sender: mpsc::Sender<CollectedMessage>,
}

impl Handler for InboxHandler {
    async fn message(&self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        match self.sender.send(message).await {
            Ok(()) => Ok(Accepted::default()),
            Err(_) => Err(Reply::transient("nobody reads this inbox any more")),
        }
    }
}
