//! Refuses by recipient: only people that it knows get mail.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashSet;
use std::sync::Arc;

use prixfixe_server::{Accepted, Message, Rcpt, Reply, Server, Session};

struct Visit {
    /// Local parts, in lower case.
    people: Arc<HashSet<&'static str>>,
}

impl Session for Visit {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        // RFC 5321 section 4.5.1: mail to postmaster is always accepted.
        let Some(mailbox) = rcpt.path().mailbox() else {
            return Ok(());
        };
        let name = mailbox.local_part().to_lowercase();
        match mailbox.domain() == "example.com" && self.people.contains(&*name) {
            true => Ok(()),
            false => Err(Reply::NO_SUCH_USER),
        }
    }

    async fn message(&mut self, mut message: Message) -> Result<Accepted, Reply> {
        let mut size = 0;
        while let Some(chunk) = message.body().chunk().await? {
            size += chunk.len();
        }
        println!("{size} bytes for {:?}", message.envelope().recipients());
        Ok(Accepted::with_text("thank you"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let people = Arc::new(HashSet::from(["ann", "bob"]));
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 2525))
        .sessions(move |_| {
            let people = Arc::clone(&people);
            async { Ok(Visit { people }) }
        })
        .start()?;
    println!("listening on {}", server.local_address());
    server.stopped().await;
    Ok(())
}
