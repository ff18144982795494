//! From start to the end, on both transports.

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Serve, prixfixe};

const TRANSPORTS: [&[&str]; 2] = [&["--transport", "tokio"], &["--transport", "raw"]];

#[test]
fn mail_lies_in_the_maildir_when_it_is_acknowledged() {
    for transport in TRANSPORTS {
        let serve = Serve::start(transport);
        let mut client = Client::greeted(&serve);
        client.begin_message();
        client.ask("Subject: hello\r\n\r\n..dot\r\n.", "250 2.0.0 ");
        let messages = serve.messages();
        assert_eq!(messages.len(), 1);
        assert!(
            messages[0].ends_with("\r\nSubject: hello\r\n\r\n.dot\r\n"),
            "{}",
            messages[0]
        );
    }
}

#[test]
fn a_drain_lets_transactions_finish_and_sends_idle_clients_away() {
    for (transport, signal) in TRANSPORTS.into_iter().zip([Signal::TERM, Signal::INT]) {
        let mut serve = Serve::start(transport);
        let mut busy = Client::greeted(&serve);
        let mut idle = Client::greeted(&serve);
        busy.begin_message();
        busy.send("Subject: hello\r\n");
        idle.ask("NOOP", "250 ");

        serve.signal(signal);
        assert!(serve.line("draining").contains(" connections=2"));
        assert!(idle.reply().starts_with("421 4.3.2 "));
        idle.assert_closed();

        busy.ask("\r\n.", "250 2.0.0 ");
        assert_eq!(serve.messages().len(), 1);
        assert!(busy.reply().starts_with("421 4.3.2 "));
        busy.assert_closed();
        let (status, log) = serve.wait();
        assert_eq!(status.code(), Some(0));
        assert!(log.last().unwrap().ends_with(" INFO  stopped"), "{log:#?}");
    }
}

#[test]
fn the_drain_timeout_ends_what_does_not_finish() {
    for transport in TRANSPORTS {
        let serve = Serve::start(&[transport, &["--drain-timeout", "0"]].concat());
        let mut client = Client::greeted(&serve);
        client.begin_message();
        serve.signal(Signal::TERM);
        assert_eq!(serve.wait().0.code(), Some(0));
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut serve = Serve::start(&["--drain-timeout", "1h"]);
    let mut client = Client::greeted(&serve);
    client.begin_message();
    serve.signal(Signal::TERM);
    serve.line("draining");
    serve.signal(Signal::INT);
    let (status, log) = serve.wait();
    assert_eq!(status.code(), Some(0));
    assert!(
        log.iter()
            .any(|line| line.contains("stopped at once connections=1")),
        "{log:#?}"
    );
    client.assert_closed();
}

#[test]
fn a_hangup_reloads_and_names_what_must_wait() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mail.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(
        "[[listener]]\naddress = '127.0.0.1:0'\n[delivery]\ntarget = 'discard:'\n[tls]\nself-signed = true\n",
    );
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);

    write(
        "domain = 'new.example'\n[[listener]]\naddress = '127.0.0.1:0'\n[delivery]\ntarget = 'discard:'\n",
    );
    serve.signal(Signal::HUP);
    assert!(
        serve
            .line("key=")
            .ends_with("WARN  this change takes effect at the next start key=domain")
    );
    assert!(serve.line("key=").ends_with(" key=tls.self-signed"));
    serve.line("certificates are unchanged");
    serve.line("reloaded");

    write("domain = 5\n");
    serve.signal(Signal::HUP);
    let line = serve.line("the new configuration is bad; the old one stays");
    assert!(
        line.contains("mail.toml:1: domain: must be a string, not an integer"),
        "{line}"
    );
    Client::greeted(&serve).ask("NOOP", "250 ");
}

#[test]
fn each_listener_has_its_line() {
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--listen-tls",
        "127.0.0.1:0",
        "--tls-self-signed",
        "--deliver=discard:",
    ];
    let mut serve = Serve::start(&arguments);
    let rest = [serve.line("listening"), serve.line("listening")];
    let tls_first = rest.map(|line| line.contains("tls=implicit"));
    assert_eq!(tls_first, [false, true]);
    assert!(!serve.seen("listening").unwrap().contains("tls="));
    let mut client = Client::greeted(&serve);
    client.send("EHLO client.example\r\n");
    client.reply();
    client.ask("STARTTLS", "220 ");
}

#[test]
fn localhost_is_both_families() {
    let directory = TempDir::new().unwrap();
    let arguments = ["serve", "--listen", "localhost:0", "--deliver", "discard:"];
    let mut serve = Serve::spawn(
        prixfixe(&arguments).current_dir(directory.path()),
        directory,
    );
    assert!(serve.address().ip().is_loopback());
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let line = serve.line("listening");
        assert!(
            line.contains(&format!("address=[::1]:{}", serve.address().port())),
            "{line}"
        );
    }
}

#[test]
fn the_limits_reach_the_server() {
    let limits = [
        "--max-message-size",
        "1kB",
        "--max-recipients",
        "1",
        "--max-connections",
        "1",
    ];
    let serve = Serve::start(
        &[
            &limits[..],
            &["--accept-domain", "here.example", "--domain", "mx.example"],
        ]
        .concat(),
    );
    let mut client = serve.connect();
    assert_eq!(client.reply(), "220 mx.example ESMTP PrixFixe");
    assert!(serve.connect().reply().starts_with("421 4.3.2 "));
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<a@b.example> SIZE=1001", "552 5.3.4 ");
    client.ask("MAIL FROM:<a@b.example> SIZE=1000", "250 ");
    client.ask("RCPT TO:<a@elsewhere.example>", "550 5.7.1 ");
    client.ask("RCPT TO:<a@here.example>", "250 ");
    client.ask("RCPT TO:<b@here.example>", "452 4.5.3 ");
}

/// The binary under a limit of open files, which only a shell can set.
fn start_with_limit(limit: &str, arguments: &str) -> Serve {
    let directory = TempDir::new().unwrap();
    let script = format!(
        "ulimit {limit} && exec '{}' serve --listen 127.0.0.1:0 --deliver discard: {arguments}",
        env!("CARGO_BIN_EXE_prixfixe")
    );
    let mut command = std::process::Command::new("/bin/sh");
    command
        .env_clear()
        .args(["-c", &script])
        .current_dir(directory.path());
    Serve::spawn(&mut command, directory)
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let mut serve = start_with_limit("-Sn 64", "");
    Client::greeted(&serve).ask("NOOP", "250 ");
    serve.signal(Signal::TERM);
    serve.line("stopped");
    assert!(serve.seen("open files").is_none());

    let serve = start_with_limit("-n 128", "--max-connections 1000");
    let line = serve
        .seen("the limit of open files is too low for max-connections")
        .unwrap();
    assert!(
        line.contains(" available=128 needed=1128 max_connections=1000"),
        "{line}"
    );
    Client::greeted(&serve).ask("NOOP", "250 ");
}
