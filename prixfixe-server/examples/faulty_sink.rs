//! A mail sink with faults, to test how an application takes them: a slow greeting, refusals by
//! address, a connection that is dropped in the middle of a mail. The faults change while it runs.
//!
//! `cargo test --example faulty_sink` runs the tests of an application.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prixfixe_server::{
    Accepted, Client, Inbox, InboxHandler, Message, Rcpt, Reply, Server, Session, StartError, inbox,
};

/// What goes wrong, for connections and mails from now on.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub greeting_delay: Duration,
    pub recipients: HashMap<String, Reply>,
    /// The reply to a mail when its body begins. One that closes does so at once.
    pub body: Option<Reply>,
}

#[derive(Debug, Clone, Default)]
pub struct Sink(Arc<Mutex<Faults>>);

impl Sink {
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start(&self) -> Result<(Server, Inbox), StartError> {
        let (sink, (handler, inbox)) = (self.clone(), inbox());
        let server = Server::builder()
            .listen("127.0.0.1:0")
            .sessions(move |_: Client| {
                let (sink, inbox) = (sink.clone(), handler.clone());
                async move {
                    let delay = sink.faults().greeting_delay;
                    tokio::time::sleep(delay).await;
                    Ok(Visit { sink, inbox })
                }
            })
            .start()?;
        Ok((server, inbox))
    }
}

struct Visit {
    sink: Sink,
    inbox: InboxHandler,
}

impl Session for Visit {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let faults = self.sink.faults();
        let fault = faults.recipients.get(&rcpt.path().to_string());
        fault.map_or(Ok(()), |reply| Err(reply.clone()))
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let fault = self.sink.faults().body.clone();
        match fault {
            Some(reply) => Err(reply),
            None => self.inbox.message(message).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sink = Sink::default();
    sink.faults().body = Some(Reply::TRY_LATER.and_close());
    let (server, _inbox) = sink.start()?;
    println!("{} drops every mail", server.local_address());
    server.stopped().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lettre::{
        AsyncSmtpTransport, AsyncTransport, Tokio1Executor, message::header::ContentType,
    };
    use prixfixe_server::reply;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(60);

    /// The application under test.
    async fn send(server: &Server, to: &str, size: usize) -> Result<(), String> {
        let mail = lettre::Message::builder()
            .from("app@example.com".parse().expect("an address"))
            .to(to.parse().expect("an address"))
            .header(ContentType::TEXT_PLAIN)
            .body("x".repeat(size))
            .expect("a mail");
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
            .port(server.local_address().port())
            .build();
        let sent = transport.send(mail).await;
        sent.map(drop).map_err(|it| it.to_string())
    }

    #[tokio::test]
    async fn several_mails_are_waited_for_and_no_more_come() {
        let (server, mut inbox) = Sink::default().start().expect("it starts");
        for to in ["a@example.com", "b@example.com", "c@example.com"] {
            send(&server, to, 10).await.expect("it is sent");
            assert!(
                timeout(SOON, inbox.next())
                    .await
                    .is_ok_and(|it| it.is_some())
            );
        }
        assert!(inbox.try_next().is_none());
    }

    #[tokio::test]
    async fn a_refused_recipient_is_told_and_later_accepted() {
        let sink = Sink::default();
        let (server, mut inbox) = sink.start().expect("it starts");
        let bad = "bad@example.com".to_owned();
        sink.faults()
            .recipients
            .insert(bad, reply!(450 4.2.1 "Not now"));
        assert!(
            send(&server, "bad@example.com", 10)
                .await
                .is_err_and(|it| it.contains("Not now"))
        );
        sink.faults().recipients.clear();
        send(&server, "bad@example.com", 10)
            .await
            .expect("it is sent");
        assert!(inbox.try_next().is_some());
    }

    #[tokio::test]
    async fn a_connection_is_dropped_in_the_middle_of_a_mail() {
        let sink = Sink::default();
        let (server, mut inbox) = sink.start().expect("it starts");
        sink.faults().body = Some(reply!(451 4.3.0 "Gone").and_close());
        assert!(send(&server, "a@example.com", 10_000_000).await.is_err());
        assert!(inbox.try_next().is_none());
    }

    #[tokio::test]
    async fn a_slow_greeting_is_waited_for() {
        let sink = Sink::default();
        let (server, mut inbox) = sink.start().expect("it starts");
        sink.faults().greeting_delay = Duration::from_millis(100);
        send(&server, "a@example.com", 10)
            .await
            .expect("it is sent");
        assert!(inbox.try_next().is_some());
    }
}
