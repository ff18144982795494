//! From start to the end, on both transports.

use std::time::Duration;

use prixfixe_test_support::{SelfSigned, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Client, Serve, prixfixe, profile};

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
    // Those within a second of the first are no other signal.
    while !serve.has_line("stopped at once", Duration::from_millis(100)) {
        serve.signal(Signal::INT);
    }
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
fn a_signal_before_it_serves_stops_it_at_once() {
    let directory = TempDir::new().unwrap();
    SelfSigned::new("mx.example").install(directory.path());
    std::fs::remove_file(directory.path().join("key.pem")).unwrap();
    // Nobody writes to it, so that reading the key takes for ever.
    let mut mkfifo = std::process::Command::new("mkfifo");
    let made = mkfifo.arg(directory.path().join("key.pem")).status();
    assert!(made.unwrap().success());
    let arguments = [
        "serve",
        "--listen=127.0.0.1:0",
        "--tls-cert=cert.pem",
        "--tls-key=key.pem",
    ];
    let mut command = prixfixe(&arguments);
    let child = command
        .current_dir(directory.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_caught(child.id());
    for signal in [Signal::HUP, Signal::TERM] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.ends_with(" INFO  stopped before it served\n"), "{log}");
}

/// Until SIGTERM does no longer end the process by itself.
fn wait_until_caught(process: u32) {
    let is_caught = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        // Signal 15 is bit 14; SIGHUP is 1.
        caught & (1 << 14) != 0 && caught & 1 != 0
    };
    wait_until("a signal is caught", is_caught);
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
        .envs(profile())
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

    let serve = start_with_limit("-n 128", "--max-connections 1000 --threads 1");
    let line = serve
        .seen("the limit of open files is too low for max-connections")
        .unwrap();
    // As many sessions, as many that are closing and 256, one listener of one thread, and what else
    // there is.
    assert!(
        line.contains(" available=128 needed=2326 max_connections=1000"),
        "{line}"
    );
    Client::greeted(&serve).ask("NOOP", "250 ");
}
