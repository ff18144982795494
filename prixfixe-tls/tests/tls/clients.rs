//! Certificates that clients show.

use std::sync::Arc;

use prixfixe_tls::{ClientAuth, HandshakeError, TlsConfig, TrustAnchors};
use rcgen::{DnType, KeyPair, SanType};
use rustls::{AlertDescription, Error};

use crate::authority::{Authority, Issued};
use crate::wire::{Client, Server, TLS12, TLS13, World, exchange};

struct Case {
    world: World,
    clients: Authority,
}

impl Case {
    fn new() -> Self {
        Self {
            world: World::new(),
            clients: Authority::new(),
        }
    }

    fn config(&self, client_auth: impl FnOnce(TrustAnchors) -> ClientAuth) -> TlsConfig {
        let anchors = TrustAnchors::Memory(self.clients.pem.clone().into_bytes());
        self.world
            .issued
            .builder()
            .client_auth(client_auth(anchors))
            .build()
            .unwrap()
    }

    /// Connects with both versions and gives what each came to.
    fn connect(&self, config: &TlsConfig, own: Option<&Issued>) -> Vec<(Client, Server)> {
        [TLS12, TLS13]
            .into_iter()
            .map(|versions| {
                let client_config = match own {
                    Some(own) => self.world.client_config_with(versions, own),
                    None => self.world.client_config(versions),
                };
                let mut client = Client::new(&Arc::new(client_config), "mx.example.com");
                let mut server = Server::implicit(config);
                exchange(&mut client, &mut server);
                (client, server)
            })
            .collect()
    }

    fn subjects(&self, config: &TlsConfig, own: Option<&Issued>) -> Vec<Option<String>> {
        let connections = self.connect(config, own);
        connections
            .iter()
            .map(|(_, server)| server.info().client_subject.clone())
            .collect()
    }
}

#[test]
fn off_asks_nobody() {
    let case = Case::new();
    let own = case.clients.issue_client("relay");
    assert_eq!(
        case.subjects(&case.config(|_| ClientAuth::Off), Some(&own)),
        [None, None]
    );
}

#[test]
fn request_serves_everybody_and_names_those_it_can_verify() {
    let case = Case::new();
    let config = case.config(ClientAuth::Request);
    let own = case.clients.issue_client("relay");
    let named = Some("CN=relay".to_owned());
    assert_eq!(case.subjects(&config, Some(&own)), [named.clone(), named]);
    assert_eq!(case.subjects(&config, None), [None, None]);
    // A mail server's own certificate, from an authority that isn't ours.
    let foreign = Authority::new().issue(&["relay.example.net"]);
    assert_eq!(case.subjects(&config, Some(&foreign)), [None, None]);
}

#[test]
fn require_serves_those_alone_that_it_can_verify() {
    let case = Case::new();
    let config = case.config(ClientAuth::Require);
    let own = case.clients.issue_client("relay");
    let named = Some("CN=relay".to_owned());
    assert_eq!(case.subjects(&config, Some(&own)), [named.clone(), named]);
    let foreign = Authority::new().issue_client("relay");
    for own in [None, Some(&foreign)] {
        for (client, server) in case.connect(&config, own) {
            assert!(matches!(server.echo().failed, Some(HandshakeError::Tls(_))));
            assert!(server.finished);
            let Some(Error::AlertReceived(alert)) = client.error else {
                panic!("{:?}", client.error)
            };
            let expected = [
                AlertDescription::CertificateRequired,
                AlertDescription::HandshakeFailure,
                AlertDescription::UnknownCA,
            ];
            assert!(expected.contains(&alert), "{alert:?}");
        }
    }
}

#[test]
fn a_subject_cannot_forge_log_lines() {
    let case = Case::new();
    let own = case
        .clients
        .issue_with(&KeyPair::generate().unwrap(), &[], |params| {
            params
                .distinguished_name
                .push(DnType::CommonName, format!("a\r\nb{}", "x".repeat(1000)));
        });
    for subject in case.subjects(&case.config(ClientAuth::Request), Some(&own)) {
        let subject = subject.unwrap();
        assert!(subject.starts_with("CN=a??bxxx"), "{subject}");
        assert_eq!(subject.len(), 256);
    }
}

#[test]
fn a_client_is_named_by_its_mailbox_or_else_by_its_common_name() {
    let case = Case::new();
    let issue = |mailbox: Option<&str>, name: &str| {
        let key = KeyPair::generate().unwrap();
        case.clients.issue_with(&key, &[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            let mailbox = mailbox.map(|it| SanType::Rfc822Name(it.try_into().unwrap()));
            params.subject_alt_names.extend(mailbox);
        })
    };
    let config = case.config(ClientAuth::Request);
    for (own, expected) in [
        (issue(None, "ann"), Some("ann")),
        (
            issue(Some("ann@example.com"), "bob"),
            Some("ann@example.com"),
        ),
        (issue(None, "a\r\nb"), None),
        (issue(None, &"x".repeat(257)), None),
    ] {
        for (_, server) in case.connect(&config, Some(&own)) {
            assert_eq!(server.info().client_name.as_deref(), expected);
        }
    }
    let strangers = Case::new().clients.issue_client("ann");
    for (_, server) in case.connect(&config, Some(&strangers)) {
        assert_eq!(server.info().client_name, None);
    }
}

#[test]
fn a_resumed_session_knows_its_client() {
    let case = Case::new();
    let own = case.clients.issue_client("relay");
    for config in [
        case.config(ClientAuth::Request),
        case.config(ClientAuth::Require),
    ] {
        for versions in [TLS12, TLS13] {
            let client_config = Arc::new(case.world.client_config_with(versions, &own));
            for resumed in [false, true] {
                let mut client = Client::new(&client_config, "mx.example.com");
                let mut server = Server::implicit(&config);
                exchange(&mut client, &mut server);
                let info = server.info();
                assert_eq!(info.resumed, resumed);
                assert_eq!(info.client_subject.as_deref(), Some("CN=relay"));
            }
        }
    }
}

#[test]
fn an_expired_client_certificate_names_nobody() {
    let case = Case::new();
    let expired = case.clients.issue_valid(&["relay.example.net"], -20, -10);
    assert_eq!(
        case.subjects(&case.config(ClientAuth::Request), Some(&expired)),
        [None, None]
    );
    for (_, server) in case.connect(&case.config(ClientAuth::Require), Some(&expired)) {
        assert!(server.echo().failed.is_some());
    }
}
