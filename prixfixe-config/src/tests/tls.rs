//! TLS: what the file alone sets, and what has to go together.

use std::time::Duration;

use super::*;
use crate::tls::Certificate;

#[test]
fn certificates_by_name_and_the_times_of_tls_are_set_in_the_file() {
    let tls = |file| load(file, &[], &[]).unwrap().tls;
    let default = tls("");
    assert_eq!(default.handshake_timeout.get(), Duration::from_secs(30));
    assert_eq!(default.reload_interval.get(), Duration::from_secs(60));
    assert!(default.certificates.is_empty());

    let set = tls(
        "[tls]\nself-signed = true\nhandshake-timeout = '1m'\nreload-interval = '0s'\n\
         [[tls.certificate]]\ncert = 'a'\nkey = 'b'\n\
         [[tls.certificate]]\ncert = 'c'\nkey = 'd'\nkey-password-file = 'e'\n",
    );
    assert_eq!(set.handshake_timeout.get(), Duration::from_secs(60));
    assert_eq!(set.reload_interval.get(), Duration::ZERO);
    let files: Vec<_> = set
        .certificates
        .iter()
        .map(|certificate| {
            let Certificate {
                cert,
                key,
                key_password_file,
            } = certificate;
            [Some(cert), Some(key), key_password_file.as_ref()]
                .map(|file| file.and_then(|file| file.to_str()))
        })
        .collect();
    assert_eq!(
        files,
        [
            [Some("a"), Some("b"), None],
            [Some("c"), Some("d"), Some("e")]
        ]
    );
}

#[test]
fn what_tls_needs_is_asked_for() {
    let certificate = "a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
    let cases: [Mistake; 9] = [
        ("", &[], &["--tls-cert=c"], "--tls-cert: needs its private key; add --tls-key".to_owned()),
        ("", &[("SMTP_TLS_KEY", "k")], &[], "SMTP_TLS_KEY: needs its certificate; add --tls-cert".to_owned()),
        (
            "tls.key-password-file = 'p'",
            &[],
            &[],
            "FILE:1: tls.key-password-file: needs the key that it opens; add --tls-key".to_owned(),
        ),
        (
            "tls.self-signed = true",
            &[],
            &["--tls-cert=c", "--tls-key=k"],
            "FILE:1: tls.self-signed: there is a certificate already; remove --tls-self-signed or --tls-cert".to_owned(),
        ),
        (
            "",
            &[],
            &["--tls-self-signed", "--tls-client-auth=request"],
            "--tls-client-auth: needs the CA that vouches for clients; add --tls-client-ca".to_owned(),
        ),
        ("", &[], &["--tls-required"], format!("--tls-required: needs {certificate}")),
        ("", &[], &["--listen-tls=a:1"], format!("--listen-tls: needs {certificate}")),
        (
            "\n[[listener]]\naddress = 'a:1'\ntls = 'implicit'",
            &[],
            &[],
            format!("FILE:3: listener.address: needs {certificate}"),
        ),
        (
            "\n[[tls.certificate]]\ncert = 'c'\nkey = 'k'",
            &[],
            &[],
            format!("FILE:2: tls.certificate: needs a default beside it, {certificate}"),
        ),
    ];
    for (file, variables, flags, expected) in cases {
        assert_eq!(load(file, variables, flags).unwrap_err(), expected);
    }
}
