//! Swapping certificates while running.

use std::fs;
use std::sync::Arc;

use prixfixe_tls::{CertificateSource, ClientAuth, Reloaded, TlsConfig, TlsError, TrustAnchors};

use crate::authority::Issued;
use crate::wire::{BOTH, Client, Server, World, exchange};

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(issued: &Issued) -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.write(issued);
        files
    }

    fn write(&self, issued: &Issued) {
        fs::write(self.directory.path().join("cert.pem"), &issued.cert).unwrap();
        fs::write(self.directory.path().join("key.pem"), &issued.key).unwrap();
    }

    fn source(&self) -> CertificateSource {
        CertificateSource::files(
            self.directory.path().join("cert.pem"),
            self.directory.path().join("key.pem"),
        )
    }
}

fn served(world: &World, config: &TlsConfig) -> Vec<u8> {
    let (mut client, mut server) = (world.client(BOTH), Server::implicit(config));
    exchange(&mut client, &mut server);
    client.tls.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn new_sessions_get_the_new_certificate_and_old_ones_go_on() {
    let world = World::new();
    let files = Files::new(&world.issued);
    let config = TlsConfig::builder()
        .certificate(files.source())
        .build()
        .unwrap();
    let (mut client, mut server) = (world.client(BOTH), Server::implicit(&config));
    // One is in the middle of its handshake, one is established.
    let (mut midway, mut midway_server) = (world.client(BOTH), Server::implicit(&config));
    midway_server.receive(&midway.sent());
    exchange(&mut client, &mut server);
    assert_eq!(config.reload().unwrap(), Reloaded::Unchanged);

    let new = world.authority.issue(&["mx.example.com"]);
    files.write(&new);
    assert_eq!(config.clone().reload().unwrap(), Reloaded::Changed);
    assert_eq!(served(&world, &config), new.chain()[0].as_ref());

    client.write(b"still here\n");
    exchange(&mut client, &mut server);
    assert_eq!(client.received, b"hello\nstill here\n");
    midway.receive(&midway_server.sent());
    exchange(&mut midway, &mut midway_server);
    assert_eq!(
        midway.tls.peer_certificates().unwrap()[0],
        world.issued.chain()[0]
    );
}

#[test]
fn bad_files_are_an_error_and_the_old_certificate_stays() {
    let world = World::new();
    let files = Files::new(&world.issued);
    let config = TlsConfig::builder()
        .certificate(files.source())
        .build()
        .unwrap();
    let before = config.certificates();
    let other = world.authority.issue(&["mx.example.com"]);
    fs::write(files.directory.path().join("cert.pem"), &other.cert).unwrap();
    assert!(matches!(config.reload(), Err(TlsError::Mismatch { .. })));
    fs::remove_file(files.directory.path().join("cert.pem")).unwrap();
    assert!(matches!(config.reload(), Err(TlsError::Read { .. })));
    assert_eq!(config.certificates(), before);
    assert_eq!(served(&world, &config), world.issued.chain()[0].as_ref());
    files.write(&other);
    assert_eq!(config.reload().unwrap(), Reloaded::Changed);
}

#[test]
fn a_self_signed_certificate_outlives_reloads() {
    let world = World::new();
    let files = Files::new(&world.issued);
    let config = TlsConfig::builder()
        .certificate(CertificateSource::self_signed(["localhost"]))
        .certificate(files.source())
        .build()
        .unwrap();
    let before = config.certificates();
    files.write(&world.authority.issue(&["mx.example.com"]));
    assert_eq!(config.reload().unwrap(), Reloaded::Changed);
    let after = config.certificates();
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1].fingerprint, after[1].fingerprint);
}

#[test]
fn sessions_from_before_are_not_resumed() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("clients.pem");
    fs::write(&ca, &world.authority.pem).unwrap();
    let client_auth = ClientAuth::Request(TrustAnchors::File(ca.clone()));
    let config = world
        .issued
        .builder()
        .client_auth(client_auth)
        .build()
        .unwrap();
    let own = world.authority.issue_client("relay");
    let client_config = Arc::new(world.client_config_with(BOTH, &own));
    let connect = || {
        let (mut client, mut server) = (
            Client::new(&client_config, "mx.example.com"),
            Server::implicit(&config),
        );
        exchange(&mut client, &mut server);
        server.info().clone()
    };
    assert!(!connect().resumed);
    assert!(connect().resumed);
    fs::write(&ca, World::new().authority.pem).unwrap();
    assert_eq!(config.reload().unwrap(), Reloaded::Changed);
    let info = connect();
    assert!(!info.resumed);
    assert_eq!(
        info.client_subject, None,
        "the authority that vouched for it is gone"
    );
}
