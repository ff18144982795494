//! What SPF, DKIM and DMARC cost for a message of 10 KiB with one RSA-2048 signature, with all
//! answers of the DNS in the cache, on one core.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::DkimSigner;
use prixfixe_policy::{Authentication, Mode, Resolver};
use prixfixe_server::{Check as _, CheckSession as _, Client, Content, Envelope, Gathered, Mail};
use rustls::pki_types::PrivateKeyDer;

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/policy/dns.rs"]
mod dns;

/// A message, and the public key that verifies it.
fn signed() -> (String, String) {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("PKCS#8");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).expect("X.509");
    let private = PrivateKeyDer::try_from(private.as_ref()).expect("it is a key");
    let key = RsaKey::<Sha256>::from_key_der(private).expect("it is a key");
    let line = "The quick brown fox jumps over the lazy dog, and does it again.\r\n";
    let body = line.repeat(10 * 1024 / line.len());
    let message = format!("From: ann@signer.test\r\nTo: bob@mx.test\r\nSubject: a\r\n\r\n{body}");
    let signer = DkimSigner::from_key(key)
        .domain("signer.test")
        .selector("s1")
        .headers(["From", "To", "Subject"]);
    let signature = signer
        .sign(message.as_bytes())
        .expect("it signs")
        .to_header();
    (signature + &message, STANDARD.encode(public.as_ref()))
}

fn verify(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (message, key) = signed();
    let dns = dns::Dns::start();
    dns.txt("signer.test", "v=spf1 ip4:192.0.2.0/24 -all")
        .txt("_dmarc.signer.test", "v=DMARC1; p=reject")
        .txt("s1._domainkey.signer.test", &format!("v=DKIM1; p={key}"));
    let resolver = Resolver::with_servers([dns.address()]).expect("a resolver");
    let check = Arc::new(Authentication::new(resolver, "mx.test").dmarc(Mode::Enforce));
    let client = Client::builder().ehlo("client.test").build();
    let envelope = Envelope::builder()
        .from("ann@signer.test")
        .expect("an address")
        .build();
    let gathered = Gathered::new(message);
    let once = async || {
        let mut session = check.connect(&client).await.expect("it refuses nobody");
        session
            .mail(Mail::new(&client, &envelope))
            .await
            .expect("it refuses nobody");
        let content = Content::new(&client, &envelope, &gathered);
        let verdict = session.content(content).await.expect("it passes");
        assert_eq!(verdict.get("dmarc"), Some("pass"));
        assert_eq!(verdict.get("dkim"), Some("pass"));
    };
    runtime.block_on(once());
    let mut group = criterion.benchmark_group("a message of 10 KiB");
    group.throughput(Throughput::Elements(1));
    group.bench_function("SPF, DKIM and DMARC", |bencher| {
        bencher.iter(|| runtime.block_on(once()));
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
