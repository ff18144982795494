//! Proxies that say by XCLIENT whose session it is: what the application and the limits see of it.

use std::sync::{Arc, Mutex};

use prixfixe_server::{
    Accepted, Client as Peer, Endpoint, Handler, Message, Protocol, Reply, Server, ServerBuilder,
    Session, Transport, reply,
};

use crate::client::Client;
use crate::on_both_transports;

on_both_transports![
    the_application_sees_the_client_of_which_a_proxy_tells,
    the_client_of_which_a_proxy_tells_has_limits,
    what_refuses_that_client_is_said_in_place_of_the_greeting,
    a_proxy_without_xclient_is_a_client_without_limits,
    xclient_is_for_lmtp_too,
];

fn builder(transport: Transport) -> ServerBuilder<()> {
    let networks = ["127.0.0.0/8".parse().expect("a network")];
    Server::builder()
        .domain("mx.test")
        .listen(Endpoint::new(([127, 0, 0, 1], 0)).xclient_from(networks))
        .transport(transport)
}

/// Notes who connects, and with which message each comes.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, what: &str, client: &Peer) {
        let shown = format!(
            "{what} {} via {:?} helo {:?} identity {:?} local {:?}",
            client.peer(),
            client
                .balancer()
                .and_then(|it| it.ip())
                .map(|it| it.to_string()),
            client.helo(),
            client.identity().map(ToString::to_string),
            client.local().map(|it| it.port()),
        );
        self.0.lock().expect("no panic under it").push(shown);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic under it"))
    }
}

impl Handler for Notes {
    type Session = Self;

    async fn connect(self: &Arc<Self>, client: &Peer) -> Result<Self, Reply> {
        self.note("connect", client);
        match client.peer().ip().map(|it| it.to_string()).as_deref() {
            Some("203.0.113.66") => Err(reply!(554 5.7.1 "Listed")),
            _ => Ok(Self::clone(self)),
        }
    }
}

impl Session for Notes {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        self.note("message", message.client());
        Ok(Accepted::default())
    }
}

const NAMED: &str = "XCLIENT ADDR=203.0.113.9 PORT=40000 HELO=c.test LOGIN=ann+40a.test DESTADDR=192.0.2.2 DESTPORT=587";

async fn the_application_sees_the_client_of_which_a_proxy_tells(transport: Transport) {
    let notes = Notes::default();
    let server = builder(transport).handler(notes.clone()).start();
    let server = server.expect("it starts");
    let port = server.local_address().port();
    let mut client = Client::connect(server.local_address()).await;
    client.reply().await;
    let own = client.local_address();
    assert!(
        client
            .ask("EHLO proxy.test")
            .await
            .contains("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
    );
    assert_eq!(client.ask(NAMED).await, "220 mx.test ESMTP PrixFixe");
    assert_eq!(
        notes.take(),
        [
            format!("connect {own} via None helo None identity None local Some({port})"),
            "connect 203.0.113.9:40000 via Some(\"127.0.0.1\") helo Some(\"c.test\") identity Some(\"ann@a.test\") local Some(587)".to_owned(),
        ]
    );
    assert!(client.ask("MAIL FROM:<>").await.starts_with("503"));
    assert!(client.ask("EHLO other.test").await.starts_with("250"));
    assert!(client.deliver("hello").await.starts_with("250"));
    assert_eq!(
        notes.take(),
        [
            "message 203.0.113.9:40000 via Some(\"127.0.0.1\") helo Some(\"other.test\") identity Some(\"ann@a.test\") local Some(587)"
        ]
    );
    // The next one has neither its identity nor its name.
    let next = "XCLIENT ADDR=203.0.113.10 LOGIN=[UNAVAILABLE] HELO=[UNAVAILABLE]";
    assert!(client.ask(next).await.starts_with("220"));
    assert_eq!(
        notes.take(),
        ["connect 203.0.113.10:0 via Some(\"127.0.0.1\") helo None identity None local Some(587)"]
    );
    // Of whom nothing can be told is the proxy itself.
    let nobody = "XCLIENT ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]";
    assert!(client.ask(nobody).await.starts_with("220"));
    assert_eq!(
        notes.take(),
        [format!(
            "connect {own} via Some(\"127.0.0.1\") helo None identity None local Some(587)"
        )]
    );
    let snapshot = server.metrics().snapshot();
    let connections: u64 = snapshot.connections.iter().map(|(_, count)| count).sum();
    assert_eq!(connections, 1, "it is one connection");
}

async fn the_client_of_which_a_proxy_tells_has_limits(transport: Transport) {
    let server = builder(transport)
        .max_connections_per_client(1)
        .messages_per_minute(1)
        .handler(Notes::default())
        .start()
        .expect("it starts");
    let mut first = Client::connect(server.local_address()).await;
    first.reply().await;
    assert!(first.ask(NAMED).await.starts_with("220"));
    let mut second = Client::connect(server.local_address()).await;
    second.reply().await;
    second.send(format!("{NAMED}\r\nNOOP\r\n")).await;
    let rest = second.rest().await;
    assert!(rest.starts_with("421 4.7.0 "), "{rest}");
    assert_eq!(rest.lines().count(), 1, "{rest}");

    first.ask("EHLO c.test").await;
    first.deliver("one").await;
    assert!(first.ask("MAIL FROM:<>").await.starts_with("450 4.7.1"));
    // Another client has its own, and gives the first one's place back.
    let other = "XCLIENT ADDR=203.0.113.10";
    assert!(first.ask(other).await.starts_with("220"));
    first.ask("EHLO c.test").await;
    assert!(first.ask("MAIL FROM:<>").await.starts_with("250"));
    let mut third = Client::connect(server.local_address()).await;
    third.reply().await;
    assert!(third.ask(NAMED).await.starts_with("220"));
    third.ask("QUIT").await;
    third.rest().await;
    let mut fourth = Client::connect(server.local_address()).await;
    fourth.reply().await;
    assert!(fourth.ask(NAMED).await.starts_with("220"));
}

async fn what_refuses_that_client_is_said_in_place_of_the_greeting(transport: Transport) {
    let server = builder(transport).handler(Notes::default()).start();
    let server = server.expect("it starts");
    let mut client = Client::connect(server.local_address()).await;
    client.reply().await;
    client
        .send("EHLO p.test\r\nXCLIENT ADDR=203.0.113.66\r\nNOOP\r\n")
        .await;
    let rest = client.rest().await;
    assert!(
        rest.ends_with("\r\n250 HELP\r\n554 5.7.1 Listed\r\n"),
        "{rest}"
    );
}

async fn a_proxy_without_xclient_is_a_client_without_limits(transport: Transport) {
    let server = builder(transport)
        .max_connections_per_client(1)
        .handler(Notes::default())
        .start()
        .expect("it starts");
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::greeted(server.local_address()).await;
        assert!(client.deliver("one").await.starts_with("250"));
        clients.push(client);
    }
}

async fn xclient_is_for_lmtp_too(transport: Transport) {
    let networks = ["127.0.0.1/32".parse().expect("a network")];
    let endpoint = Endpoint::new(([127, 0, 0, 1], 0)).protocol(Protocol::Lmtp);
    let server = Server::builder()
        .domain("mx.test")
        .listen(endpoint.xclient_from(networks))
        .transport(transport)
        .handler(Notes::default())
        .start()
        .expect("it starts");
    let mut client = Client::connect(server.local_address()).await;
    client.reply().await;
    assert_eq!(client.ask(NAMED).await, "220 mx.test LMTP PrixFixe");
    assert!(client.ask("LHLO c.test").await.starts_with("250"));
    assert!(client.deliver("one").await.starts_with("250"));
}
