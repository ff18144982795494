//! A session, a check, and checks with a session behind them, each tested without a socket.
//!
//! `cargo test --example unit_test` runs the tests.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::net::IpAddr;
use std::sync::Arc;

use prixfixe_server::{
    Accepted, Check, CheckSession, Client, Content, Edit, Message, Rcpt, Reply, Server, Session,
    Verdict, reply,
};

/// Refuses one address.
struct Blocklist(IpAddr);

impl Check for Blocklist {
    type Session = Unlisted;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<Unlisted, Reply> {
        match client.peer().ip() == Some(self.0) {
            true => Err(reply!(554 5.7.1 "You are on our list")),
            false => Ok(Unlisted),
        }
    }
}

struct Unlisted;

impl CheckSession for Unlisted {}

/// Refuses contents with a word in them, and marks the others.
struct Words(&'static [u8]);

struct Reading(Arc<Words>);

impl Check for Words {
    type Session = Reading;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Reading, Reply> {
        Ok(Reading(Arc::clone(self)))
    }
}

impl CheckSession for Reading {
    fn reads_content(&self) -> bool {
        true
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let (word, mut body) = (self.0.0, content.gathered().body());
        let mut text = Vec::new(); // a word may begin in one piece and end in the next
        while let Some(piece) = body.chunk().await? {
            text.extend_from_slice(&piece);
        }
        if text.windows(word.len()).any(|it| it == word) {
            return Err(reply!(554 5.7.1 "We do not say that here"));
        }
        let mark = Edit::Prepend {
            name: "X-Words".into(),
            value: "read".into(),
        };
        Ok(Verdict::default().finding("words", "read").edit(mark))
    }
}

/// Takes mail for ann, and counts it.
struct Desk {
    kept: usize,
}

impl Session for Desk {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        match rcpt.path().to_string().starts_with("ann@") {
            true => Ok(()),
            false => Err(Reply::NO_SUCH_USER),
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        self.kept += 1;
        let number = self.kept;
        Ok(Accepted::with_text(format!(
            "{number}: {} bytes",
            message.content().len()
        )))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .listen("127.0.0.1:2525")
        .check(Blocklist([192, 0, 2, 66].into()))
        .check(Words(b"spam"))
        .sessions(|_: Client| async { Ok(Desk { kept: 0 }) })
        .start()?;
    println!("listening on {}", server.local_address());
    server.stopped().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prixfixe_server::{BodyError, Envelope, Gathered, Handler, Recipient};

    fn envelope() -> Envelope {
        let builder = Envelope::builder().from("bob@example.org");
        let builder = builder.and_then(|it| it.to("ann@example.com"));
        builder.expect("two addresses").build()
    }

    fn message(content: &'static str) -> Message {
        Message::new(Client::builder().build(), envelope(), [content])
    }

    #[tokio::test]
    async fn a_session() {
        let (client, envelope) = (Client::builder().build(), envelope());
        let mut desk = Desk { kept: 0 };
        for (address, expected) in [
            ("ann@example.com", Ok(())),
            ("bob@example.com", Err(Reply::NO_SUCH_USER)),
        ] {
            let recipient = Recipient::new(address.parse().expect("an address"));
            let rcpt = Rcpt::new(&client, &envelope, &recipient);
            assert_eq!(desk.rcpt(rcpt).await, expected);
        }
        assert!(desk.message(message("Hello")).await.is_ok());
        // A content that breaks off is an error, and nothing is kept.
        let broken = Message::broken(client, envelope, ["Hel"], BodyError::Incomplete);
        assert!(desk.message(broken).await.is_err());
        assert_eq!(desk.kept, 1);
    }

    #[tokio::test]
    async fn a_check() {
        let (client, words) = (Client::builder().build(), Arc::new(Words(b"spam")));
        for (text, is_refused) in [("some sp", false), ("some spam", true)] {
            let mut session = words.connect(&client).await.expect("it takes everybody");
            let (envelope, gathered) = (envelope(), Gathered::new(text));
            let verdict = session
                .content(Content::new(&client, &envelope, &gathered))
                .await;
            assert_eq!(verdict.is_err(), is_refused);
            assert!(verdict.is_ok_and(|it| it.edits().len() == 1) != is_refused);
        }
    }

    #[tokio::test]
    async fn checks_with_a_session_behind_them() {
        let stack = Server::builder()
            .check(Blocklist([192, 0, 2, 66].into()))
            .check(Words(b"spam"))
            .sessions(|_: Client| async { Ok(Desk { kept: 0 }) })
            .into_handler();
        let stack = Arc::new(stack);
        let listed = Client::builder().peer(([192, 0, 2, 66], 1024)).build();
        assert!(stack.connect(&listed).await.is_err());

        let mut session = stack
            .connect(&Client::builder().build())
            .await
            .expect("it is not listed");
        assert!(session.message(message("buy spam")).await.is_err());
        // What the session sees has the mark: it counts 5 bytes and the header's 15 and CR LF.
        let accepted = session
            .message(message("Hello"))
            .await
            .expect("it is taken");
        let told = accepted.reply().map(|it| it.to_string());
        assert_eq!(told.as_deref(), Ok("250 2.0.0 1: 22 bytes"));
    }
}
