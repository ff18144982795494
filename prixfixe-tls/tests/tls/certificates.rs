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
        CertificateSource::Files {
            cert: self.path("cert.pem"),
            key: self.path("key.pem"),
            password_file: password_file.map(|name| self.path(name)),
        }
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
fn every_form_of_a_key_is_read() {
    let forms = [include_str!("keys/ec.sec1.pem"), EC];
    for form in forms {
        Directory::with_key(form).build().unwrap();
    }
    for form in [
        include_str!("keys/ec.pbkdf2.pem"),
        include_str!("keys/ec.scrypt.pem"),
    ] {
        Directory::with_key(form)
            .build_with_password("secret")
            .unwrap();
    }
    for password in ["secret\n", "secret\r\nand a second line"] {
        Directory::with_key(include_str!("keys/ec.fast.pem"))
            .build_with_password(password)
            .unwrap();
    }
    let rsa = include_str!("keys/rsa.pkcs8.pem");
    let issued = Authority::new().issue_with(
        &KeyPair::from_pem(rsa).unwrap(),
        &["mx.example.com"],
        |_| {},
    );
    for key in [rsa, include_str!("keys/rsa.pkcs1.pem")] {
        Directory::new(&Issued {
            cert: issued.cert.clone(),
            key: key.to_owned(),
        })
        .build()
        .unwrap();
    }
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    Directory::new(&Authority::new().issue_with(&ed25519, &["mx.example.com"], |_| {}))
        .build()
        .unwrap();
}

#[test]
fn files_take_der_as_well() {
    let authority = Authority::new();
    let issued = authority.issue(&["mx.example.com"]);
    let directory = Directory::good();
    directory.write("cert.pem", issued.chain().first().unwrap());
    directory.write("key.pem", issued.private_key().secret_der());
    let anchors = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    directory.write("ca.pem", anchors);
    let config = TlsConfig::builder()
        .certificate(directory.source(None))
        .client_auth(ClientAuth::Require(TrustAnchors::File(
            directory.path("ca.pem"),
        )))
        .build()
        .unwrap();
    assert_eq!(config.certificates()[0].names, ["mx.example.com"]);
}

#[test]
fn every_form_of_an_unencrypted_key_is_read_from_der_and_no_encrypted_one() {
    let der = |pem: &str| pem_of(pem).contents;
    let ec = Directory::with_key("");
    for pem in [EC, include_str!("keys/ec.sec1.pem")] {
        ec.write("key.pem", der(pem));
        ec.build().unwrap();
    }
    let rsa = include_str!("keys/rsa.pkcs8.pem");
    let key = KeyPair::from_pem(rsa).unwrap();
    let rsa_directory = Directory::new(&Authority::new().issue_with(&key, &["a.example"], |_| {}));
    for pem in [rsa, include_str!("keys/rsa.pkcs1.pem")] {
        rsa_directory.write("key.pem", der(pem));
        rsa_directory.build().unwrap();
    }
    ec.write("key.pem", der(include_str!("keys/ec.fast.pem")));
    let error = ec.build_with_password("secret");
    assert!(matches!(error, Err(TlsError::MalformedKey { .. })));
}

fn pem_of(text: &str) -> x509_parser::pem::Pem {
    let sections = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes());
    // Behind the parameters of a curve, where they are there.
    sections.last().unwrap().unwrap()
}

/// What editors of some systems put before a text, and what `cat` then puts into the middle of a chain.
#[test]
fn a_byte_order_mark_hides_no_certificate_key_authority_or_password() {
    const MARK: &str = "\u{feff}";
    let authority = Authority::new();
    let directory = Directory::new(&Issued {
        cert: String::new(),
        key: format!("{MARK}{}", include_str!("keys/ec.fast.pem")),
    });
    let key = KeyPair::from_pem(EC).unwrap();
    let leaf = authority.issue_with(&key, &["mx.example.com"], |_| {}).cert;
    directory.write("cert.pem", format!("{MARK}{leaf}{MARK}{}", authority.pem));
    directory.write("ca.pem", format!("{MARK}{}", authority.pem));
    directory.write("password", format!("{MARK}secret\r\n"));
    let config = TlsConfig::builder()
        .certificate(directory.source(Some("password")))
        .client_auth(ClientAuth::Require(TrustAnchors::File(
            directory.path("ca.pem"),
        )))
        .build()
        .unwrap();
    assert_eq!(config.certificates()[0].names, ["mx.example.com"]);

    let world = World {
        roots: authority.roots(),
        issued: Issued {
            cert: leaf,
            key: EC.to_owned(),
        },
        authority,
    };
    let memory = Issued {
        cert: format!("{MARK}{}{MARK}{}", world.issued.cert, world.authority.pem),
        key: format!("{MARK}{EC}"),
    };
    let (mut client, mut server) = (world.client(BOTH), Server::implicit(&memory.config()));
    exchange(&mut client, &mut server);
    assert_eq!(client.received, b"hello\n", "{:?}", client.error);
    assert_eq!(client.tls.peer_certificates().unwrap().len(), 2);
}

#[test]
fn memory_takes_der_as_well() {
    let key = KeyPair::generate().unwrap();
    let cert = params(&["mx.example.com"]).self_signed(&key).unwrap();
    let source = CertificateSource::Memory {
        cert: cert.der().to_vec(),
        key: key.serialize_der(),
    };
    assert_eq!(
        format!("{source:?}"),
        "Memory { .. }",
        "a key doesn't print"
    );
    let config = TlsConfig::builder().certificate(source).build().unwrap();
    assert_eq!(config.certificates()[0].source, "memory");
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
            .certificate(CertificateSource::SelfSigned { domains })
            .build()
            .unwrap_err();
        assert!(matches!(error, TlsError::SelfSigned { .. }));
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}

/// What is logged while `action` runs.
fn logged(action: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    prixfixe_test_support::listening(subscriber, action);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn warnings(directory: &Directory) -> String {
    logged(|| drop(directory.build().unwrap()))
}

#[test]
fn expiry_within_30_days_is_a_warning() {
    let authority = Authority::new();
    for (days, warned) in [(29, true), (32, false)] {
        let directory = Directory::new(&authority.issue_valid(&["mx.example.com"], -1, days));
        private(&directory.path("key.pem"));
        let log = warnings(&directory);
        assert_eq!(log.contains("certificate expires soon"), warned, "{log}");
        assert_eq!(log.contains("days_left=28"), warned, "{log}");
        assert_eq!(log.contains("cert.pem"), warned, "{log}");
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}

#[test]
#[cfg(unix)]
fn a_key_that_everyone_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::good();
    fs::set_permissions(directory.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let log = warnings(&directory);
    assert!(
        log.contains("private key can be read by everyone") && log.contains("key.pem"),
        "{log}"
    );
    private(&directory.path("key.pem"));
    assert_eq!(warnings(&directory), "");
}

#[test]
fn a_chain_out_of_order_is_a_warning() {
    let directory = Directory::good();
    let stranger = Authority::new().issue_valid(&[], -20, -10).cert;
    let good = fs::read_to_string(directory.path("cert.pem")).unwrap();
    directory.write("cert.pem", format!("{good}{stranger}"));
    let log = warnings(&directory);
    assert!(
        log.contains("chain is out of order") && log.contains("position=2"),
        "{log}"
    );
    assert!(log.contains("chain has an expired certificate"), "{log}");
}
