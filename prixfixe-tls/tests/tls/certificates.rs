//! What is found wrong before the first handshake, and how it is told.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use prixfixe_tls::{CertificateSource, ClientAuth, TlsConfig, TlsError, TrustAnchors};
use rcgen::{BasicConstraints, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::authority::{Authority, Issued, params};
use crate::wire::{BOTH, Server, World, exchange};

mod forms;
mod warnings;

const EC: &str = include_str!("keys/ec.pkcs8.pem");

/// A directory with a good certificate and key in it, to spoil.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new(issued: &Issued) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        directory.write("cert.pem", &issued.cert);
        directory.write("key.pem", &issued.key);
        directory
    }

    fn good() -> Self {
        Self::new(&Authority::new().issue(&["mx.example.com"]))
    }

    /// A certificate for the key of the fixtures, and this form of that key.
    fn with_key(key: &str) -> Self {
        let issued = Authority::new().issue_with(
            &KeyPair::from_pem(EC).unwrap(),
            &["mx.example.com"],
            |_| {},
        );
        Self::new(&Issued {
            cert: issued.cert,
            key: key.to_owned(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn source(&self, password_file: Option<&str>) -> CertificateSource {
        CertificateSource::files(self.path("cert.pem"), self.path("key.pem"))
            .password_file(password_file.map(|name| self.path(name)))
    }

    fn build(&self) -> Result<TlsConfig, TlsError> {
        TlsConfig::builder().certificate(self.source(None)).build()
    }

    fn build_with_password(&self, password: &str) -> Result<TlsConfig, TlsError> {
        self.write("password", password);
        TlsConfig::builder()
            .certificate(self.source(Some("password")))
            .build()
    }

    /// The text of the error, with the directory cut out of it.
    fn text(&self, result: Result<TlsConfig, TlsError>) -> String {
        result
            .unwrap_err()
            .to_string()
            .replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn the_whole_chain_is_served() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let mut intermediate = params(&[]);
    intermediate
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Intermediate");
    intermediate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let intermediate_pem = world.authority.sign(&intermediate, &key);
    let leaf_key = KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(intermediate, key);
    let leaf = params(&["mx.example.com"])
        .signed_by(&leaf_key, &issuer)
        .unwrap()
        .pem();
    let directory = Directory::new(&Issued {
        cert: format!("some text before\n{leaf}{intermediate_pem}"),
        key: leaf_key.serialize_pem(),
    });
    let (mut client, mut server) = (
        world.client(BOTH),
        Server::implicit(&directory.build().unwrap()),
    );
    exchange(&mut client, &mut server);
    assert_eq!(client.received, b"hello\n", "{:?}", client.error);
    assert_eq!(client.tls.peer_certificates().unwrap().len(), 2);

    // The wrong way around.
    directory.write("cert.pem", format!("{intermediate_pem}{leaf}"));
    assert_eq!(
        directory.text(directory.build()),
        "the first certificate in cert.pem is a certificate authority's: the server's own must come first"
    );
}

#[test]
fn no_certificate_at_all() {
    assert!(matches!(
        TlsConfig::builder().build(),
        Err(TlsError::NoSource)
    ));
}

#[test]
fn a_missing_file_is_named() {
    for name in ["cert.pem", "key.pem"] {
        let directory = Directory::good();
        fs::remove_file(directory.path(name)).unwrap();
        let error = directory.build();
        assert!(matches!(error, Err(TlsError::Read { .. })));
        assert_eq!(
            directory.text(error),
            format!("cannot read {name}: No such file or directory (os error 2)")
        );
    }
    let directory = Directory::good();
    let error = TlsConfig::builder()
        .certificate(directory.source(Some("password")))
        .build();
    assert!(directory.text(error).starts_with("cannot read password: "));
}

#[test]
fn a_file_without_a_certificate() {
    let directory = Directory::good();
    for content in ["", "not PEM", EC] {
        directory.write("cert.pem", content);
        let error = directory.build();
        assert!(matches!(error, Err(TlsError::NoCertificate { .. })));
        let text = "cert.pem holds no certificate: expected PEM, beginning with -----BEGIN CERTIFICATE-----";
        assert_eq!(directory.text(error), text);
    }
}

#[test]
fn an_unreadable_certificate() {
    let directory = Directory::good();
    let good = fs::read_to_string(directory.path("cert.pem")).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let cases = [
        (broken.to_owned(), 1),
        (format!("{good}{broken}"), 2),
        (good.replace("-----END", "!!!!-----END"), 1),
        (good[..good.len() / 2].to_owned(), 1),
    ];
    for (content, position) in cases {
        directory.write("cert.pem", content);
        let text = directory.text(directory.build());
        let expected = format!("certificate {position} in cert.pem is unreadable: ");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn an_expired_certificate_and_one_of_the_future() {
    let authority = Authority::new();
    let expired = Directory::new(&authority.issue_valid(&["mx.example.com"], -20, -10));
    let error = expired.build();
    assert!(matches!(error, Err(TlsError::Expired { .. })));
    let text = expired.text(error);
    assert!(
        text.starts_with("the certificate in cert.pem expired on "),
        "{text}"
    );
    assert!(text.ends_with(": renew it"), "{text}");

    let future = Directory::new(&authority.issue_valid(&["mx.example.com"], 10, 20));
    let error = future.build();
    assert!(matches!(error, Err(TlsError::NotYetValid { .. })));
    let text = future.text(error);
    assert!(
        text.starts_with("the certificate in cert.pem is not valid before "),
        "{text}"
    );
}

#[test]
fn an_authority_is_no_server_but_openssl_s_self_signed_are() {
    let key = KeyPair::generate().unwrap();
    for (names, accepted) in [(&[][..], false), (&["mx.example.com"], true)] {
        let mut params = params(names);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Some Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap().pem();
        let directory = Directory::new(&Issued {
            cert,
            key: key.serialize_pem(),
        });
        match directory.build() {
            Ok(_) => assert!(accepted),
            error => assert!(matches!(error, Err(TlsError::AuthorityAsServer { .. })) && !accepted),
        }
    }
}

#[test]
fn a_file_without_a_key() {
    let directory = Directory::good();
    let cert = fs::read_to_string(directory.path("cert.pem")).unwrap();
    for content in ["", "not PEM", &cert] {
        directory.write("key.pem", content);
        let error = directory.build();
        assert!(matches!(error, Err(TlsError::NoKey { .. })));
        assert!(
            directory
                .text(error)
                .starts_with("key.pem holds no private key: ")
        );
    }
}

#[test]
fn an_unusable_key() {
    let directory = Directory::good();
    let cases = [
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
        include_str!("keys/ed448.pkcs8.pem"),
        "\x30\x03\x02\x01\x00",
        "\x30",
    ];
    for content in cases {
        directory.write("key.pem", content);
        let error = directory.build();
        assert!(
            matches!(error, Err(TlsError::MalformedKey { .. })),
            "{error:?}"
        );
        assert!(
            directory
                .text(error)
                .starts_with("the private key in key.pem is unusable: ")
        );
    }
}

#[test]
fn an_encrypted_key_and_its_password() {
    let directory = Directory::with_key(include_str!("keys/ec.pbkdf2.pem"));
    let error = directory.build();
    assert!(matches!(error, Err(TlsError::KeyEncrypted { .. })));
    assert_eq!(
        directory.text(error),
        "the private key in key.pem is encrypted: name a password file for it"
    );
    let error = directory.build_with_password("wrong");
    assert!(matches!(error, Err(TlsError::WrongPassword { .. })));
    let text = "the password in password does not open the private key in key.pem";
    assert_eq!(directory.text(error), text);
    // One in 256 wrong passwords leaves valid padding.
    let fast = Directory::with_key(include_str!("keys/ec.fast.pem"));
    for attempt in 0..600 {
        let error = fast.build_with_password(&attempt.to_string());
        assert!(
            matches!(error, Err(TlsError::WrongPassword { .. })),
            "{attempt}: {error:?}"
        );
    }
}

#[test]
fn old_encryption_is_named() {
    let directory = Directory::with_key(include_str!("keys/ec.legacy.pem"));
    let error = directory.build_with_password("secret");
    assert!(matches!(error, Err(TlsError::LegacyEncryptedKey { .. })));
    assert!(
        directory
            .text(error)
            .ends_with(": convert it, openssl pkcs8 -topk8 -in key.pem -out NEW")
    );

    let directory = Directory::with_key(include_str!("keys/ec.pbes1.pem"));
    let error = directory.build_with_password("secret");
    assert!(
        matches!(error, Err(TlsError::MalformedKey { .. })),
        "{error:?}"
    );
}

#[test]
fn a_key_of_another_certificate() {
    let authority = Authority::new();
    let (one, other) = (
        authority.issue(&["mx.example.com"]),
        authority.issue(&["mx.example.com"]),
    );
    let directory = Directory::new(&Issued {
        cert: one.cert.clone(),
        key: other.key.clone(),
    });
    let error = directory.build();
    assert!(matches!(error, Err(TlsError::Mismatch { .. })));
    assert_eq!(
        directory.text(error),
        "the private key in key.pem does not belong to the first certificate in cert.pem"
    );
    directory.write("cert.pem", one.cert + &other.cert);
    assert_eq!(
        directory.text(directory.build()),
        "the private key in key.pem does not belong to the first certificate in cert.pem, \
         but to certificate 2 in it: the server's own must come first"
    );
}

#[test]
fn a_client_authority_that_is_none() {
    let directory = Directory::good();
    let build = |content: &str| {
        directory.write("ca.pem", content);
        let anchors = TrustAnchors::File(directory.path("ca.pem"));
        TlsConfig::builder()
            .certificate(directory.source(None))
            .client_auth(ClientAuth::Require(anchors))
            .build()
    };
    build(&Authority::new().pem).unwrap();
    assert!(
        directory
            .text(build(""))
            .starts_with("ca.pem holds no certificate: ")
    );
    let error = build("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    assert!(matches!(error, Err(TlsError::ClientAuthority { .. })));
    assert!(
        directory
            .text(error)
            .starts_with("the client CA in ca.pem is unusable: ")
    );
    fs::remove_file(directory.path("ca.pem")).unwrap();
    let anchors = TrustAnchors::File(directory.path("ca.pem"));
    let error = TlsConfig::builder()
        .certificate(directory.source(None))
        .client_auth(ClientAuth::Request(anchors))
        .build();
    assert!(directory.text(error).starts_with("cannot read ca.pem: "));
}

#[test]
fn names_that_no_certificate_can_have() {
    for domains in [vec![], vec!["mäil.example".to_owned()]] {
        let text = format!(
            "cannot make a self-signed certificate for {}: ",
            domains.join(", ")
        );
        let error = TlsConfig::builder()
            .certificate(CertificateSource::self_signed(domains))
            .build()
            .unwrap_err();
        assert!(matches!(error, TlsError::SelfSigned { .. }));
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}
