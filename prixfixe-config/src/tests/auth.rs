//! AUTH: what a mode needs, and where a listener has another one.

use super::*;
use crate::Mode;

#[test]
fn modes_come_from_everywhere() {
    let tls = ["--tls-self-signed", "--auth-users=users"];
    let mode = |file, variables: &[_], flags: &[&'static str]| {
        let flags: Vec<&str> = tls.iter().chain(flags).copied().collect();
        load(file, variables, &flags).unwrap().auth.mode
    };
    assert_eq!(mode("", &[], &[]), Mode::Off);
    assert_eq!(mode("auth.mode = 'offer'", &[], &[]), Mode::Offer);
    let variables = [("SMTP_AUTH", "REQUIRE")];
    assert_eq!(mode("auth.mode = 'offer'", &variables, &[]), Mode::Require);
    assert_eq!(mode("", &variables, &["--auth=any"]), Mode::Any);

    let file = "[[listener]]\naddress = 'a:25'\n[[listener]]\naddress = 'a:587'\nauth = 'require'\n\
                [auth]\nusers = 'u'\nsender = 'own'\nmax-failures = 3\nmax-client-failures = 0\n\
                issuer = 'https://id.example.com'\naudience = 'mail'\nclaim = 'sub'\n\
                [tls]\nself-signed = true\n";
    let configuration = load(file, &[], &[]).unwrap();
    let modes: Vec<_> = configuration.listeners.iter().map(|it| it.auth).collect();
    assert_eq!(modes, [None, Some(Mode::Require)]);
    let printed = configuration.to_toml().unwrap();
    assert_eq!(load(&printed, &[], &[]), Ok(configuration), "{printed}");
}

#[test]
fn the_submission_server_of_deploy_is_one() {
    let file = include_str!("../../../deploy/submission/prixfixe.toml");
    let configuration = load(file, &[], &[]).unwrap();
    assert_eq!(configuration.auth.mode, Mode::Require);
    assert!(configuration.listeners[1].implicit_tls);
}

#[test]
fn what_logins_need_is_asked_for() {
    let back_end =
        "needs somebody who checks logins; add --auth-users or --auth-dovecot, or set auth.issuer";
    let certificate = "needs a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
    let cases: [Mistake; 12] = [
        ("", &[], &["--auth=offer"], format!("--auth: {back_end}")),
        (
            "",
            &[("SMTP_AUTH", "require")],
            &["--tls-self-signed"],
            format!("SMTP_AUTH: {back_end}"),
        ),
        (
            "[auth]\nmode = 'offer'\nusers = 'u'",
            &[],
            &[],
            format!("FILE:2: auth.mode: {certificate}"),
        ),
        (
            "[auth]\nusers = 'u'\n[[listener]]\naddress = 'a:1'\n[[listener]]\naddress = 'a:2'\nauth = 'offer'",
            &[],
            &[],
            format!("FILE:7: listener.auth: {certificate}"),
        ),
        (
            "[[listener]]\naddress = 'a:1'\nauth = 'require'",
            &[],
            &["--tls-self-signed"],
            format!("FILE:3: listener.auth: {back_end}"),
        ),
        (
            "auth.users = 'u'",
            &[],
            &["--auth-dovecot=/d"],
            "--auth-dovecot: logins are checked at one place; remove --auth-users or --auth-dovecot"
                .to_owned(),
        ),
        (
            "auth.issuer = 'https://id.example.com'",
            &[],
            &[],
            "FILE:1: auth.issuer: needs auth.audience: whom its tokens are for".to_owned(),
        ),
        (
            "[auth]\naudience = 'mail'",
            &[],
            &[],
            "FILE:2: auth.audience: is about tokens; set auth.issuer too".to_owned(),
        ),
        (
            "[auth]\nissuer = 'https://id.example.com'\naudience = 'mail'\nclaim = ''",
            &[],
            &[],
            "FILE:4: auth.claim: is empty".to_owned(),
        ),
        (
            "auth.issuer = 'http://id.example.com'",
            &[],
            &[],
            "FILE:1: auth.issuer: \"http://id.example.com\": an issuer has a URL of https:, or of http: on this host".to_owned(),
        ),
        (
            "auth.issuer = 'id.example.com'",
            &[],
            &[],
            "FILE:1: auth.issuer: \"id.example.com\" is no URL of HTTP: it begins with https:// (or http:// for this host)".to_owned(),
        ),
        (
            "",
            &[],
            &["--auth=yes"],
            "--auth: `yes` is not known; give one of off, offer, require, any".to_owned(),
        ),
    ];
    for (file, variables, flags, expected) in cases {
        assert_eq!(load(file, variables, flags).unwrap_err(), expected);
    }
    // In plaintext, and for anybody: for tests.
    assert!(load("", &[], &["--auth=any"]).is_ok());
}
