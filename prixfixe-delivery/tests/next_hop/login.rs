//! Logging in at a next hop.

use prixfixe_delivery::{NextHop, NextHopError, NextHopOptions, TlsUse};

use crate::scripted::{
    Scripted, content, envelope, hear, hello, is_down, open, options, say, send,
};

fn with_password(password: &str, folder: &std::path::Path) -> NextHopOptions {
    let file = folder.join("password");
    std::fs::write(&file, password).unwrap();
    let mut options = options();
    options.username = Some("mx".to_owned());
    options.password_file = Some(file);
    options.tls = Some(TlsUse::Off);
    options
}

/// `AUTH PLAIN` with a NUL, `mx`, a NUL and `one` or `two`.
const ONE: &str = "AUTH PLAIN AG14AG9uZQ==";
const TWO: &str = "AUTH PLAIN AG14AHR3bw==";

#[tokio::test]
async fn the_password_is_read_again_for_each_login() {
    let folder = tempfile::tempdir().unwrap();
    let script = |auth: &str| {
        let steps = [hear(auth), say("235 2.7.0 welcome")];
        [
            hello(&["AUTH PLAIN LOGIN"]),
            steps.to_vec(),
            envelope(),
            content("250 ok"),
        ]
        .concat()
    };
    let server = Scripted::new(vec![script(ONE), script(TWO), script(TWO)]).await;
    let options = with_password("one\n", folder.path());
    let hop = open(&server.url("smtp"), options);
    assert_eq!(send(&hop).await, ["ok: 250 ok"]);
    std::fs::write(folder.path().join("password"), "two\r\nmore\n").unwrap();
    assert_eq!(send(&hop).await, ["ok: 250 ok"]);
    // One that cannot be read leaves the one before.
    std::fs::remove_file(folder.path().join("password")).unwrap();
    assert_eq!(send(&hop).await, ["ok: 250 ok"]);
    server.heard().await;
}

#[tokio::test]
async fn a_login_that_fails_is_our_matter_and_no_password_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (extensions, steps, log) in [
        (
            &["AUTH PLAIN"][..],
            vec![hear(ONE), say("535 5.7.8 one is wrong")],
            "look at username and password-file",
        ),
        (
            &["AUTH PLAIN"],
            vec![hear(ONE), say("454 4.7.0 later")],
            "said 454, at AUTH",
        ),
        (
            &["AUTH GSSAPI"],
            vec![],
            "offers no login by SCRAM-SHA-256, PLAIN or LOGIN",
        ),
        (&[], vec![], "offers no login"),
    ] {
        let server = Scripted::new(vec![[hello(extensions), steps].concat()]).await;
        let hop = open(&server.url("smtp"), with_password("one", folder.path()));
        let told = send(&hop).await;
        assert!(told[0].starts_with("rcpt: 451 4.4.1 "), "{told:?}");
        assert!(told[0].contains(log), "{told:?}");
        assert!(!told[0].contains("one is wrong"), "{told:?}");
        assert!(is_down(&hop));
    }
}

#[test]
fn what_does_not_go_together_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let open = |url: &str, options: NextHopOptions| NextHop::open(&url.parse().unwrap(), options);
    let good = || with_password("one", folder.path());
    let mut unverified = good();
    unverified.tls = Some(TlsUse::Opportunistic);
    assert_eq!(
        open("smtp:relay.example", unverified).err(),
        Some(NextHopError::UnverifiedLogin(TlsUse::Opportunistic))
    );
    let mut half = good();
    half.username = None;
    assert_eq!(
        open("smtp:127.0.0.1", half).err(),
        Some(NextHopError::HalfALogin)
    );
    let mut missing = good();
    missing.password_file = Some(folder.path().join("none"));
    let error = open("smtp:127.0.0.1", missing).err().unwrap().to_string();
    assert!(error.contains("cannot read a password from"), "{error}");
    let empty = with_password("\n", folder.path());
    let error = open("smtp:127.0.0.1", empty).err().unwrap().to_string();
    assert!(error.contains("its first line is empty"), "{error}");
    let mut named = options();
    named.own_domain = "a b".to_owned();
    let error = open("smtp:127.0.0.1", named).err();
    assert_eq!(error, Some(NextHopError::OwnDomain("a b".to_owned())));
    let shown = format!(
        "{:?}",
        open("smtp:127.0.0.1", with_password("hunter2", folder.path()))
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
