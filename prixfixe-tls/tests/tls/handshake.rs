//! Handshakes that succeed, fail, and don't come to an end.

use std::time::Duration;

use prixfixe_network::Session;
use prixfixe_tls::{HandshakeError, Tls, TlsVersion};
use rustls::{AlertDescription, Error};

use crate::echo::{Echo, IDLE_TIMEOUT};
use crate::wire::{BOTH, Client, Server, TLS12, TLS13, World, exchange};

#[test]
fn both_versions_are_spoken_and_reported() {
    let world = World::new();
    let cases = [
        (
            TLS13,
            TlsVersion::Tls13,
            "TLSv1.3",
            "TLS13_AES_256_GCM_SHA384",
        ),
        (
            TLS12,
            TlsVersion::Tls12,
            "TLSv1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        (
            BOTH,
            TlsVersion::Tls13,
            "TLSv1.3",
            "TLS13_AES_256_GCM_SHA384",
        ),
    ];
    for (versions, version, name, suite) in cases {
        let (_, server) = world.established(versions);
        let info = server.info();
        assert_eq!(
            (info.version, info.version.to_string().as_str()),
            (version, name)
        );
        assert_eq!(info.cipher_suite, suite);
        assert_eq!(info.server_name.as_deref(), Some("mx.example.com"));
        assert_eq!(info.client_subject, None);
        assert!(!info.resumed);
    }
}

/// RFC 9266: the client works it out by itself, with what rustls gives it.
#[test]
fn both_ends_have_the_same_channel_binding_with_tls_1_3() {
    let world = World::new();
    for resumed in [false, true] {
        let (client, server) = match resumed {
            false => world.established(TLS13),
            true => {
                let config = std::sync::Arc::new(world.client_config(TLS13));
                let tls = world.issued.builder().build().unwrap();
                let connect = || {
                    let mut client = Client::new(&config, "mx.example.com");
                    let mut server = Server::implicit(&tls);
                    exchange(&mut client, &mut server);
                    (client, server)
                };
                connect();
                connect()
            }
        };
        let label = b"EXPORTER-Channel-Binding";
        let expected = client.tls.export_keying_material([0; 32], label, Some(b""));
        let info = server.info();
        assert_eq!(info.resumed, resumed);
        assert_eq!(info.channel_binding, Some(expected.unwrap()));
    }
    let (_, server) = world.established(TLS12);
    assert_eq!(server.info().channel_binding, None);
}

#[test]
fn a_minimum_of_1_3_refuses_1_2_with_an_alert() {
    let world = World::new();
    let config = world
        .issued
        .builder()
        .min_version(TlsVersion::Tls13)
        .build()
        .unwrap();
    let (mut client, mut server) = (world.client(TLS12), Server::implicit(&config));
    exchange(&mut client, &mut server);
    assert_eq!(
        client.error,
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion))
    );
    assert!(server.finished);
    let failed = server.echo().failed.as_ref().map(ToString::to_string);
    assert!(failed.is_some_and(|it| it.starts_with("peer is incompatible")));
    let mut client = world.client(TLS13);
    let mut server = Server::implicit(&config);
    exchange(&mut client, &mut server);
    assert_eq!(server.info().version, TlsVersion::Tls13);
}

/// A ClientHello for TLS 1.0 (minor 1) or 1.1 (minor 2).
fn old_client_hello(minor: u8, extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 4, 0xc0, 0x13, 0x00, 0x2f]);
    body.extend([1, 0]);
    body.extend(extensions);
    let mut hello = vec![
        22,
        3,
        minor,
        0,
        body.len() as u8 + 4,
        1,
        0,
        0,
        body.len() as u8,
    ];
    hello.extend(body);
    hello
}

#[test]
fn tls_1_0_and_1_1_are_refused_with_an_alert() {
    let world = World::new();
    // supported_groups, signature_algorithms
    let extensions = [0, 16, 0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    // RFC 5246 section 7.2: fatal; handshake_failure from before there were extensions,
    // protocol_version.
    for (extensions, alert) in [(&[][..], 40), (&extensions[..], 70)] {
        for minor in [1, 2] {
            let mut server = Server::implicit(&world.issued.config());
            server.receive(&old_client_hello(minor, extensions));
            assert_eq!(server.sent(), [21, 3, 3, 0, 2, 2, alert]);
            assert!(server.finished && server.echo().failed.is_some());
        }
    }
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_heard() {
    let world = World::new();
    let mut client = World::new().client(BOTH);
    let mut server = Server::implicit(&world.issued.config());
    exchange(&mut client, &mut server);
    assert!(
        matches!(client.error, Some(Error::InvalidCertificate(_))),
        "{:?}",
        client.error
    );
    let alert = Error::AlertReceived(AlertDescription::UnknownCA);
    let failed = server.echo().failed.as_ref().map(ToString::to_string);
    assert_eq!(failed, Some(alert.to_string()));
    assert!(server.finished);
}

#[test]
fn rubbish_behind_a_handshake_header_gets_an_alert() {
    let world = World::new();
    for rubbish in [
        &[22, 3, 1, 0, 4, 1, 0, 0, 0][..],
        &[22, 3, 1, 0xff, 0xff],
        &[22, 0, 0, 0, 1, 0],
    ] {
        let mut server = Server::implicit(&world.issued.config());
        server.receive(rubbish);
        assert_eq!(server.sent().first(), Some(&21), "{rubbish:?}");
        assert!(server.finished);
        assert!(matches!(server.echo().failed, Some(HandshakeError::Tls(_))));
    }
}

#[test]
fn a_handshake_has_a_deadline() {
    let world = World::new();
    let config = world
        .issued
        .builder()
        .handshake_timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let hello = world.client(BOTH).sent();
    for so_far in [0, 1, hello.len() - 1, hello.len()] {
        let mut server = Server::implicit(&config);
        let begin = server.now;
        server.receive(&hello[..so_far]);
        assert_eq!(
            server.session.deadline(),
            Some(begin + Duration::from_secs(10))
        );
        server.after(Duration::from_secs(9));
        assert!(!server.finished);
        server.after(Duration::from_secs(1));
        assert!(server.finished);
        assert_eq!(server.echo().failed, Some(HandshakeError::TimedOut));
    }
}

#[test]
fn after_starttls_the_deadline_counts_from_the_answer() {
    let world = World::new();
    let mut server = Server::starttls(&world.issued.config());
    server.after(IDLE_TIMEOUT);
    let asked = server.now;
    server.receive(b"starttls\n");
    assert_eq!(
        server.session.deadline(),
        Some(asked + Duration::from_secs(30))
    );
    server.after(Duration::from_secs(30));
    assert_eq!(server.echo().failed, Some(HandshakeError::TimedOut));
    assert_eq!(
        server.sent(),
        b"hello\ngo ahead\n",
        "what was said in clear still leaves"
    );
}

#[test]
fn established_the_session_has_its_own_deadline_back() {
    let (mut client, mut server) = World::new().established(BOTH);
    client.write(b"hi\n");
    exchange(&mut client, &mut server);
    assert_eq!(server.session.deadline(), Some(server.now + IDLE_TIMEOUT));
    server.after(IDLE_TIMEOUT);
    client.receive(&server.sent());
    assert!(server.finished && client.closed);
}

#[test]
fn a_client_that_goes_away_in_the_handshake_is_told_from_one_that_is_slow() {
    let world = World::new();
    let hello = world.client(BOTH).sent();
    for so_far in [0, 3, hello.len()] {
        let mut server = Server::implicit(&world.issued.config());
        server.receive(&hello[..so_far]);
        server.receive_eof();
        assert!(server.finished);
        assert_eq!(server.echo().failed, Some(HandshakeError::Closed));
        assert!(!server.echo().eof, "it has not begun");
    }
}

#[test]
fn a_handshake_that_never_ends_is_bounded() {
    let world = World::new();
    let mut server = Server::implicit(&world.issued.config());
    // A ClientHello that claims 60,000 octets, then records without content behind it.
    server.receive(&[22, 3, 1, 0, 4, 1, 0, 0xea, 0x60]);
    let mut received = 0;
    while server.session.wants_read() && !server.finished {
        server.receive(&[22, 3, 1, 0, 1, 0].repeat(1000));
        received += 6000;
        assert!(received < 200_000, "no bound");
    }
    assert!(server.finished);
    assert_eq!(server.echo().failed, Some(HandshakeError::TooLarge));
}

#[test]
fn shutdown_ends_what_has_not_begun_and_lets_the_rest_finish() {
    let world = World::new();
    let mut server = Server::implicit(&world.issued.config());
    server.shutdown();
    assert!(server.finished && server.sent().is_empty());

    let (mut client, mut server) = (world.client(BOTH), Server::implicit(&world.issued.config()));
    server.receive(&client.sent());
    server.shutdown();
    assert!(!server.finished);
    client.receive(&server.sent());
    exchange(&mut client, &mut server);
    assert_eq!(client.received, b"hello\ngoing\n");
    assert!(server.finished && client.closed);
}

#[test]
fn a_session_without_tls_is_left_alone() {
    let mut server = Server::new(|_| Tls::clear(Echo::greeting()));
    server.receive(b"starttls\n\x16\x03\x01quit\n");
    assert_eq!(server.sent(), b"hello\ngo ahead\n\x16\x03\x01quit\n");
    assert!(!server.finished);
    server.receive_eof();
    assert!(server.finished && server.echo().eof);
}

#[test]
fn what_comes_right_behind_the_handshake_is_received_after_it() {
    let world = World::new();
    for versions in [TLS12, TLS13] {
        let (mut client, mut server) = (
            world.client(versions),
            Server::implicit(&world.issued.config()),
        );
        // rustls keeps it until the keys are there, and sends it in one flight with its Finished.
        client.write(b"early\n");
        exchange(&mut client, &mut server);
        assert_eq!(server.echo().in_tls, b"early\n");
        assert_eq!(server.echo().in_clear, b"");
        assert_eq!(client.received, b"hello\nearly\n");
    }
}

#[test]
fn a_client_without_a_server_name_gets_the_default() {
    let world = World::new();
    let issued = world.authority.issue(&["192.0.2.1"]);
    let mut client = Client::new(&world.client_config(BOTH).into(), "192.0.2.1");
    let mut server = Server::implicit(&issued.config());
    exchange(&mut client, &mut server);
    assert_eq!(server.info().server_name, None);
}
