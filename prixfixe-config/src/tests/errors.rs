//! Mistakes, and the place that their errors name.

use super::*;

/// The text of every error that a value can have is with its parser; here is that each names its
/// place.
#[test]
fn errors_name_the_flag_the_variable_or_the_key() {
    let number = "give a whole number from 1 to 1000000";
    let cases: [Mistake; 13] = [
        ("", &[], &["--max-connections", "0"], format!("--max-connections: 0 is out of range; {number}")),
        ("", &[], &["--max-connections", "-1"], format!("--max-connections: `-1` is not a whole number; {number}")),
        (
            "",
            &[("SMTP_MAX_CONNECTIONS", "many")],
            &[],
            format!("SMTP_MAX_CONNECTIONS: `many` is not a whole number; {number}"),
        ),
        (
            "\n[limits]\nmax-connections = -1",
            &[],
            &[],
            format!("FILE:3: limits.max-connections: `-1` is not a whole number; {number}"),
        ),
        (
            "[accept]\ndomains = ['a',\n'-']",
            &[],
            &[],
            "FILE:3: accept.domains: `-` is not a domain name; give one like example.com, or *.example.com for all below it".to_owned(),
        ),
        ("", &[], &["--listen=a:1,a:1"], "--listen: `a:1` is there twice; remove one".to_owned()),
        (
            "",
            &[],
            &["--listen="],
            "--listen: `` is not an address with a port; give for example 127.0.0.1:2525, [::1]:2525 or localhost:2525"
                .to_owned(),
        ),
        (
            "",
            &[("SMTP_PORT", "65536")],
            &[],
            "SMTP_PORT: 65536 is out of range; give a whole number from 0 to 65535".to_owned(),
        ),
        ("", &[], &["--domain=münchen.example"], "--domain: `münchen.example` is not ASCII; give its form with xn--".to_owned()),
        (
            "tls.handshake-timeout = 0",
            &[],
            &[],
            "FILE:1: tls.handshake-timeout: 0 is out of range; give 1 to 86400 whole seconds, or with units (90s, 5m, 1h30m)"
                .to_owned(),
        ),
        (
            "tls.reload-interval = 'often'",
            &[],
            &[],
            "FILE:1: tls.reload-interval: `often` is not a time; give 0 to 86400 whole seconds, or with units (90s, 5m, 1h30m)"
                .to_owned(),
        ),
        (
            "tls.self-signed = true\n[[tls.certificate]]\ncert = ''\nkey = 'k'",
            &[],
            &[],
            "FILE:3: tls.certificate.cert: names no file; give its path".to_owned(),
        ),
        ("", &[], &["--domain="], "--domain: `` is not a domain name; give one like mx.example.com".to_owned()),
    ];
    for (file, variables, flags, expected) in cases {
        assert_eq!(load(file, variables, flags).unwrap_err(), expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load("", &[], &["--config", "/nonexistent/mail.toml"]).unwrap_err();
    assert_eq!(
        error,
        "--config /nonexistent/mail.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn a_mistake_in_what_is_overridden_is_still_one_in_the_file() {
    assert!(load("domain = 1", &[], &["--domain", "a"]).is_err());
}
