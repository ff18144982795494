//! TLS to an endpoint, and plaintext.

use std::fs;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use prixfixe_delivery::{Webhook, WebhookError, WebhookOptions};
use prixfixe_test_support::SelfSigned;
use rustls::{ServerConnection, StreamOwned};

use crate::endpoint::{HELLO, OK, accept, detail, open, options, post, read, reply};

fn endpoint(certificate: &SelfSigned) -> SocketAddr {
    let config = certificate.server_config();
    accept(move |_, stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        while read(&mut stream).is_some() {
            if stream.get_mut().write_all(OK.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[tokio::test]
async fn an_endpoint_is_verified() {
    let right = SelfSigned::new("localhost");
    let address = endpoint(&right);
    let folder = tempfile::tempdir().unwrap();
    let trusting = |name: &str, certificate: &SelfSigned| {
        let path = folder.path().join(name);
        fs::write(&path, &certificate.certificate_pem).unwrap();
        {
            let mut options = options();
            options.tls_ca = Some(path);
            // It does not weaken TLS.
            options.insecure = true;
            options
        }
    };
    let url = format!("https://localhost:{}/", address.port());
    let webhook = open(&url, trusting("right.pem", &right));
    assert_eq!(reply(&post(&webhook, HELLO).await), "250");

    // Another authority, and another name.
    let other = SelfSigned::new("localhost");
    let by_address = format!("https://127.0.0.1:{}/", address.port());
    for (url, roots) in [(&url, &other), (&by_address, &right)] {
        let webhook = open(url, trusting("roots.pem", roots));
        let outcome = post(&webhook, HELLO).await;
        assert_eq!(reply(&outcome), "451 4.4.1");
        assert!(
            detail(&outcome).contains("TLS with"),
            "{}",
            detail(&outcome)
        );
    }
}

#[tokio::test]
async fn what_is_no_tls_or_ends_in_the_middle_of_it_is_said() {
    // The last is a record that announces more than comes.
    for said in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"",
        b"\x16\x03\x03\x00\x50half",
    ] {
        let address = accept(move |_, mut stream| {
            let _ = stream.write_all(said);
        });
        let folder = tempfile::tempdir().unwrap();
        SelfSigned::new("localhost").install(folder.path());
        let mut options = options();
        options.tls_ca = Some(folder.path().join("cert.pem"));

        let webhook = open(&format!("https://localhost:{}/", address.port()), options);
        let outcome = post(&webhook, HELLO).await;
        assert_eq!(reply(&outcome), "451 4.4.1");
        assert!(
            detail(&outcome).contains("TLS with localhost failed"),
            "{}",
            detail(&outcome)
        );
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_named() {
    let webhook = open("https://app.invalid/mail", options());
    let outcome = post(&webhook, HELLO).await;
    assert_eq!(reply(&outcome), "451 4.4.1");
    assert!(
        detail(&outcome).contains("app.invalid"),
        "{}",
        detail(&outcome)
    );
}

#[test]
fn plaintext_stays_on_this_host() {
    let open = |url: &str, insecure| {
        let mut options = WebhookOptions::default();
        options.insecure = insecure;

        Webhook::open(&url.parse().unwrap(), options)
    };
    for url in [
        "http://127.0.0.1/",
        "http://[::1]:8080/",
        "http://localhost/x",
    ] {
        assert!(open(url, false).is_ok(), "{url}");
    }
    let refused = open("http://app.example.com/", false).unwrap_err();
    assert!(refused.to_string().contains("insecure = true"), "{refused}");
    assert!(open("http://app.example.com/", true).is_ok());
}

#[test]
fn what_belongs_together_is_asked_for_together() {
    let half = {
        let mut options = WebhookOptions::default();
        options.tls_cert = Some("cert.pem".into());
        options
    };
    let opened = Webhook::open(&"https://localhost/".parse().unwrap(), half);
    assert!(matches!(opened, Err(WebhookError::HalfIdentity)));
    let half = {
        let mut options = WebhookOptions::default();
        options.username = Some("ann".to_owned());
        options
    };
    let opened = Webhook::open(&"https://localhost/".parse().unwrap(), half);
    assert!(matches!(opened, Err(WebhookError::HalfLogin)));
}
