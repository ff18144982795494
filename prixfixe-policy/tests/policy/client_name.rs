//! The client's name in the DNS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::hickory_resolver::proto::rr::{Name, RData, rdata::PTR};
use prixfixe_policy::ClientName;
use prixfixe_server::{Check as _, CheckSession as _, Client, Data, Envelope, Message, Transport};

use crate::dns::{Dns, Known};
use crate::on_both_transports;
use crate::served::{Served, resolver};

on_both_transports![the_name_stands_in_received];

const REVERSE: &str = "7.2.0.192.in-addr.arpa";

fn points_to(dns: &Dns, labels: &[&str]) {
    let name = Name::from_labels(labels.iter().map(|it| it.as_bytes())).expect("a name");
    dns.knows(REVERSE, Known::Record(RData::PTR(PTR(name))));
}

/// What is known of a client at the end, and the first line of its `Received` field.
async fn received(check: ClientName, client: &Client) -> (Option<String>, String) {
    let envelope = Envelope::builder().build();
    let mut session = Arc::new(check).connect(client).await.expect("it is wanted");
    let data = session.data(Data::new(client, &envelope)).await;
    data.expect("nothing is refused");
    let message = Message::new(client.clone(), envelope, ["x\r\n"]);
    let header = String::from_utf8(message.received_header()).expect("text");
    let name = client.host_name().map(String::from);
    (name, header.lines().next().unwrap_or_default().into())
}

fn client() -> Client {
    let peer = ([192, 0, 2, 7], 1024);
    Client::builder().peer(peer).ehlo("client.test").build()
}

#[tokio::test]
async fn a_name_that_leads_back_is_the_clients() {
    let dns = Dns::start();
    points_to(&dns, &["liar", "test"]);
    points_to(&dns, &["MX", "Client", "test"]);
    dns.a("liar.test", [192, 0, 2, 1]);
    dns.a("mx.client.test", [192, 0, 2, 7]);
    let (name, line) = received(ClientName::new(resolver(&dns)), &client()).await;
    assert_eq!(name.as_deref(), Some("mx.client.test"));
    let expected = "Received: from client.test (mx.client.test [192.0.2.7])";
    assert_eq!(line, expected);
    // What a proxy has told goes before it, and nobody is asked.
    let asked = dns.questions();
    let told = Client::builder().host_name("told.test").build();
    let (name, line) = received(ClientName::new(resolver(&dns)), &told).await;
    assert_eq!(name.as_deref(), Some("told.test"));
    assert_eq!(line, "Received: from unknown (told.test [192.0.2.1])");
    assert_eq!(dns.questions(), asked);
}

#[tokio::test]
async fn ipv6_has_names_too() {
    let dns = Dns::start();
    let address: IpAddr = "2001:db8::7".parse().expect("an address");
    let IpAddr::V6(ipv6) = address else {
        unreachable!("it is one");
    };
    let reverse = Name::from(address).to_ascii();
    let name = Name::from_ascii("mx.client.test.").expect("a name");
    dns.knows(&reverse, Known::Record(RData::PTR(PTR(name))));
    dns.knows("mx.client.test", Known::Record(RData::AAAA(ipv6.into())));
    let client = Client::builder().peer((address, 1024)).build();
    let (name, _) = received(ClientName::new(resolver(&dns)), &client).await;
    assert_eq!(name.as_deref(), Some("mx.client.test"));
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_none() {
    let liar = Dns::start();
    points_to(&liar, &["liar", "test"]);
    liar.a("liar.test", [192, 0, 2, 1]);
    let strange = Dns::start();
    points_to(&strange, &["a b(c", "test"]);
    strange.a("a b(c.test", [192, 0, 2, 7]);
    let down = Dns::start();
    down.knows(REVERSE, Known::Failure);
    let silent = Dns::start();
    silent.knows(REVERSE, Known::Silence(None));
    let nameless = Dns::start();
    for dns in [liar, strange, down, silent, nameless] {
        let resolver = resolver(&dns).timeout(Duration::from_millis(500));
        let (name, line) = received(ClientName::new(resolver), &client()).await;
        assert_eq!(name, None);
        assert_eq!(line, "Received: from client.test ([192.0.2.7])");
    }
}

async fn the_name_stands_in_received(transport: Transport) {
    let dns = Dns::start();
    let mut served = Served::with(transport, ClientName::new(resolver(&dns)));
    let reply = served.gets("ann@client.test", "A: b\r\n\r\nc").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let header = served.accepted().await.received_header();
    let header = String::from_utf8(header).expect("text");
    // Every resolver has that name for it (RFC 6761 section 6.3).
    let expected = "Received: from client.test (localhost [127.0.0.1])\r\n";
    assert!(header.starts_with(expected), "{header}");
}
