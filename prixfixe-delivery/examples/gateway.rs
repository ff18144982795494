//! A gateway: strangers and forged greetings are refused, all else is streamed to the next hop,
//! whose answers are the client's. Nothing is kept here: a `250` is the next hop's own.
//!
//! `cargo run --example gateway -- smtp:mail.example.com`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashSet;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use prixfixe_delivery::{Delivery, NextHop, NextHopOptions};
use prixfixe_server::{Check, CheckSession, Client, Mail, Reply, Server, reply};

/// Refuses the clients of a list. A list in the DNS is asked in the same place: the client waits
/// for the answer.
struct Blocklist(HashSet<IpAddr>);

impl Check for Blocklist {
    type Session = Greeted;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<Greeted, Reply> {
        match client.peer().ip().is_some_and(|it| self.0.contains(&it)) {
            true => Err(reply!(554 5.7.1 "Your address is on our list")),
            false => Ok(Greeted),
        }
    }
}

struct Greeted;

impl CheckSession for Greeted {
    /// Nobody else has our name. SPF is asked here too; what it says is kept in the session, for
    /// the content's check.
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        match mail.client().helo() {
            Some("gateway.example.com") => Err(reply!(550 5.7.1 "That is our name")),
            _ => Ok(()),
        }
    }
}

fn gateway(listen: &str, next_hop: &str, listed: &[IpAddr]) -> Result<Server, Box<dyn Error>> {
    let mut options = NextHopOptions::default();
    options.own_domain = "gateway.example.com".to_owned();
    let next_hop = NextHop::open(&next_hop.parse()?, options)?;
    let server = Server::builder()
        .domain("gateway.example.com")
        .listen(listen)
        .check(Blocklist(listed.iter().copied().collect()))
        .handler(Delivery::to("next hop", next_hop))
        .start()?;
    Ok(server)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let next_hop = std::env::args().nth(1).ok_or("where to? smtp:HOST")?;
    let server = gateway("127.0.0.1:2525", &next_hop, &[])?;
    println!("{} to {next_hop}", server.local_address());
    server.stopped().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prixfixe_server::{Inbox, inbox};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const MAIL: &str = "MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@next.test>\r\nRCPT TO:<bob@else.test>\r\n\
                        DATA\r\nSubject: hello\r\n\r\nHow are you?\r\n.\r\nQUIT\r\n";

    fn next_hop() -> Result<(Server, Inbox), Box<dyn Error>> {
        let (handler, inbox) = inbox();
        let server = Server::builder()
            .listen("127.0.0.1:0")
            .accept_domains(["next.test"]);
        Ok((server.handler(handler).start()?, inbox))
    }

    async fn say(server: &Server, text: &str) -> Result<String, std::io::Error> {
        let mut stream = tokio::net::TcpStream::connect(server.local_address()).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut replies = String::new();
        stream.read_to_string(&mut replies).await?;
        Ok(replies)
    }

    #[tokio::test]
    async fn the_next_hop_answers_through_the_gateway() -> Result<(), Box<dyn Error>> {
        let (next, mut inbox) = next_hop()?;
        let url = format!("smtp:{}", next.local_address());
        let gateway = gateway("127.0.0.1:0", &url, &[])?;
        let replies = say(&gateway, &format!("EHLO mx.example.org\r\n{MAIL}")).await?;
        assert!(
            replies.contains("\r\n550 5.1.2 ") || replies.contains("\r\n550 5.7.1 "),
            "{replies}"
        );
        let message = inbox.next().await.ok_or("no message")?;
        let text = String::from_utf8_lossy(message.content());
        assert!(text.starts_with("Received: from mx.example.org "), "{text}");
        assert!(
            text.ends_with("Subject: hello\r\n\r\nHow are you?\r\n"),
            "{text}"
        );
        assert_eq!(message.envelope().recipients().len(), 1);
        Ok(())
    }

    #[tokio::test]
    async fn who_is_listed_or_has_our_name_is_refused() -> Result<(), Box<dyn Error>> {
        let (next, _inbox) = next_hop()?;
        let url = format!("smtp:{}", next.local_address());
        let listing = gateway("127.0.0.1:0", &url, &[[127, 0, 0, 1].into()])?;
        assert!(
            say(&listing, "QUIT\r\n")
                .await?
                .starts_with("554 5.7.1 Your address")
        );
        let open = gateway("127.0.0.1:0", &url, &[])?;
        let replies = say(&open, &format!("EHLO gateway.example.com\r\n{MAIL}")).await?;
        assert!(
            replies.contains("\r\n550 5.7.1 That is our name\r\n"),
            "{replies}"
        );
        Ok(())
    }
}
