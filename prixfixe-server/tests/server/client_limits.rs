//! What one client may have, so that it crowds out nobody.

use std::net::SocketAddr;

use prixfixe_server::{
    CertificateSource, ConnectionResult, Endpoint, IncidentKind, Server, ServerBuilder, TlsConfig,
    Transport,
};
use tokio::net::TcpSocket;

use crate::client::{Client, builder};
use crate::on_both_transports;

on_both_transports![
    one_connection_more_than_a_client_may_have_is_told_421,
    without_a_limit_a_public_address_has_half_of_all,
    a_place_is_free_again_after_quit,
    one_connection_more_than_a_client_may_make_in_a_minute_is_told_421,
    one_message_more_than_a_client_may_send_in_a_minute_is_told_450,
    where_tls_comes_first_a_connection_too_many_is_closed,
    behind_a_balancer_the_true_client_is_limited,
    health_checks_have_no_limits,
    limits_change_while_the_server_runs,
];

const TOO_MANY: &str = "421 4.7.0 too many connections from your address, try again later";

fn start(builder: ServerBuilder<()>) -> Server {
    let (handler, mut inbox) = prixfixe_server::inbox();
    tokio::spawn(async move { while inbox.next().await.is_some() {} });
    builder.handler(handler).start().expect("it starts")
}

/// From another address than the other clients of a test.
async fn connect_from(own: [u8; 4], address: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = SocketAddr::from((own, 0));
    socket.bind(own).expect("a loopback address");
    Client::from(socket.connect(address).await.expect("the server listens"))
}

async fn is_greeted(mut client: Client) -> Client {
    let reply = client.reply().await;
    assert!(reply.starts_with("220 "), "{reply}");
    client
}

async fn is_sent_away(mut client: Client) {
    let rest = client.rest().await;
    assert_eq!(rest.trim_end(), TOO_MANY);
}

fn count(server: &Server, result: ConnectionResult) -> u64 {
    let connections = server.metrics().snapshot().connections;
    let (_, count) = connections
        .into_iter()
        .find(|(counted, _)| *counted == result)
        .expect("every result is counted");
    count
}

async fn one_connection_more_than_a_client_may_have_is_told_421(transport: Transport) {
    let server = start(builder(transport).max_connections_per_client(2));
    let address = server.local_address();
    let _first = is_greeted(Client::connect(address).await).await;
    let _second = is_greeted(Client::connect(address).await).await;
    is_sent_away(Client::connect(address).await).await;
    is_greeted(connect_from([127, 0, 0, 9], address).await).await;
    assert_eq!(count(&server, ConnectionResult::ClientLimit), 1);
    assert_eq!(count(&server, ConnectionResult::Accepted), 3);
}

/// The default, which follows `max_connections` and can be lifted.
async fn without_a_limit_a_public_address_has_half_of_all(transport: Transport) {
    let server = start(behind_balancers(transport).max_connections(5));
    let address = server.local_address();
    let header = |host: &str| format!("PROXY TCP4 {host} 198.51.100.25 12345 25\r\n");
    let stranger = header("203.0.113.9");
    let mut greeted = Vec::new();
    for _ in 0..2 {
        greeted.push(is_greeted(connect_for(&stranger, address).await).await);
    }
    is_sent_away(connect_for(&stranger, address).await).await;
    // A private address has no such limit.
    for _ in 0..3 {
        let private = connect_for(&header("10.1.2.3"), address).await;
        greeted.push(is_greeted(private).await);
    }
    server
        .reconfigure(|settings| settings.max_connections(8))
        .expect("it can");
    for _ in 0..2 {
        greeted.push(is_greeted(connect_for(&stranger, address).await).await);
    }
    is_sent_away(connect_for(&stranger, address).await).await;
    server
        .reconfigure(|settings| settings.max_connections_per_client(0))
        .expect("it can");
    is_greeted(connect_for(&stranger, address).await).await;
}

async fn a_place_is_free_again_after_quit(transport: Transport) {
    let server = start(builder(transport).max_connections_per_client(1));
    let address = server.local_address();
    for _ in 0..10 {
        let mut client = is_greeted(Client::connect(address).await).await;
        assert!(client.ask("QUIT").await.starts_with("221 "));
    }
}

async fn one_connection_more_than_a_client_may_make_in_a_minute_is_told_421(transport: Transport) {
    let server = start(builder(transport).connections_per_minute(1));
    let address = server.local_address();
    let mut first = is_greeted(Client::connect(address).await).await;
    assert!(first.ask("QUIT").await.starts_with("221 "));
    is_sent_away(Client::connect(address).await).await;
    is_greeted(connect_from([127, 0, 0, 9], address).await).await;
}

async fn one_message_more_than_a_client_may_send_in_a_minute_is_told_450(transport: Transport) {
    let server = start(builder(transport).messages_per_minute(1).max_errors(1));
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.deliver("hello").await.starts_with("250 "));
    // It is no bad command either: the session is as usable as before, however often it is told.
    for _ in 0..5 {
        assert_eq!(
            client.ask("MAIL FROM:<a@example.org>").await,
            "450 4.7.1 too many messages from your address, try again later"
        );
    }
    assert!(client.ask("NOOP").await.starts_with("250 "));
    let recent = server.metrics().recent();
    let told: Vec<_> = recent
        .iter()
        .map(|it| (it.kind, it.code, it.count))
        .collect();
    assert_eq!(told, [(IncidentKind::SenderRefused, Some(450), 5)]);
}

async fn where_tls_comes_first_a_connection_too_many_is_closed(transport: Transport) {
    let tls = TlsConfig::builder()
        .certificate(CertificateSource::self_signed(["mx.test"]))
        .build()
        .expect("a certificate");
    let builder = Server::builder()
        .transport(transport)
        .tls(tls)
        .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
        .max_connections_per_client(1);
    let server = start(builder);
    let mut one = Client::connect(server.local_address()).await;
    let mut other = Client::connect(server.local_address()).await;
    // Two threads may take them in either order.
    let rest = tokio::select! {
        rest = one.rest() => rest,
        rest = other.rest() => rest,
    };
    assert_eq!(rest, "");
    assert_eq!(count(&server, ConnectionResult::ClientLimit), 1);
}

fn behind_balancers(transport: Transport) -> ServerBuilder<()> {
    let networks = ["127.0.0.0/8".parse().expect("a network")];
    let endpoint = Endpoint::new(([127, 0, 0, 1], 0)).proxy_protocol_from(networks);
    Server::builder().transport(transport).listen(endpoint)
}

async fn connect_for(header: &str, address: SocketAddr) -> Client {
    let mut client = Client::connect(address).await;
    client.send(header).await;
    client
}

async fn behind_a_balancer_the_true_client_is_limited(transport: Transport) {
    let server = start(behind_balancers(transport).max_connections_per_client(1));
    let address = server.local_address();
    let header = |host: &str| format!("PROXY TCP6 {host} 2001:db8::25 12345 25\r\n");
    let _first = is_greeted(connect_for(&header("2001:db8:1:2::1"), address).await).await;
    // Another host of the same /64 is the same client, one of the next is not.
    is_sent_away(connect_for(&header("2001:db8:1:2:3::4"), address).await).await;
    is_greeted(connect_for(&header("2001:db8:1:3::1"), address).await).await;
}

async fn health_checks_have_no_limits(transport: Transport) {
    let limited = behind_balancers(transport)
        .max_connections_per_client(1)
        .connections_per_minute(1);
    let server = start(limited);
    let mut checks = Vec::new();
    for _ in 0..3 {
        let check = connect_for("PROXY UNKNOWN\r\n", server.local_address()).await;
        checks.push(is_greeted(check).await);
    }
}

async fn limits_change_while_the_server_runs(transport: Transport) {
    let server = start(builder(transport));
    let address = server.local_address();
    let _first = is_greeted(Client::connect(address).await).await;
    server
        .reconfigure(|settings| settings.max_connections_per_client(1))
        .expect("it can");
    // Who came before there was a limit is not known to it.
    let _second = is_greeted(Client::connect(address).await).await;
    is_sent_away(Client::connect(address).await).await;
    server
        .reconfigure(|settings| settings.max_connections_per_client(2))
        .expect("it can");
    let _third = is_greeted(Client::connect(address).await).await;
    is_sent_away(Client::connect(address).await).await;
}
