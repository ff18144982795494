//! The session of an application's own: its state, its hooks, its end.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prixfixe_server::{
    Accepted, BoxHandler, BoxSession, Client as Peer, Command, Data, Envelope, Hello, Mail,
    Message, Rcpt, Recipient, Reply, Session, Sessions, Transport, inbox, reply,
};

use crate::client::{Client, builder, start};
use crate::on_both_transports;

on_both_transports![
    what_a_hook_found_out_is_there_at_the_message,
    a_hook_that_takes_too_long_is_dropped_and_the_session_goes_on,
    the_end_of_each_transaction_is_told,
    commands_of_the_applications_own_are_answered,
    a_reply_that_closes_drops_the_connection_in_the_middle_of_a_body,
    outcomes_of_each_recipient_become_one_reply,
    the_session_is_dropped_with_its_connection,
    boxed_sessions_are_asked_every_question,
];

/// Keeps count in itself and in a log.
#[derive(Clone, Default)]
struct Visit {
    seen: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Visit {
    fn note(&self, what: impl Into<String>) {
        self.log
            .lock()
            .expect("no panic under it")
            .push(what.into());
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().expect("no panic under it"))
    }

    /// A handler whose sessions share the log.
    fn handler(&self) -> impl prixfixe_server::Handler + use<> {
        let visit = self.clone();
        Sessions::new(move |_: Peer| {
            let visit = visit.clone();
            async { Ok(visit) }
        })
    }
}

impl Session for Visit {
    async fn hello(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        self.note(format!("hello {}", hello.name()));
        match hello.name() {
            "bad.test" => Err(reply!(550 5.7.1 "Not under that name")),
            _ => Ok(()),
        }
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.note(format!("mail {}", mail.reverse_path()));
        if mail.reverse_path().to_string().starts_with("slow@") {
            pending::<()>().await;
        }
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        self.note(format!("rcpt {}", rcpt.path()));
        if rcpt.path().to_string().starts_with("slow@") {
            pending::<()>().await;
        }
        self.seen.push(format!("token of {}", rcpt.path()));
        Ok(())
    }

    async fn data(&mut self, data: Data<'_>) -> Result<(), Reply> {
        self.note("data");
        match data.envelope().recipients().len() {
            3.. => Err(Reply::NO_ROOM),
            _ => Ok(()),
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        let seen = std::mem::take(&mut self.seen).join(",");
        self.note(format!("message of {}", message.content().len()));
        Ok(Accepted::with_text(seen))
    }

    async fn command(&mut self, command: Command<'_>) -> Result<Reply, Reply> {
        match command.verb() {
            "XPING" => Ok(Reply::ok(format!("pong {}", command.argument()))),
            "XLEAVE" => Err(reply!(554 5.7.1 "Never").and_close()),
            _ => Err(Reply::UNKNOWN_COMMAND),
        }
    }

    fn reset(&mut self) {
        self.seen.clear();
        self.note("reset");
    }
}

async fn what_a_hook_found_out_is_there_at_the_message(transport: Transport) {
    let server = start(transport, Visit::default().handler());
    let mut client = Client::greeted(server.local_address()).await;
    let mut other = Client::greeted(server.local_address()).await;
    other.ask("MAIL FROM:<>").await;
    other.ask("RCPT TO:<other@b.test>").await;
    for _ in 0..2 {
        let reply = client.deliver("hello").await;
        assert_eq!(reply, "250 2.0.0 token of bob@example.com");
    }
}

async fn a_hook_that_takes_too_long_is_dropped_and_the_session_goes_on(transport: Transport) {
    let visit = Visit::default();
    let server = builder(transport)
        .handler_timeout(Duration::from_millis(20))
        .handler(visit.handler())
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    visit.heard();
    assert!(
        client
            .ask("MAIL FROM:<slow@b.test>")
            .await
            .starts_with("451 4.3.0")
    );
    assert_eq!(visit.heard(), ["mail slow@b.test", "reset"]);
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
    assert!(
        client
            .ask("RCPT TO:<first@b.test>")
            .await
            .starts_with("250")
    );
    visit.heard();
    assert!(
        client
            .ask("RCPT TO:<slow@b.test>")
            .await
            .starts_with("451 4.3.0")
    );
    // The transaction goes on, with what the session knows of the recipients before.
    assert_eq!(visit.heard(), ["rcpt slow@b.test"]);
    assert!(client.ask("RCPT TO:<a@b.test>").await.starts_with("250"));
    client.ask("DATA").await;
    assert_eq!(
        client.ask("\r\n.").await,
        "250 2.0.0 token of first@b.test,token of a@b.test"
    );
}

async fn the_end_of_each_transaction_is_told(transport: Transport) {
    let visit = Visit::default();
    let server = start(transport, visit.handler());
    let mut client = Client::greeted(server.local_address()).await;
    let begin = ["MAIL FROM:<>", "RCPT TO:<a@b.test>"];
    for end in ["RSET", "EHLO again.test"] {
        for command in begin {
            assert!(client.ask(command).await.starts_with("250"));
        }
        visit.heard();
        assert!(client.ask(end).await.starts_with("250"));
        assert_eq!(
            visit.heard().last().map(String::as_str),
            Some("reset"),
            "{end}"
        );
    }
    // Refused, it changes nothing.
    for command in begin {
        assert!(client.ask(command).await.starts_with("250"));
    }
    assert!(client.ask("EHLO bad.test").await.starts_with("550"));
    assert!(!visit.heard().contains(&"reset".into()));
    for recipient in ["b", "c"] {
        client.ask(&format!("RCPT TO:<{recipient}@b.test>")).await;
    }
    assert!(client.ask("DATA").await.starts_with("452 4.3.1"));
    assert_eq!(visit.heard().last().map(String::as_str), Some("reset"));
    assert!(client.ask("DATA").await.starts_with("503"));
    // A body that is refused by the dialogue.
    client.open_data().await;
    visit.heard();
    assert!(client.ask("a\nb\r\n.").await.starts_with("550 5.5.2"));
    assert_eq!(visit.heard(), ["reset"]);
    assert_eq!(
        client.deliver("x").await,
        "250 2.0.0 token of bob@example.com"
    );
}

async fn commands_of_the_applications_own_are_answered(transport: Transport) {
    let server = builder(transport)
        .max_errors(1)
        .handler(Visit::default().handler())
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert_eq!(client.ask("XPING one two").await, "250 2.0.0 pong one two");
    assert_eq!(client.ask("XYZZY").await, "500 5.5.1 Unknown command");
    assert!(client.ask("XYZZY").await.starts_with("421 4.7.0"));
    let mut client = Client::greeted(server.local_address()).await;
    assert_eq!(client.ask("XLEAVE").await, "554 5.7.1 Never");
    let refused = server.metrics().snapshot().command_errors;
    assert_eq!(refused, [(421, 1), (500, 1), (554, 1)]);
}

async fn a_reply_that_closes_drops_the_connection_in_the_middle_of_a_body(transport: Transport) {
    let server = start(transport, |mut message: Message| async move {
        message.body().chunk().await?;
        Err::<Accepted, _>(reply!(554 5.7.1 "Enough").and_close())
    });
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client.send("some of it\r\n").await;
    assert_eq!(client.rest().await, "554 5.7.1 Enough\r\n");
}

async fn outcomes_of_each_recipient_become_one_reply(transport: Transport) {
    let server = start(transport, |message: Message| async move {
        let recipients = message.envelope().recipients().to_vec();
        message.collect().await?;
        let outcome = |it: &Recipient| match it.to_string().starts_with("full@") {
            true => Err(Reply::MAILBOX_FULL),
            false => Ok(()),
        };
        Ok(Accepted::each(recipients.iter().map(outcome).collect()))
    });
    let mut client = Client::greeted(server.local_address()).await;
    for (recipients, expected) in [
        (&["a@b.test", "b@b.test"][..], "250 2.0.0 OK "),
        (&["full@b.test"], "452 4.2.2 "),
        (&["a@b.test", "full@b.test"], "451 4.3.0 "),
    ] {
        client.ask("MAIL FROM:<>").await;
        for recipient in recipients {
            client.ask(&format!("RCPT TO:<{recipient}>")).await;
        }
        client.ask("DATA").await;
        let reply = client.ask("\r\n.").await;
        assert!(reply.starts_with(expected), "{recipients:?}: {reply}");
    }
}

struct Leaving(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Session for Leaving {
    async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
        Ok(Accepted::default())
    }
}

async fn the_session_is_dropped_with_its_connection(transport: Transport) {
    let (sender, mut left) = tokio::sync::mpsc::unbounded_channel();
    let new = move |_: Peer| {
        let session = Leaving(sender.clone());
        async { Ok(session) }
    };
    let server = start(transport, Sessions::new(new));
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("QUIT").await.starts_with("221"));
    assert_eq!(left.recv().await, Some(()));
    let client = Client::greeted(server.local_address()).await;
    drop(client);
    assert_eq!(left.recv().await, Some(()));
}

async fn boxed_sessions_are_asked_every_question(transport: Transport) {
    let visit = Visit::default();
    let inner = visit.clone();
    let new = move |_: Peer| {
        let session = BoxSession::new(inner.clone());
        async { Ok(session) }
    };
    let handler = BoxHandler::new(Sessions::new(new));
    let (other, _inbox) = inbox();
    for handler in [handler, BoxHandler::new(other)] {
        let server = start(transport, handler);
        let mut client = Client::greeted(server.local_address()).await;
        client.ask("MAIL FROM:<>").await;
        client.ask("RSET").await;
        assert!(client.deliver("x").await.starts_with("250"));
        client.ask("XPING").await;
    }
    let expected = [
        "hello client.test",
        "mail ",
        "reset",
        "mail ann@example.com",
        "rcpt bob@example.com",
        "data",
        "message of 3",
    ];
    assert_eq!(visit.heard(), expected);
}

#[tokio::test]
async fn a_session_is_tested_without_a_socket() {
    let mut visit = Visit::default();
    let client = Peer::builder().ehlo("mail.example.com").build();
    let envelope = Envelope::builder()
        .to("bob@example.com")
        .expect("an address")
        .build();
    let bob = envelope.recipients()[0].clone();
    assert_eq!(
        visit.rcpt(Rcpt::new(&client, &envelope, &bob)).await,
        Ok(())
    );
    let message = Message::new(client, envelope, ["Subject: hello\r\n", "\r\nbody\r\n"]);
    assert!(visit.message(message).await.is_ok());
    assert_eq!(visit.heard(), ["rcpt bob@example.com", "message of 24"]);
}
