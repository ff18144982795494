//! Which certificate a client gets, and sessions that are resumed.

use std::sync::Arc;

use prixfixe_tls::{CertificateSource, TlsConfig};
use rcgen::KeyPair;
use rustls::SignatureScheme;

use crate::wire::{BOTH, Client, Server, TLS12, TLS13, World, exchange};

/// The certificate that a client gets, and the server's side.
fn ask(world: &World, config: &TlsConfig, name: &str) -> (Vec<u8>, Server) {
    let (mut client, mut server) = (
        Client::new(&Arc::new(world.client_config(BOTH)), name),
        Server::implicit(config),
    );
    exchange(&mut client, &mut server);
    (
        client
            .tls
            .peer_certificates()
            .map(|chain| chain[0].to_vec())
            .unwrap_or_default(),
        server,
    )
}

#[test]
fn the_name_chooses_the_certificate() {
    let world = World::new();
    let default = world.issued.clone();
    let other = world
        .authority
        .issue(&["mail.example.org", "MX.Example.ORG"]);
    let wildcard = world.authority.issue(&["*.example.org", "example.org"]);
    let config = default
        .builder()
        .certificate(wildcard.source())
        .certificate(other.source())
        .build()
        .unwrap();
    let cases = [
        ("mx.example.com", &default),
        ("mail.example.org", &other),
        ("mx.example.org", &other),
        ("any.example.org", &wildcard),
        ("ANY.example.org", &wildcard),
        ("example.org", &wildcard),
    ];
    for (name, expected) in cases {
        let (certificate, server) = ask(&world, &config, name);
        assert_eq!(certificate, expected.chain()[0].as_ref(), "{name}");
        assert_eq!(server.info().server_name, Some(name.to_ascii_lowercase()));
    }
    // A wildcard stands for one label; a name that nobody has gets the default, which the client
    // refuses.
    for name in ["a.b.example.org", "unknown.example"] {
        let (_, server) = ask(&world, &config, name);
        assert!(server.echo().failed.is_some(), "{name}");
    }
}

#[test]
fn a_client_gets_a_certificate_that_it_can_verify() {
    let world = World::new();
    let rsa = KeyPair::from_pem(include_str!("keys/rsa.pkcs8.pem")).unwrap();
    let rsa = world
        .authority
        .issue_with(&rsa, &["mx.example.com"], |_| {});
    let config = world
        .issued
        .builder()
        .certificate(rsa.source())
        .build()
        .unwrap();
    let (certificate, _) = ask(&world, &config, "mx.example.com");
    assert_eq!(
        certificate,
        world.issued.chain()[0].as_ref(),
        "the first, if it will do"
    );

    let rsa_only = vec![
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    let client_config = world.client_config_unverified(rsa_only);
    let mut client = Client::new(&Arc::new(client_config), "mx.example.com");
    let mut server = Server::implicit(&config);
    exchange(&mut client, &mut server);
    assert_eq!(client.tls.peer_certificates().unwrap()[0], rsa.chain()[0]);
}

#[test]
fn sessions_are_resumed_in_both_versions() {
    let world = World::new();
    let config = world.issued.config();
    for versions in [TLS12, TLS13] {
        let client_config = Arc::new(world.client_config(versions));
        for resumed in [false, true, true] {
            let mut client = Client::new(&client_config, "mx.example.com");
            let mut server = Server::implicit(&config);
            client.write(b"quit\n");
            exchange(&mut client, &mut server);
            assert_eq!(client.received, b"hello\nbye\n");
            assert_eq!(server.info().resumed, resumed, "{versions:?}");
            assert_eq!(server.info().server_name.as_deref(), Some("mx.example.com"));
        }
    }
}

#[test]
fn a_self_signed_certificate_is_for_its_domains() {
    let source = CertificateSource::self_signed(["localhost", "mx.example.com", "192.0.2.1"]);
    let config = TlsConfig::builder().certificate(source).build().unwrap();
    let [certificate] = config.certificates().try_into().unwrap();
    assert_eq!(certificate.names, ["localhost", "mx.example.com"]);
    assert_eq!(certificate.source, "self-signed");
    assert_eq!(certificate.fingerprint.len(), 64);
    // A client that pins it takes it.
    let mut world = World::new();
    let curious = world.client_config_unverified(vec![SignatureScheme::ECDSA_NISTP256_SHA256]);
    let mut client = Client::new(&Arc::new(curious), "localhost");
    exchange(&mut client, &mut Server::implicit(&config));
    let pinned = client.tls.peer_certificates().unwrap()[0].clone();
    world.roots.roots.clear();
    world.roots.add(pinned).unwrap();
    for name in ["localhost", "mx.example.com", "192.0.2.1"] {
        let (_, server) = ask(&world, &config, name);
        assert!(
            server.echo().info.is_some(),
            "{name}: {:?}",
            server.echo().failed
        );
    }
}
