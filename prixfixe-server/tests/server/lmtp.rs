//! LMTP, beyond what dialogue files can say: what the application sees of it, and what is counted.

use prixfixe_server::{
    Accepted, Check, CheckSession, Client as Peer, Content, Edit, Endpoint, Message, Protocol,
    Recipient, Reply, Server, Session, Transport, Verdict, inbox,
};
use tokio::sync::mpsc;

use crate::client::Client;
use crate::on_both_transports;

on_both_transports![
    the_application_sees_that_it_is_lmtp,
    each_recipient_has_the_handlers_answer,
    checks_that_change_the_recipients_leave_each_its_own_reply,
    a_thousand_recipients_have_a_thousand_replies,
];

fn endpoint() -> Endpoint {
    Endpoint::new(([127, 0, 0, 1], 0)).protocol(Protocol::Lmtp)
}

async fn greeted(server: &Server) -> Client {
    let mut client = Client::connect(server.local_address()).await;
    assert_eq!(client.reply().await, "220 mx.test LMTP PrixFixe");
    assert!(client.ask("LHLO client.test").await.starts_with("250"));
    client
}

async fn the_application_sees_that_it_is_lmtp(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = Server::builder()
        .domain("mx.test")
        .listen(endpoint())
        .transport(transport)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = greeted(&server).await;
    for (parameter, traced) in [("", "LMTP"), (" SMTPUTF8", "UTF8LMTP")] {
        client.ask(&format!("MAIL FROM:<>{parameter}")).await;
        client.ask("RCPT TO:<bob@example.com>").await;
        client.ask("DATA").await;
        client.ask("x\r\n.").await;
        let message = inbox.next().await.expect("it was delivered");
        assert_eq!(message.client().protocol(), Protocol::Lmtp);
        assert!(message.client().is_extended());
        let trace = message.trace_headers(message.envelope().recipients());
        let trace = String::from_utf8(trace).expect("headers are text");
        let expected = format!("\tby mx.test with {traced} id {}", message.id());
        assert!(trace.contains(&expected), "{trace}");
    }
}

/// Takes what is for `bob`, and refuses the rest as the address says.
struct PerRecipient(mpsc::UnboundedSender<Vec<String>>);

impl Session for PerRecipient {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        let recipients = message.envelope().recipients().iter();
        let recipients: Vec<String> = recipients.map(ToString::to_string).collect();
        let outcome = |name: &String| match name.split_once('@').map(|(local, _)| local) {
            Some("full") => Err(Reply::MAILBOX_FULL),
            Some("gone") => Err(Reply::NO_SUCH_USER),
            _ => Ok(()),
        };
        let outcomes = recipients.iter().map(outcome).collect();
        let _ = self.0.send(recipients);
        Ok(Accepted::each(outcomes))
    }
}

fn per_recipient(
    transport: Transport,
    check: bool,
) -> (Server, mpsc::UnboundedReceiver<Vec<String>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut builder = Server::builder()
        .domain("mx.test")
        .listen(endpoint())
        .transport(transport);
    if check {
        builder = builder.check(Moving);
    }
    let sessions = builder.sessions(move |_| {
        let session = PerRecipient(sender.clone());
        async { Ok(session) }
    });
    (sessions.start().expect("it starts"), receiver)
}

/// Sends a message for them; the codes at its end.
async fn codes(client: &mut Client, recipients: &[&str]) -> Vec<String> {
    client.ask("MAIL FROM:<>").await;
    for recipient in recipients {
        client.ask(&format!("RCPT TO:<{recipient}@b.test>")).await;
    }
    client.ask("DATA").await;
    client.send("x\r\n.\r\n").await;
    let mut codes = Vec::new();
    for _ in recipients {
        codes.push(client.reply().await[..3].to_owned());
    }
    assert_eq!(client.ask("NOOP").await, "250 2.0.0 OK", "{codes:?}");
    codes
}

async fn each_recipient_has_the_handlers_answer(transport: Transport) {
    let (server, _messages) = per_recipient(transport, false);
    let mut client = greeted(&server).await;
    let metrics = server.metrics();
    assert_eq!(
        codes(&mut client, &["bob", "full", "bob", "gone"]).await,
        ["250", "452", "250", "550"]
    );
    let snapshot = metrics.snapshot();
    assert_eq!(
        (snapshot.messages_succeeded, snapshot.failed()),
        (1, 0),
        "it was taken"
    );
    assert_eq!(codes(&mut client, &["full", "gone"]).await, ["452", "550"]);
    assert_eq!(codes(&mut client, &["gone", "gone"]).await, ["550", "550"]);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.messages_succeeded, snapshot.failed()), (1, 2));
}

/// Takes `moved` off the recipients, and adds `new` or, where `twice` is among them, `full`.
struct Moving;

struct Move;

impl Check for Moving {
    type Session = Move;

    async fn connect(self: &std::sync::Arc<Self>, _: &Peer) -> Result<Move, Reply> {
        Ok(Move)
    }
}

impl CheckSession for Move {
    fn reads_content(&self) -> bool {
        true
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let recipients = content.envelope().recipients();
        let is_there = |name: &str| recipients.iter().any(|it| it.to_string() == name);
        let added = match is_there("twice@b.test") {
            true => "full@b.test",
            false => "new@b.test",
        };
        let edits = [
            Edit::RemoveRecipient("moved@b.test".parse().expect("an address")),
            Edit::AddRecipient(Recipient::new(added.parse().expect("an address"))),
        ];
        Ok(edits.into_iter().fold(Verdict::default(), Verdict::edit))
    }
}

async fn checks_that_change_the_recipients_leave_each_its_own_reply(transport: Transport) {
    let (server, mut messages) = per_recipient(transport, true);
    let mut client = greeted(&server).await;
    assert_eq!(
        codes(&mut client, &["moved", "gone", "bob"]).await,
        ["250", "550", "250"]
    );
    let delivered = messages.recv().await.expect("it was delivered");
    assert_eq!(delivered, ["gone@b.test", "bob@b.test", "new@b.test"]);
    // Nobody can be told of the one that was added: all have to come again.
    assert_eq!(codes(&mut client, &["twice", "bob"]).await, ["451", "451"]);
    assert_eq!(codes(&mut client, &["moved"]).await, ["250"]);
}

async fn a_thousand_recipients_have_a_thousand_replies(transport: Transport) {
    let (server, _messages) = per_recipient(transport, false);
    let mut client = greeted(&server).await;
    let recipients = ["full", "bob"].repeat(500);
    let codes = codes(&mut client, &recipients).await;
    assert_eq!(codes, ["452", "250"].repeat(500));
}
