//! The forms in which certificates and keys are read.

use super::*;

#[test]
fn every_form_of_a_key_is_read() {
    let forms = [include_str!("../keys/ec.sec1.pem"), EC];
    for form in forms {
        Directory::with_key(form).build().unwrap();
    }
    for form in [
        include_str!("../keys/ec.pbkdf2.pem"),
        include_str!("../keys/ec.scrypt.pem"),
    ] {
        Directory::with_key(form)
            .build_with_password("secret")
            .unwrap();
    }
    for password in ["secret\n", "secret\r\nand a second line"] {
        Directory::with_key(include_str!("../keys/ec.fast.pem"))
            .build_with_password(password)
            .unwrap();
    }
    let rsa = include_str!("../keys/rsa.pkcs8.pem");
    let issued = Authority::new().issue_with(
        &KeyPair::from_pem(rsa).unwrap(),
        &["mx.example.com"],
        |_| {},
    );
    for key in [rsa, include_str!("../keys/rsa.pkcs1.pem")] {
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
    for pem in [EC, include_str!("../keys/ec.sec1.pem")] {
        ec.write("key.pem", der(pem));
        ec.build().unwrap();
    }
    let rsa = include_str!("../keys/rsa.pkcs8.pem");
    let key = KeyPair::from_pem(rsa).unwrap();
    let rsa_directory = Directory::new(&Authority::new().issue_with(&key, &["a.example"], |_| {}));
    for pem in [rsa, include_str!("../keys/rsa.pkcs1.pem")] {
        rsa_directory.write("key.pem", der(pem));
        rsa_directory.build().unwrap();
    }
    ec.write("key.pem", der(include_str!("../keys/ec.fast.pem")));
    let error = ec.build_with_password("secret");
    assert!(matches!(error, Err(TlsError::MalformedKey { .. })));
}

fn pem_of(text: &str) -> x509_parser::pem::Pem {
    let sections = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes());
    // Behind the parameters of a curve, where they are there.
    sections.last().unwrap().unwrap()
}

/// What editors of some systems put before a text, and what `cat` then puts into the middle of a
/// chain.
#[test]
fn a_byte_order_mark_hides_no_certificate_key_authority_or_password() {
    const MARK: &str = "\u{feff}";
    let authority = Authority::new();
    let directory = Directory::new(&Issued {
        cert: String::new(),
        key: format!("{MARK}{}", include_str!("../keys/ec.fast.pem")),
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
    let source = CertificateSource::memory(cert.der().to_vec(), key.serialize_der());
    assert_eq!(
        format!("{source:?}"),
        "Memory { .. }",
        "a key doesn't print"
    );
    let config = TlsConfig::builder().certificate(source).build().unwrap();
    assert_eq!(config.certificates()[0].source, "memory");
}
