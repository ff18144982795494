//! Clients on this machine, over a Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prixfixe_server::{
    CertificateSource, Endpoint, Peer, Protocol, Server, ServerBuilder, TlsConfig, Transport,
    UnixSocket, inbox,
};
use prixfixe_test_support::SelfSigned;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::on_both_transports;

on_both_transports![
    mail_comes_over_a_unix_socket,
    limits_of_a_client_do_not_apply_to_unix_sockets,
    tls_is_not_required_on_unix_sockets,
    a_balancer_on_a_unix_socket_says_whose_connection_it_is,
];

const PATIENCE: Duration = Duration::from_secs(30);

struct Place {
    _directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        Self {
            path: directory.path().join("mail.sock"),
            _directory: directory,
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::unix(UnixSocket::new(&self.path))
    }
}

fn builder(endpoint: Endpoint, transport: Transport) -> ServerBuilder<()> {
    Server::builder()
        .domain("mx.test")
        .listen(endpoint)
        .transport(transport)
}

/// Says all of it at once; everything that comes back.
async fn say(path: &Path, text: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    stream.write_all(text.as_bytes()).await.expect("it reads");
    let mut replies = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut replies)).await;
    read.expect("it closes").expect("replies are text");
    replies
}

const MESSAGE: &str =
    "MAIL FROM:<ann@a.test>\r\nRCPT TO:<bob@b.test>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n";

async fn mail_comes_over_a_unix_socket(transport: Transport) {
    for (protocol, hello, traced) in [
        (Protocol::Smtp, "EHLO", "ESMTP"),
        (Protocol::Lmtp, "LHLO", "LMTP"),
    ] {
        let place = Place::new();
        let (handler, mut inbox) = inbox();
        let server = builder(place.endpoint().protocol(protocol), transport)
            .handler(handler)
            .start()
            .expect("it starts");
        assert!(server.local_addresses().is_empty());
        let shown = format!("unix:{}", place.path.display());
        assert_eq!(server.addresses()[0].to_string(), shown);
        let replies = say(&place.path, &format!("{hello} c.test\r\n{MESSAGE}")).await;
        assert!(replies.contains("\r\n250 2.0.0 OK "), "{replies}");
        let message = inbox.next().await.expect("it was delivered");
        assert!(matches!(message.client().peer(), Peer::Unix(_)));
        let trace = message.trace_headers(message.envelope().recipients());
        let trace = String::from_utf8(trace).expect("headers are text");
        assert!(
            trace.contains("Received: from c.test (unix)\r\n"),
            "{trace}"
        );
        assert!(trace.contains(&format!(" with {traced} id ")), "{trace}");
        server.shutdown();
        server.stopped().await;
        assert!(!place.path.exists());
    }
}

async fn limits_of_a_client_do_not_apply_to_unix_sockets(transport: Transport) {
    let place = Place::new();
    let (handler, _inbox) = inbox();
    let server = builder(place.endpoint(), transport)
        .max_connections(10)
        .max_connections_per_client(1)
        .connections_per_minute(1)
        .messages_per_minute(1)
        .handler(handler)
        .start()
        .expect("it starts");
    let _first = UnixStream::connect(&place.path).await.expect("it listens");
    for _ in 0..3 {
        let replies = say(&place.path, &format!("EHLO c.test\r\n{MESSAGE}")).await;
        assert!(replies.contains("\r\n250 2.0.0 OK "), "{replies}");
    }
    drop(server);
}

async fn tls_is_not_required_on_unix_sockets(transport: Transport) {
    let made = SelfSigned::new("mx.test");
    let source = CertificateSource::memory(
        made.certificate_pem.clone().into_bytes(),
        made.key_pem.clone().into_bytes(),
    );
    let tls = TlsConfig::builder().certificate(source).build();
    let place = Place::new();
    let (handler, _inbox) = inbox();
    let _server = builder(place.endpoint(), transport)
        .tls(tls.expect("a pair"))
        .tls_required(true)
        .handler(handler)
        .start()
        .expect("it starts");
    let replies = say(&place.path, &format!("EHLO c.test\r\n{MESSAGE}")).await;
    assert!(replies.contains("250-STARTTLS\r\n"), "{replies}");
    assert!(replies.contains("\r\n250 2.0.0 OK "), "{replies}");
}

async fn a_balancer_on_a_unix_socket_says_whose_connection_it_is(transport: Transport) {
    let place = Place::new();
    let (handler, mut inbox) = inbox();
    let _server = builder(place.endpoint().proxy_protocol_from_unix(), transport)
        .handler(handler)
        .start()
        .expect("it starts");
    let header = "PROXY TCP4 203.0.113.9 192.0.2.2 40000 25\r\n";
    let replies = say(&place.path, &format!("{header}EHLO c.test\r\n{MESSAGE}")).await;
    assert!(replies.contains("\r\n250 2.0.0 OK "), "{replies}");
    let message = inbox.next().await.expect("it was delivered");
    let client = message.client();
    assert_eq!(client.peer().to_string(), "203.0.113.9:40000");
    let balancer = client.balancer().expect("there is one");
    assert_eq!(balancer.to_string(), "unix");
    assert_eq!(say(&place.path, "EHLO c.test\r\nQUIT\r\n").await, "");
}
