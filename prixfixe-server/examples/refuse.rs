//! Refuses by recipient, with a reply of its own: only people that it knows get mail.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example shows what it does"
)]

use std::collections::HashSet;

use prixfixe_server::{
    Accepted, Client, EnhancedCode, Envelope, ForwardPath, Handler, Mailbox, Message, Reply, Server,
};

/// Compared as mailboxes, their domains are the same in any case and as A-labels or U-labels.
struct KnownPeople(HashSet<Mailbox>);

impl Handler for KnownPeople {
    async fn rcpt(&self, _: &Client, _: &Envelope, to: &ForwardPath) -> Result<(), Reply> {
        match to {
            // RFC 5321 section 4.5.1: mail to postmaster is always accepted.
            ForwardPath::Postmaster => Ok(()),
            ForwardPath::Mailbox(mailbox) if self.0.contains(mailbox) => Ok(()),
            ForwardPath::Mailbox(_) => {
                Err(
                    Reply::new(550, EnhancedCode(5, 1, 1), "nobody of that name here")
                        .unwrap_or_else(|_| Reply::permanent("nobody of that name here")),
                )
            }
        }
    }

    async fn message(&self, mut message: Message) -> Result<Accepted, Reply> {
        let mut size = 0;
        while let Some(chunk) = message.body().chunk().await? {
            size += chunk.len();
        }
        println!("{size} octets for {:?}", message.envelope().forward_paths());
        Ok(Accepted::with_text("thank you"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let people = HashSet::from(["ann@example.com".parse()?, "bob@example.com".parse()?]);
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 2525))
        .handler(KnownPeople(people))
        .start()?;
    println!("listening on {}", server.local_address());
    server.stopped().await;
    Ok(())
}
