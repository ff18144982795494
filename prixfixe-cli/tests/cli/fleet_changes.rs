//! What changes around a fleet's spool: a reload with another configuration, nodes that are away,
//! credentials.

use std::fs;

use prixfixe_test_support::{NatsServer, wait_until};
use rustix::process::Signal;

use crate::fleet::{fleet, one, send, subjects};
use crate::harness::Client;
use crate::spooled::{files, get};

#[test]
fn a_reload_gives_a_target_another_place() {
    let Some((node, fleet)) = one("tokio") else {
        return;
    };
    let mut serve = fleet.start();
    assert!(send(serve.address(), &["bob@example.org"], "first").starts_with("250"));
    wait_until("it waits", || fleet.waits(1));
    let spool = |retry: &str| format!("url = '{}'\nreplicas = 1\n{retry}", node.address());
    fleet.configure(
        "tokio",
        "",
        &spool("retry = ['2h']\nstream = 'OTHER'"),
        "maildir:next",
    );
    serve.signal(Signal::HUP);
    let line = serve.line("takes effect at the next start");
    assert!(line.contains("spool.stream"), "{line}");
    serve.line("reloaded");
    fleet.configure("tokio", "", &spool("retry = ['2h']"), "maildir:next");
    assert_eq!(
        fleet.done(&["retry", "--all", "--target", "next"]),
        "1 message\n"
    );
    let next = fleet.directory.join("next/new");
    wait_until("it arrives", || files(&next).len() == 1);
}

#[test]
fn mail_for_a_name_that_is_gone_is_kept_and_named() {
    let Some((_node, fleet)) = one("tokio") else {
        return;
    };
    let mut serve = fleet.start();
    assert!(send(serve.address(), &["bob@example.org"], "first").starts_with("250"));
    wait_until("it waits", || fleet.waits(1));
    let file = fleet.directory.join("mail.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.replace("'next'", "'other'")).unwrap();
    serve.signal(Signal::HUP);
    let line = serve.line("unknown target");
    assert!(line.contains("next"), "{line}");
    let found = &fleet.list()[0];
    assert_eq!(found["state"], "held");
    assert_eq!(found["deliveries"][0]["state"], "unknown target");
    let metric = "smtp_spool_messages{state=\"held\"} 1\n";
    assert!(get(&serve, "/metrics").contains(metric));
    fs::write(&file, before.replace(&fleet.next(), "maildir:next")).unwrap();
    serve.signal(Signal::HUP);
    serve.line("reloaded");
    assert_eq!(fleet.done(&["retry", "--all"]), "1 message\n");
    let next = fleet.directory.join("next/new");
    wait_until("it arrives", || files(&next).len() == 1);
}

#[test]
fn servers_that_are_away_are_waited_for_and_said() {
    let Some((mut node, fleet)) = one("tokio") else {
        return;
    };
    node.kill();
    let serve = fleet.start();
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250");
    client.ask("MAIL FROM:<ann@example.com>", "451 4.4.1");
    let ready = get(&serve, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(serve.seen("no stream can be reached").is_some());
    let (status, _, stderr) = fleet.spool(&["list"]);
    assert_eq!(status, 1);
    assert!(
        stderr.contains("prixfixe: spool nats://127.0.0.1:"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    node.run();
    wait_until("mail is taken", || {
        send(serve.address(), &["cyd@example.com"], "first").starts_with("250")
    });
    wait_until("and delivered", || subjects(&fleet) == ["first"]);
}

#[test]
fn wrong_credentials_are_named_and_right_ones_do() {
    let more = "authorization { user: prixfixe, password: right }";
    let Some(node) = NatsServer::start_with(more) else {
        return;
    };
    let spool = format!(
        "url = '{}'\nreplicas = 1\nusername = 'prixfixe'\npassword-file = 'password'\ntls = 'off'",
        node.address()
    );
    let fleet = fleet("tokio", &spool);
    let password = fleet.directory.join("password");
    fs::write(&password, "wrong\n").unwrap();
    {
        let serve = fleet.start();
        assert!(send(serve.address(), &["cyd@example.com"], "first").starts_with("451 4.4.1"));
        let line = serve.seen("no stream can be reached").unwrap();
        assert!(line.to_lowercase().contains("authorization"), "{line}");
        assert!(!line.contains("wrong"), "{line}");
    }
    let (status, _, stderr) = fleet.spool(&["list"]);
    assert_eq!(status, 1);
    assert!(stderr.to_lowercase().contains("authorization"), "{stderr}");
    fs::write(&password, "right\n").unwrap();
    let serve = fleet.start();
    assert!(send(serve.address(), &["cyd@example.com"], "first").starts_with("250"));
    wait_until("it is delivered", || subjects(&fleet) == ["first"]);
}

/// A node that knows users by their passwords.
fn authorization(users: &[(&str, &str)]) -> String {
    let users = users
        .iter()
        .map(|(user, password)| format!("{{ user: {user}, password: {password} }}"));
    let users = users.collect::<Vec<_>>().join(", ");
    format!("authorization {{ users: [{users}] }}")
}

#[test]
fn a_reload_reads_credentials_again_and_keeps_what_works() {
    let both = authorization(&[("one", "first"), ("two", "second")]);
    let Some(node) = NatsServer::start_with(&both) else {
        return;
    };
    let spool = |user: &str, more: &str| {
        format!(
            "url = '{}'\nreplicas = 1\nusername = '{user}'\npassword-file = 'password'\n\
             tls = 'off'\n{more}",
            node.address()
        )
    };
    let fleet = fleet("tokio", &spool("one", ""));
    let password = |text: &str| fs::write(fleet.directory.join("password"), text).unwrap();
    password("first\n");
    let mut serve = fleet.start();
    assert!(send(serve.address(), &["cyd@example.com"], "first").starts_with("250"));

    // What does not work is not used, and what cannot be read changes nothing at all.
    password("wrong\n");
    serve.signal(Signal::HUP);
    let line = serve.line("the connection before stays in use");
    assert!(!line.contains("wrong"), "{line}");
    assert!(send(serve.address(), &["cyd@example.com"], "second").starts_with("250"));
    fs::remove_file(fleet.directory.join("password")).unwrap();
    serve.signal(Signal::HUP);
    let line = serve.line("password");
    assert!(line.contains("cannot use"), "{line}");

    password("second\n");
    fleet.configure(
        "tokio",
        "",
        &spool("two", "max-size = '1MiB'"),
        &fleet.next(),
    );
    serve.signal(Signal::HUP);
    serve.line("connected with the new credentials");
    node.configure(&authorization(&[("two", "second")]));
    node.reload();
    for subject in ["third", "fourth"] {
        wait_until("it is taken", || {
            send(serve.address(), &["cyd@example.com"], subject).starts_with("250")
        });
    }
    wait_until("all are delivered", || subjects(&fleet).len() == 4);
    // The other keys have changed, too.
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250");
    client.ask("MAIL FROM:<ann@example.com> SIZE=2000000", "452 4.3.1");
}
