//! Behind a load balancer that speaks the PROXY protocol. The test is the balancer.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_server::{
    CertificateSource, ConnectionResult, Endpoint, Inbox, IpNet, Peer, Server, ServerBuilder,
    TimeoutPhase, TlsConfig, Transport, inbox,
};
use prixfixe_test_support::SelfSigned;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::client::Client;
use crate::on_both_transports;

on_both_transports![
    the_address_in_the_header_is_the_clients,
    commands_may_stand_behind_the_header,
    a_header_may_come_octet_by_octet,
    a_balancer_without_a_client_is_a_health_check,
    a_balancer_that_gives_its_own_connection_is_a_health_check,
    a_network_of_ipv4_mapped_addresses_is_one_of_ipv4,
    from_anybody_else_a_header_is_an_unknown_command,
    what_is_no_header_is_answered_with_nothing,
    without_a_header_in_time_the_connection_is_closed_with_nothing_sent,
    a_client_that_came_as_the_server_went_away_is_told_so,
    at_a_shutdown_nothing_is_sent_before_the_header,
    the_header_comes_before_the_handshake_where_tls_is_first,
    the_header_comes_before_starttls,
    over_the_limit_a_balancers_client_is_told_421,
    balancers_are_counted_apart_from_clients,
];

/// The headers of one client, of both versions.
const HEADERS: [&[u8]; 2] = [
    b"PROXY TCP6 2001:db8::1 2001:db8::2 12345 25\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x2b\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
      \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x30\x39\0\x19\x04\0\x04skip",
];
const LOCAL: [&[u8]; 2] = [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"];

fn networks(network: &str) -> Vec<IpNet> {
    vec![network.parse().expect("a network")]
}

/// A server that takes the test for a balancer.
fn builder(transport: Transport) -> ServerBuilder<()> {
    builder_at(
        transport,
        Endpoint::new(([127, 0, 0, 1], 0)).proxy_protocol_from(networks("127.0.0.0/8")),
    )
}

/// It has a thread of its own, so that the test may block.
fn builder_at(transport: Transport, endpoint: Endpoint) -> ServerBuilder<()> {
    Server::builder()
        .domain("mx.test")
        .listen(endpoint)
        .threads(NonZeroUsize::MIN)
        .transport(transport)
}

fn start(transport: Transport) -> (Server, Inbox) {
    let (handler, inbox) = inbox();
    let server = builder(transport).handler(handler).start();
    (server.expect("it starts"), inbox)
}

/// A client that blocks, but not for ever.
pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_address()).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a socket option");
    stream
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

async fn greet(client: &mut Client) {
    let greeting = client.reply().await;
    assert!(greeting.starts_with("220 mx.test"), "{greeting}");
    assert!(client.ask("EHLO client.test").await.starts_with("250"));
}

async fn the_address_in_the_header_is_the_clients(transport: Transport) {
    let (server, mut inbox) = start(transport);
    for header in HEADERS {
        let mut client = Client::connect(server.local_address()).await;
        client.send(header).await;
        greet(&mut client).await;
        assert!(client.deliver("hello").await.starts_with("250"));
        let message = inbox.next().await.expect("it was delivered");
        assert_eq!(
            message.client().peer(),
            Peer::Ip(address("[2001:db8::1]:12345"))
        );
        assert_eq!(message.client().local(), Some(address("[2001:db8::2]:25")));
        let balancer = message.client().balancer().expect("there is one");
        assert!(
            balancer.ip().is_some_and(|it| it.is_loopback()),
            "{balancer}"
        );
        assert!(!message.client().is_health_check());
        let trace = String::from_utf8(message.trace_headers(message.envelope().recipients()))
            .expect("text");
        assert!(
            trace.contains("from client.test ([IPv6:2001:db8::1])\r\n"),
            "{trace}"
        );
    }
}

async fn commands_may_stand_behind_the_header(transport: Transport) {
    let (server, _inbox) = start(transport);
    for header in HEADERS {
        let mut client = Client::connect(server.local_address()).await;
        client.send([header, b"NOOP\r\nQUIT\r\n"].concat()).await;
        let replies = client.rest().await;
        let codes: Vec<_> = replies.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes, ["220", "250", "221"]);
    }
}

async fn a_header_may_come_octet_by_octet(transport: Transport) {
    let (server, _inbox) = start(transport);
    for header in HEADERS {
        let mut client = Client::connect(server.local_address()).await;
        for octet in header {
            client.send([*octet]).await;
            // The other side of the loopback sees the segments one by one, or several at once: any
            // way will do.
            tokio::task::yield_now().await;
        }
        greet(&mut client).await;
    }
}

async fn a_balancer_without_a_client_is_a_health_check(transport: Transport) {
    let (server, mut inbox) = start(transport);
    for header in LOCAL {
        let mut client = Client::connect(server.local_address()).await;
        client.send(header).await;
        greet(&mut client).await;
        assert!(client.deliver("hello").await.starts_with("250"));
        let message = inbox.next().await.expect("it was delivered");
        assert!(message.client().is_health_check());
        assert!(
            message
                .client()
                .peer()
                .ip()
                .is_some_and(|it| it.is_loopback())
        );
        assert_eq!(message.client().balancer(), Some(message.client().peer()));
        assert_eq!(message.client().local(), Some(server.local_address()));
    }
}

async fn a_balancer_that_gives_its_own_connection_is_a_health_check(transport: Transport) {
    let (server, mut inbox) = start(transport);
    let mut client = Client::connect(server.local_address()).await;
    let (own, local) = (client.local_address(), server.local_address());
    let (port, local_port) = (own.port(), local.port());
    let addresses = format!("{} {} {port} {local_port}", own.ip(), local.ip());
    client.send(format!("PROXY TCP4 {addresses}\r\n")).await;
    greet(&mut client).await;
    assert!(client.deliver("hello").await.starts_with("250"));
    let message = inbox.next().await.expect("it was delivered");
    assert!(message.client().is_health_check());
}

async fn a_network_of_ipv4_mapped_addresses_is_one_of_ipv4(transport: Transport) {
    for network in [
        "::ffff:127.0.0.1/128",
        "::ffff:127.0.0.0/104",
        "::ffff:0:0/96",
    ] {
        let (handler, _inbox) = inbox();
        let endpoint = Endpoint::new(([127, 0, 0, 1], 0)).proxy_protocol_from(networks(network));
        let server = builder_at(transport, endpoint).handler(handler).start();
        let server = server.expect("it starts");
        let mut client = Client::connect(server.local_address()).await;
        client
            .send("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25\r\nNOOP\r\n")
            .await;
        let greeting = client.reply().await;
        assert!(greeting.starts_with("220 "), "{network}: {greeting}");
        let reply = client.reply().await;
        assert!(reply.starts_with("250 "), "{network}: {reply}");
    }
}

async fn from_anybody_else_a_header_is_an_unknown_command(transport: Transport) {
    let (handler, _inbox) = inbox();
    let endpoint = Endpoint::new(([127, 0, 0, 1], 0));
    let server = builder_at(
        transport,
        endpoint.proxy_protocol_from(networks("192.0.2.0/24")),
    )
    .handler(handler)
    .start()
    .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let reply = client.ask("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25").await;
    assert!(reply.starts_with("500 5.5.1"), "{reply}");
    assert!(client.ask("NOOP").await.starts_with("250"));
}

async fn what_is_no_header_is_answered_with_nothing(transport: Transport) {
    let (server, _inbox) = start(transport);
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 1_000_000]].concat();
    for bad in [
        &b"EHLO client.test\r\n"[..],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 12345\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x02\0\x01",
        &endless,
    ] {
        let stream = connect(&server);
        let mut reader = BufReader::new(&stream);
        // The server may be gone before all is sent, and the connection reset before it is seen to
        // end.
        let _ = (&stream).write_all(bad);
        match reader.fill_buf() {
            Ok(reply) => assert!(reply.is_empty(), "{}", reply.escape_ascii()),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

async fn without_a_header_in_time_the_connection_is_closed_with_nothing_sent(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        // On a slow machine too what is sent is there before it is over.
        .command_timeout(Duration::from_secs(1))
        .handler(handler)
        .start()
        .expect("it starts");
    let mut clients = Vec::new();
    for half in [
        &b""[..],
        b"PROXY TCP4 192",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\0",
    ] {
        let mut client = Client::connect(server.local_address()).await;
        client.send(half).await;
        clients.push(client);
    }
    for mut client in clients {
        assert_eq!(client.rest().await, "");
    }
    let snapshot = server.metrics().snapshot();
    assert_eq!(snapshot.timeouts, 3);
    let phase = (TimeoutPhase::ProxyHeader, 3);
    assert!(snapshot.timeouts_by_phase.contains(&phase));
}

async fn a_client_that_came_as_the_server_went_away_is_told_so(transport: Transport) {
    let (server, _inbox) = start(transport);
    let mut client = Client::connect(server.local_address()).await;
    client.send("PROXY TCP4").await;
    while server.active_connections() < 1 {
        tokio::task::yield_now().await;
    }
    server.shutdown();
    client.send(" 192.0.2.1 192.0.2.2 4000 25\r\n").await;
    assert!(client.rest().await.starts_with("421 4.3.2 "));
    server.stopped().await;
}

async fn at_a_shutdown_nothing_is_sent_before_the_header(transport: Transport) {
    let (server, _inbox) = start(transport);
    let mut silent = Client::connect(server.local_address()).await;
    let mut halfway = Client::connect(server.local_address()).await;
    halfway.send("PROXY TCP4").await;
    while server.active_connections() < 2 {
        tokio::task::yield_now().await;
    }
    server.shutdown();
    assert_eq!(silent.rest().await, "");
    assert_eq!(halfway.rest().await, "");
    server.stopped().await;
}

pub(crate) fn certificate() -> (TlsConfig, Arc<ClientConfig>) {
    let made = SelfSigned::new("mx.test");
    let source = CertificateSource::memory(
        made.certificate_pem.clone().into_bytes(),
        made.key_pem.clone().into_bytes(),
    );
    let tls = TlsConfig::builder().certificate(source).build();
    (tls.expect("a pair"), made.client_config())
}

/// What a client that speaks TLS from now on is told behind `before`, up to the end of the
/// connection.
pub(crate) fn in_tls(
    mut stream: TcpStream,
    config: Arc<ClientConfig>,
    before: &[u8],
    commands: &[u8],
) -> String {
    let name = ServerName::try_from("mx.test").expect("a name");
    let mut tls = ClientConnection::new(config, name).expect("a client");
    let mut first = before.to_vec();
    tls.write_tls(&mut first).expect("a ClientHello");
    stream.write_all(&first).expect("the server reads");
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    stream
        .get_mut()
        .write_all(commands)
        .expect("the server reads");
    let mut replies = String::new();
    while stream.read_line(&mut replies).expect("it closes cleanly") > 0 {}
    replies
}

async fn the_header_comes_before_the_handshake_where_tls_is_first(transport: Transport) {
    let (tls, client) = certificate();
    let (handler, _inbox) = inbox();
    let endpoint = Endpoint::new(([127, 0, 0, 1], 0))
        .implicit_tls()
        .proxy_protocol_from(networks("127.0.0.1/32"));
    let server = builder_at(transport, endpoint)
        .tls(tls)
        .handler(handler)
        .start()
        .expect("it starts");
    for header in HEADERS {
        let stream = connect(&server);
        let replies = in_tls(stream, Arc::clone(&client), header, b"NOOP\r\nQUIT\r\n");
        assert!(replies.starts_with("220 mx.test"), "{replies}");
        assert!(replies.contains("\r\n221 "), "{replies}");
    }
}

async fn the_header_comes_before_starttls(transport: Transport) {
    let (tls, config) = certificate();
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .tls(tls)
        .handler(handler)
        .start()
        .expect("it starts");
    for header in HEADERS {
        let mut client = prixfixe_test_support::Client::new(connect(&server));
        let commands = b"EHLO client.test\r\nSTARTTLS\r\n";
        client.send([header, commands].concat()).expect("it reads");
        while !client.reply().expect("a reply").starts_with("220 2.0.0") {}
        let replies = in_tls(
            client.into_stream(),
            Arc::clone(&config),
            b"",
            b"NOOP\r\nQUIT\r\n",
        );
        assert!(replies.contains("\r\n221 "), "{replies}");
    }
}

async fn over_the_limit_a_balancers_client_is_told_421(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .max_connections(1)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut first = Client::connect(server.local_address()).await;
    first.send(HEADERS[0]).await;
    greet(&mut first).await;
    let mut second = Client::connect(server.local_address()).await;
    assert!(second.reply().await.starts_with("421 4.3.2"));
}

async fn balancers_are_counted_apart_from_clients(transport: Transport) {
    let (server, _inbox) = start(transport);
    let address = server.local_address();
    // A client, a check that says so, a check of the port alone, something else, a header that is
    // cut off.
    for (first, greeted) in [
        (HEADERS[0], true),
        (LOCAL[0], true),
        (b"", false),
        (b"EHLO client.test\r\n", false),
        (b"PROXY TCP4", false),
    ] {
        let mut client = Client::connect(address).await;
        client.send(first).await;
        if greeted {
            greet(&mut client).await;
        } else if !first.starts_with(b"EHLO") {
            client.half_close().await;
            assert_eq!(client.rest().await, "");
        }
    }
    let counted = || {
        let connections = server.metrics().snapshot().connections;
        let of = |wanted| connections.iter().find(|(result, _)| *result == wanted);
        [
            ConnectionResult::Accepted,
            ConnectionResult::HealthCheck,
            ConnectionResult::BadProxyHeader,
            ConnectionResult::Unfinished,
        ]
        .map(|result| of(result).map_or(0, |(_, count)| *count))
    };
    let start = Instant::now();
    while counted() != [1, 2, 2, 0] {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", counted());
        tokio::task::yield_now().await;
    }
}
