//! Clients that speak before they are greeted.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_server::{ConnectionResult, Endpoint, IpNet, Server, ServerBuilder, Transport, inbox};

use crate::client::Client;
use crate::on_both_transports;
use crate::proxy::{certificate, connect, in_tls};

on_both_transports![
    who_keeps_quiet_is_greeted_later,
    who_speaks_before_its_greeting_is_refused,
    behind_the_header_of_a_balancer_clients_have_to_be_quiet,
    behind_the_handshake_clients_have_to_be_quiet,
    who_is_no_stranger_is_greeted_at_once,
    an_endpoint_may_have_a_time_of_its_own,
    a_server_that_goes_away_waits_for_nobody,
];

const EARLY: &str = "554 5.5.1 wait for the greeting before you speak\r\n";

/// Nobody in a test waits for so long.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// On one thread: a client that is quiet must not hold it.
fn start(builder: ServerBuilder<()>, endpoint: Endpoint, transport: Transport) -> Server {
    let (handler, _inbox) = inbox();
    let builder = builder.domain("mx.test").listen(endpoint);
    let builder = builder.threads(NonZeroUsize::MIN).transport(transport);
    builder.handler(handler).start().expect("it starts")
}

fn endpoint() -> Endpoint {
    Endpoint::new(([127, 0, 0, 1], 0))
}

fn local_networks() -> [IpNet; 1] {
    ["127.0.0.0/8".parse().expect("a network")]
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

async fn is_greeted(server: &Server) {
    let mut client = Client::connect(server.local_address()).await;
    let greeting = client.reply().await;
    assert!(greeting.starts_with("220 mx.test"), "{greeting}");
}

async fn says_early(server: &Server, text: &str) -> String {
    let mut client = Client::connect(server.local_address()).await;
    client.send(text).await;
    client.rest().await
}

async fn who_keeps_quiet_is_greeted_later(transport: Transport) {
    let time = Duration::from_millis(300);
    let server = start(Server::builder().early_talker(time), endpoint(), transport);
    let began = Instant::now();
    let mut client = Client::connect(server.local_address()).await;
    let greeting = client.reply().await;
    assert!(greeting.starts_with("220 mx.test"), "{greeting}");
    assert!(began.elapsed() >= time, "{:?}", began.elapsed());
    // Once greeted it may say what it likes, at once.
    client.send("EHLO a\r\nRSET\r\nQUIT\r\n").await;
    let rest = client.rest().await;
    assert!(rest.contains("\r\n221 "), "{rest}");
}

async fn who_speaks_before_its_greeting_is_refused(transport: Transport) {
    let builder = Server::builder().early_talker(FOR_EVER);
    let server = start(builder, endpoint(), transport);
    for text in ["EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n", "Q", "\r\n"] {
        assert_eq!(says_early(&server, text).await, EARLY, "{text:?}");
    }
    // One that waits, and says something then.
    let mut client = Client::connect(server.local_address()).await;
    until(|| server.active_connections() == 1).await;
    client.send("EHLO client.test\r\n").await;
    assert_eq!(client.rest().await, EARLY);
    until(|| server.active_connections() == 0).await;
    let connections = server.metrics().snapshot().connections;
    let refused = (ConnectionResult::Refused, 4);
    assert!(connections.contains(&refused), "{connections:?}");
}

async fn behind_the_header_of_a_balancer_clients_have_to_be_quiet(transport: Transport) {
    let endpoint = endpoint().proxy_protocol_from(local_networks());
    let builder = Server::builder().early_talker(FOR_EVER);
    let server = start(builder, endpoint, transport);
    let header = "PROXY TCP4 203.0.113.9 192.0.2.1 4000 25\r\n";
    let early = says_early(&server, &format!("{header}EHLO a\r\n")).await;
    assert_eq!(early, EARLY);
    // The balancer itself is no stranger.
    let mut client = Client::connect(server.local_address()).await;
    client.send("PROXY UNKNOWN\r\n").await;
    assert!(client.reply().await.starts_with("220 mx.test"));
}

async fn who_is_no_stranger_is_greeted_at_once(transport: Transport) {
    let endpoint = endpoint().xclient_from(local_networks());
    let builder = Server::builder().early_talker(FOR_EVER);
    let server = start(builder, endpoint, transport);
    let mut client = Client::connect(server.local_address()).await;
    assert!(client.reply().await.starts_with("220 mx.test"));
    assert!(client.ask("EHLO proxy.test").await.starts_with("250"));
    // Nor is the client of which it tells kept waiting: it has waited there.
    let named = client.ask("XCLIENT ADDR=203.0.113.9").await;
    assert!(named.starts_with("220 mx.test"), "{named}");
}

async fn an_endpoint_may_have_a_time_of_its_own(transport: Transport) {
    let everywhere = || Server::builder().early_talker(FOR_EVER);
    let server = start(
        everywhere(),
        endpoint().early_talker(Duration::ZERO),
        transport,
    );
    is_greeted(&server).await;
    let server = start(
        Server::builder(),
        endpoint().early_talker(FOR_EVER),
        transport,
    );
    assert_eq!(says_early(&server, "EHLO a\r\n").await, EARLY);
    // What the settings say of it goes before that, and can change.
    let changed = server
        .reconfigure(|it| it.endpoint_rules([endpoint().early_talker(Duration::ZERO).rules()]));
    changed.expect("it can");
    is_greeted(&server).await;
    let changed = server.reconfigure(|it| it.endpoint_rules([endpoint().rules()]));
    changed.expect("it can");
    is_greeted(&server).await;
}

async fn a_server_that_goes_away_waits_for_nobody(transport: Transport) {
    let builder = Server::builder().early_talker(FOR_EVER);
    let server = start(builder.drain_timeout(FOR_EVER), endpoint(), transport);
    let mut client = Client::connect(server.local_address()).await;
    until(|| server.active_connections() == 1).await;
    server.shutdown();
    let rest = client.rest().await;
    assert!(rest.starts_with("421 4.3.2"), "{rest}");
    server.stopped().await;
}

/// Where TLS comes first, it is no matter who speaks before: the handshake is the client's to
/// begin.
async fn behind_the_handshake_clients_have_to_be_quiet(transport: Transport) {
    let (tls, client) = certificate();
    let endpoint = endpoint().implicit_tls();
    let quiet = Server::builder().early_talker(FOR_EVER).tls(tls.clone());
    let server = start(quiet, endpoint, transport);
    let early = in_tls(connect(&server), Arc::clone(&client), b"", b"EHLO a\r\n");
    assert_eq!(early, EARLY);
}

#[cfg(unix)]
mod unix {
    use prixfixe_server::UnixSocket;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;

    use super::*;

    on_both_transports![a_process_of_this_machine_is_greeted_at_once];

    async fn a_process_of_this_machine_is_greeted_at_once(transport: Transport) {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("mail.sock");
        let endpoint = Endpoint::unix(UnixSocket::new(&path));
        let builder = Server::builder().early_talker(FOR_EVER);
        let _server = start(builder, endpoint, transport);
        let mut stream = UnixStream::connect(&path).await.expect("it listens");
        let mut greeting = [0; 3];
        let read = stream.read_exact(&mut greeting).await;
        read.expect("it greets");
        assert_eq!(&greeting, b"220");
    }
}
