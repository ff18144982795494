//! Handshakes, and the certificates that are in use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::SystemTime;

use prixfixe_server::Endpoint;
use prixfixe_test_support::trusting_client;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned, SupportedProtocolVersion, version};

use super::*;

on_both_transports![
    every_handshake_is_counted_by_how_it_ended,
    certificates_are_told_as_they_are_now,
];

fn tls() -> TlsConfig {
    TlsConfig::builder()
        .certificate(CertificateSource::self_signed(["mx.test", "other.test"]))
        // Good handshakes end before it on a slow machine, too.
        .handshake_timeout(Duration::from_secs(3))
        .build()
        .expect("a certificate")
}

/// Connects with TLS first and reads the greeting.
fn greeted(address: SocketAddr, version: &'static SupportedProtocolVersion) {
    let config = trusting_client(&[version]);
    let name = ServerName::try_from("mx.test").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(address).expect("the server listens");
    let mut greeting = [0; 4];
    StreamOwned::new(connection, stream)
        .read_exact(&mut greeting)
        .expect("a greeting");
    assert_eq!(&greeting, b"220 ");
}

/// Says this where a handshake is due, and waits for the end.
fn say(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.write_all(bytes).expect("the server reads");
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut Vec::new());
}

async fn every_handshake_is_counted_by_how_it_ended(transport: Transport) {
    let server = prixfixe_server::Server::builder()
        .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
        .transport(transport)
        .tls(tls())
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts");
    let address = server.local_address();
    let metrics = server.metrics();
    tokio::task::spawn_blocking(move || {
        greeted(address, &version::TLS13);
        greeted(address, &version::TLS13);
        greeted(address, &version::TLS12);
        say(address, b"EHLO client.test\r\n");
        say(address, b"\x16\x03\x01\x00\x05hello");
        // Nothing comes: the handshake times out.
        say(address, b"");
        drop(TcpStream::connect(address).expect("the server listens"));
    })
    .await
    .expect("no client fails");

    let snapshot = until(&metrics, |snapshot| {
        snapshot
            .connections
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>()
            == 7
    })
    .await;
    let handshakes = [
        (prixfixe_server::TlsVersion::Tls12, 1),
        (prixfixe_server::TlsVersion::Tls13, 2),
    ];
    assert_eq!(snapshot.tls_handshakes, handshakes);
    assert_eq!(
        snapshot.tls_handshake_failures,
        [
            (HandshakeFailure::Failed, 1),
            (HandshakeFailure::Timeout, 1),
            (HandshakeFailure::Closed, 1),
            (HandshakeFailure::ClearText, 1),
        ]
    );
    let recent = metrics.recent();
    let told = recent.iter().find(|it| it.code == Some(554));
    let told = told.expect("clear text has its note");
    assert_eq!(told.text, "5.5.1 TLS comes first on this port");
    assert_eq!(snapshot.timeouts, 1);
    assert!(
        snapshot
            .timeouts_by_phase
            .contains(&(TimeoutPhase::Handshake, 1))
    );
    assert_eq!(
        snapshot.connections,
        [
            (ConnectionResult::Accepted, 3),
            (ConnectionResult::Refused, 0),
            (ConnectionResult::OverLimit, 0),
            (ConnectionResult::ClientLimit, 0),
            (ConnectionResult::HealthCheck, 0),
            (ConnectionResult::BadProxyHeader, 0),
            (ConnectionResult::Unfinished, 4),
        ]
    );
    let kinds: Vec<_> = metrics.recent().into_iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [IncidentKind::TlsFailed; 4]);
}

async fn certificates_are_told_as_they_are_now(transport: Transport) {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    let install = |days: u32| {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let mut parameters =
            rcgen::CertificateParams::new(["mx.test".to_owned()]).expect("parameters");
        let day = Duration::from_secs(86_400);
        parameters.not_before = (SystemTime::now() - day).into();
        parameters.not_after = (SystemTime::now() + day * days).into();
        let certificate = parameters.self_signed(&pair).expect("a certificate");
        std::fs::write(&cert, certificate.pem()).expect("a file");
        std::fs::write(&key, pair.serialize_pem()).expect("a file");
    };
    install(40);
    let files = || CertificateSource::files(cert.clone(), key.clone());
    let tls = TlsConfig::builder()
        .certificate(files())
        // Two for one name are one series.
        .certificate(files())
        .build()
        .expect("a pair");
    let server = builder(transport)
        .tls(tls.clone())
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts");
    let metrics = server.metrics();
    let told = || {
        let [(name, end)] = &*metrics.snapshot().certificates else {
            panic!("there is one name");
        };
        assert_eq!(name, "mx.test");
        *end
    };
    assert_eq!(told(), tls.certificates()[0].not_after);
    let before = told();
    install(80);
    tls.reload().expect("a good pair");
    assert_eq!(told(), tls.certificates()[0].not_after);
    assert!(told() > before + Duration::from_secs(30 * 86_400));

    let mut text = String::new();
    metrics.encode(&mut text);
    let seconds = told()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let line = text.lines().find(|line| {
        line.starts_with("smtp_tls_certificate_expiry_timestamp_seconds{name=\"mx.test\"} ")
    });
    let value: f64 = line
        .expect("it is there")
        .rsplit(' ')
        .next()
        .expect("a value")
        .parse()
        .expect("a number");
    assert_eq!(value, seconds.as_secs() as f64);
}
