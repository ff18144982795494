//! Checks before the handler.

use std::sync::{Arc, Mutex};

use prixfixe_server::{
    Accepted, Check, CheckSession, Client as Peer, Content, Data, Edit, Envelope, Gathered,
    Handler, Hello, Mail, Message, Rcpt, Recipient, Reply, Session, Transport, Verdict, inbox,
    reply,
};

use crate::client::{Client, builder};
use crate::on_both_transports;

on_both_transports![
    checks_are_asked_in_order_and_the_first_refusal_wins,
    a_check_is_asked_no_more_of_a_transaction_to_which_it_is_indifferent,
    a_content_is_checked_and_edited_before_the_handler_has_it,
    large_messages_are_checked_from_files,
    a_changed_envelope_is_asked_about_anew,
    what_is_moved_is_not_lost,
    a_session_hears_of_the_end_of_what_never_comes,
];

type Asked = Arc<Mutex<Vec<String>>>;

/// Notes what it is asked, and refuses what has its name in it.
#[derive(Clone)]
struct Named {
    name: &'static str,
    asked: Asked,
}

impl Named {
    fn answer(&self, hook: &str, about: &str) -> Result<(), Reply> {
        let asked = format!("{} {hook}", self.name);
        self.asked.lock().expect("no panic under it").push(asked);
        match about.contains(self.name) {
            true => Err(Reply::permanent(self.name)),
            false => Ok(()),
        }
    }
}

impl Check for Named {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Self, Reply> {
        self.answer("connect", "")?;
        Ok(Self::clone(self))
    }
}

impl CheckSession for Named {
    async fn hello(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        self.answer("hello", hello.name())
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.answer("mail", &mail.reverse_path().to_string())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        self.answer("rcpt", &rcpt.path().to_string())
    }

    async fn data(&mut self, data: Data<'_>) -> Result<(), Reply> {
        self.answer("data", &data.envelope().recipients().len().to_string())
    }

    fn reset(&mut self) {
        let _ = self.answer("reset", "");
    }
}

async fn checks_are_asked_in_order_and_the_first_refusal_wins(transport: Transport) {
    let asked = Asked::default();
    let check = |name| Named {
        name,
        asked: Arc::clone(&asked),
    };
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .check(check("first"))
        .check(check("2"))
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let heard = || std::mem::take(&mut *asked.lock().expect("no panic under it"));
    assert_eq!(
        heard(),
        ["first connect", "2 connect", "first hello", "2 hello"]
    );

    assert_eq!(client.ask("EHLO first2").await, "550 5.7.1 first");
    assert_eq!(heard(), ["first hello"]);
    assert_eq!(client.ask("MAIL FROM:<a2@b.test>").await, "550 5.7.1 2");
    assert_eq!(heard(), ["first mail", "2 mail"]);
    assert!(client.ask("MAIL FROM:<a@b.test>").await.starts_with("250"));
    assert_eq!(
        client.ask("RCPT TO:<first@b.test>").await,
        "550 5.7.1 first"
    );
    assert!(client.ask("RCPT TO:<a@b.test>").await.starts_with("250"));
    assert!(client.ask("RCPT TO:<b@b.test>").await.starts_with("250"));
    heard();
    assert_eq!(client.ask("DATA").await, "550 5.7.1 2");
    assert_eq!(heard(), ["first data", "2 data", "first reset", "2 reset"]);
    assert!(client.deliver("hello").await.starts_with("250"));
    assert!(
        inbox
            .next()
            .await
            .expect("it was delivered")
            .verdict()
            .findings()
            .is_empty()
    );
}

/// Refuses each recipient and reads each content of senders that it does not know.
struct Wary;

struct WarySession {
    knows: bool,
}

impl Check for Wary {
    type Session = WarySession;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<WarySession, Reply> {
        Ok(WarySession { knows: false })
    }
}

impl CheckSession for WarySession {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.knows = mail.reverse_path().to_string().contains("known@");
        Ok(())
    }

    async fn rcpt(&mut self, _: Rcpt<'_>) -> Result<(), Reply> {
        Err(Reply::REFUSED)
    }

    fn reads_content(&self) -> bool {
        true
    }

    async fn content(&mut self, _: Content<'_>) -> Result<Verdict, Reply> {
        Err(Reply::REFUSED)
    }

    fn is_indifferent(&self) -> bool {
        self.knows
    }
}

async fn a_check_is_asked_no_more_of_a_transaction_to_which_it_is_indifferent(
    transport: Transport,
) {
    let asked = Asked::default();
    let second = Named {
        name: "second",
        asked: Arc::clone(&asked),
    };
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .check(Wary)
        .check(second)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("MAIL FROM:<a@b.test>").await.starts_with("250"));
    assert!(client.ask("RCPT TO:<a@b.test>").await.starts_with("554"));
    assert!(client.ask("RSET").await.starts_with("250"));
    asked.lock().expect("no panic under it").clear();

    let mail = client.ask("MAIL FROM:<known@b.test>").await;
    assert!(mail.starts_with("250"), "{mail}");
    assert!(client.ask("RCPT TO:<a@b.test>").await.starts_with("250"));
    assert!(client.ask("DATA").await.starts_with("354"));
    assert!(client.ask("hello\r\n.").await.starts_with("250"));
    assert!(inbox.next().await.is_some());
    // Another check may be interested all the same.
    let heard = asked.lock().expect("no panic under it").clone();
    assert!(heard.contains(&String::from("second rcpt")), "{heard:?}");
}

/// Looks into contents: refuses viruses, marks the rest.
struct Scanner;

struct Scan;

impl Check for Scanner {
    type Session = Scan;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Scan, Reply> {
        Ok(Scan)
    }
}

impl CheckSession for Scan {
    fn reads_content(&self) -> bool {
        true
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let mut body = content.gathered().body();
        let mut lines = 0;
        while let Some(piece) = body.chunk().await? {
            if piece.windows(5).any(|it| it == b"virus") {
                return Err(reply!(554 5.7.1 "Infected"));
            }
            lines += piece.iter().filter(|byte| **byte == b'\n').count();
        }
        let edits = [
            Edit::Prepend {
                name: "X-Lines".into(),
                value: lines.to_string(),
            },
            Edit::Remove {
                name: "x-secret".into(),
                occurrence: 0,
            },
            Edit::AddRecipient(Recipient::new(
                "archive@b.test".parse().expect("an address"),
            )),
        ];
        let verdict = Verdict::default().finding("lines", lines.to_string());
        Ok(edits.into_iter().fold(verdict, Verdict::edit))
    }
}

async fn a_content_is_checked_and_edited_before_the_handler_has_it(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .check(Scanner)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert_eq!(client.deliver("a\r\nvirus").await, "554 5.7.1 Infected");
    let reply = client
        .deliver("Subject: x\r\nX-Secret: y\r\n\r\nbody")
        .await;
    assert!(reply.starts_with("250"), "{reply}");
    let message = inbox.next().await.expect("it was delivered");
    assert_eq!(
        message.content().as_ref(),
        b"X-Lines: 4\r\nSubject: x\r\n\r\nbody\r\n"
    );
    assert_eq!(message.verdict().get("lines"), Some("4"));
    let recipients = message.envelope().recipients();
    let recipients: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    assert_eq!(recipients, ["bob@example.com", "archive@b.test"]);
}

async fn large_messages_are_checked_from_files(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .message_memory(100_000)
        .check(Scanner)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let content = format!("{}\r\n", "x".repeat(70)).repeat(10_000);
    assert!(client.deliver(&content).await.starts_with("250"));
    let message = inbox.next().await.expect("it was delivered");
    let expected = format!("X-Lines: 10001\r\n{content}\r\n");
    assert!(message.content() == expected.as_bytes());
    assert_eq!(
        client.deliver(&format!("{content}virus")).await,
        "554 5.7.1 Infected"
    );
}

#[tokio::test]
async fn a_check_is_tested_without_a_socket() {
    let client = Peer::builder().ehlo("mail.example.com").build();
    let envelope = Envelope::builder()
        .to("bob@example.com")
        .expect("an address")
        .build();
    let gathered = Gathered::new("Subject: a virus\r\n");
    let content = Content::new(&client, &envelope, &gathered);
    let refusal = Scan.content(content).await.expect_err("it is infected");
    assert_eq!(refusal.to_string(), "554 5.7.1 Infected");
}

/// Changes the envelope as the subject says.
struct Redirecting;

impl Check for Redirecting {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Self, Reply> {
        Ok(Self)
    }
}

impl CheckSession for Redirecting {
    fn reads_content(&self) -> bool {
        true
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let mut body = content.gathered().body();
        let piece = body.chunk().await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&piece).into_owned();
        let mut verdict = Verdict::default();
        for word in text.split_whitespace() {
            verdict = verdict.edit(match word.split_once(':') {
                Some(("add", address)) => {
                    Edit::AddRecipient(Recipient::new(address.parse().expect("an address")))
                }
                Some(("remove", address)) => {
                    Edit::RemoveRecipient(address.parse().expect("an address"))
                }
                Some(("from", address)) => Edit::ChangeSender(address.parse().expect("an address")),
                _ => Edit::Discard,
            });
        }
        Ok(verdict)
    }
}

async fn a_changed_envelope_is_asked_about_anew(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let asked = Asked::default();
    let named = |name| Named {
        name,
        asked: Arc::clone(&asked),
    };
    let server = builder(transport)
        .accept_domains(["example.com", "b.test"])
        .check(named("closed"))
        .check(Redirecting)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let reply = client
        .deliver("add:closed@b.test add:open@b.test add:a@c.test add:bob@example.com from:z@b.test")
        .await;
    assert!(reply.starts_with("250"), "{reply}");
    let message = inbox.next().await.expect("it was delivered");
    let envelope = message.envelope();
    let recipients: Vec<_> = envelope
        .recipients()
        .iter()
        .map(ToString::to_string)
        .collect();
    // A check refuses one, one is not of our domains, and one is there already.
    assert_eq!(recipients, ["bob@example.com", "open@b.test"]);
    assert_eq!(envelope.reverse_path().to_string(), "z@b.test");
    // A message that is moved to a place that is none is not thrown away.
    let reply = client
        .deliver("remove:bob@example.com add:closed@b.test")
        .await;
    assert_eq!(reply, "550 5.7.1 closed");
    let reply = client.deliver("discard add:open@b.test").await;
    assert!(reply.starts_with("250"), "{reply}");
    let reply = client.deliver("from:y@b.test").await;
    assert!(reply.starts_with("250"), "{reply}");
    let message = inbox.next().await.expect("nothing came between");
    assert_eq!(message.envelope().reverse_path().to_string(), "y@b.test");
}

/// Has no time for one recipient.
struct Later;

impl Check for Later {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Self, Reply> {
        Ok(Self)
    }
}

impl CheckSession for Later {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        match rcpt.path().to_string().contains("later@") {
            true => Err(Reply::transient("later")),
            false => Ok(()),
        }
    }
}

async fn what_is_moved_is_not_lost(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let asked = Asked::default();
    let closed = Named {
        name: "closed",
        asked,
    };
    let server = builder(transport)
        .max_recipients(3)
        .check(closed)
        .check(Later)
        .check(Redirecting)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    for (changes, expected) in [
        ("add:later@b.test", "451 4.3.0 later"),
        ("add:a@b.test add:later@b.test", "451 4.3.0 later"),
        (
            "remove:bob@example.com add:a@b.test add:closed@b.test",
            "550 5.7.1 closed",
        ),
    ] {
        let reply = client.deliver(changes).await;
        assert_eq!(reply, expected, "{changes}");
    }
    let changes = "add:a@b.test add:\u{e9}@b.test add:c@b.test add:d@b.test";
    let reply = client.deliver(changes).await;
    assert!(reply.starts_with("250"), "{reply}");
    let message = inbox.next().await.expect("it was delivered");
    let recipients = message.envelope().recipients().iter();
    let recipients: Vec<_> = recipients.map(ToString::to_string).collect();
    // One needs SMTPUTF8, and one is over the limit.
    assert_eq!(recipients, ["bob@example.com", "a@b.test", "c@b.test"]);
}

/// Gathers recipients by itself, and refuses a message that it was not asked to take for all of
/// them.
#[derive(Default)]
struct Gathers(Vec<String>);

impl Handler for Gathers {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Self, Reply> {
        Ok(Self::default())
    }
}

impl Session for Gathers {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        self.0.push(rcpt.path().to_string());
        match rcpt.path().to_string().contains("closed@") {
            true => Err(Reply::transient("closed")),
            false => Ok(()),
        }
    }

    async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
        let gathered = std::mem::take(&mut self.0);
        Ok(Accepted::with_reply(Reply::ok(gathered.join(" "))))
    }

    fn reset(&mut self) {
        self.0.clear();
    }
}

async fn a_session_hears_of_the_end_of_what_never_comes(transport: Transport) {
    let server = builder(transport)
        .check(Scanner)
        .check(Redirecting)
        .handler(Gathers::default())
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    for (content, expected) in [
        ("virus", "554 5.7.1 Infected"),
        ("discard", "250 "),
        ("remove:bob@example.com remove:archive@b.test", "250 "),
        ("add:closed@b.test", "451 "),
    ] {
        let reply = client.deliver(content).await;
        assert!(reply.starts_with(expected), "{content}: {reply}");
        let reply = client.deliver("from:a@b.test").await;
        let archived = "bob@example.com archive@b.test";
        assert!(reply.ends_with(archived), "{content}: {reply}");
        assert_eq!(reply.matches("bob@").count(), 1, "{content}: {reply}");
    }
}
