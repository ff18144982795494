//! A server with checks, and mail for it.

use prixfixe_policy::Resolver;
use prixfixe_server::{Check, CollectedMessage, Inbox, Server, ServerBuilder, Transport, inbox};
use prixfixe_test_support::talk;

use crate::dns::Dns;

/// The id that results are written under.
pub(crate) const ID: &str = "mx.receiver.test";

pub(crate) struct Served {
    server: Server,
    inbox: Inbox,
}

impl Served {
    pub(crate) fn with(transport: Transport, check: impl Check) -> Self {
        Self::of(Server::builder().transport(transport).check(check))
    }

    pub(crate) fn of(builder: ServerBuilder<()>) -> Self {
        let (handler, inbox) = inbox();
        let builder = builder.listen(([127, 0, 0, 1], 0)).domain("receiver.test");
        let server = builder.handler(handler).start().expect("it starts");
        Self { server, inbox }
    }

    /// Says these lines after `EHLO client.test`; the replies to them.
    pub(crate) async fn says(&self, lines: &[&str]) -> Vec<String> {
        let address = self.server.local_address();
        let lines: Vec<_> = ["EHLO client.test"]
            .iter()
            .chain(lines)
            .map(|it| String::from(*it))
            .collect();
        let talked = tokio::task::spawn_blocking(move || {
            let lines: Vec<_> = lines.iter().map(|it| &**it).collect();
            talk(address, &lines)
        });
        talked.await.expect("no panic").split_off(2)
    }

    /// Sends a message of this content; the reply to it.
    pub(crate) async fn gets(&self, from: &str, content: &str) -> String {
        let mail = format!("MAIL FROM:<{from}>");
        let content = format!("{content}\r\n.");
        let lines = [&*mail, "RCPT TO:<bob@receiver.test>", "DATA", &content];
        self.says(&lines).await.pop().expect("a reply")
    }

    /// Nothing has been accepted that was not asked for.
    pub(crate) async fn is_empty(&mut self) -> bool {
        let soon = std::time::Duration::ZERO;
        tokio::time::timeout(soon, self.inbox.next()).await.is_err()
    }

    /// What has been accepted.
    pub(crate) async fn accepted(&mut self) -> CollectedMessage {
        self.inbox.next().await.expect("a message")
    }

    /// Sends a message that is accepted; what became of it, without our Received.
    pub(crate) async fn keeps(&mut self, from: &str, content: &str) -> String {
        let reply = self.gets(from, content).await;
        assert!(reply.starts_with("250 "), "{reply}");
        let message = self.accepted().await;
        String::from_utf8_lossy(message.content()).into_owned()
    }
}

pub(crate) fn resolver(dns: &Dns) -> Resolver {
    Resolver::with_servers([dns.address()]).expect("a resolver")
}
