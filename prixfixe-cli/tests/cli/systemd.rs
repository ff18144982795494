//! What a service manager passes and is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use prixfixe_test_support::wait_until;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, PATIENCE, Serve, profile, run};

/// The binary with these sockets from descriptor 3 on, as systemd would pass them. A shell moves
/// them there, and knows the process id, which stays.
pub(crate) fn activated(sockets: &[&TcpListener], names: &str, arguments: &str) -> Command {
    let descriptors = sockets.iter().map(|it| it.try_clone().unwrap().into());
    activated_with(descriptors.collect(), names, arguments)
}

fn activated_with(sockets: Vec<OwnedFd>, names: &str, arguments: &str) -> Command {
    let standard = ["0", "1"];
    let mut script = String::new();
    for (place, _) in sockets.iter().enumerate() {
        script.push_str(&format!(
            "exec {}<&{} {}</dev/null; ",
            3 + place,
            standard[place],
            standard[place]
        ));
    }
    script.push_str(&format!(
        "export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={names}; exec '{}' serve {arguments}",
        sockets.len(),
        env!("CARGO_BIN_EXE_prixfixe")
    ));
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(profile()).args(["-c", &script]);
    let mut streams = sockets.into_iter().map(Stdio::from);
    command.stdin(streams.next().unwrap());
    if let Some(stream) = streams.next() {
        command.stdout(stream);
    }
    command
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn inherited_sockets_replace_those_that_are_configured() {
    for transport in ["tokio", "raw"] {
        let (clear, implicit) = (socket(), socket());
        let arguments = format!(
            "--listen 192.0.2.1:25 --tls-self-signed --deliver discard: --transport {transport}"
        );
        let directory = TempDir::new().unwrap();
        let mut command = activated(&[&clear, &implicit], "smtp:smtps", &arguments);
        let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
        assert_eq!(serve.address(), clear.local_addr().unwrap());
        let line = serve.line("listening");
        let address = implicit.local_addr().unwrap();
        assert!(line.contains(&format!("address={address} ")), "{line}");
        assert!(line.contains(" tls=implicit "), "{line}");
        let mut client = Client::greeted(&serve);
        client.ask("NOOP", "250 ");
        // The first word is the client's where TLS comes first.
        let mut client = Client::connect(address);
        client.send("EHLO client.example\r\n");
        assert!(!client.reply().starts_with("220"));
    }
}

#[test]
fn a_reload_that_drops_tls_waits_for_an_inherited_socket_that_needs_it() {
    let implicit = socket();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mail.toml");
    let target = "delivery.target = 'discard:'\n";
    std::fs::write(&file, format!("{target}tls.self-signed = true\n")).unwrap();
    let mut command = activated(&[&implicit], "smtps", "--config mail.toml");
    let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);

    std::fs::write(&file, format!("{target}limits.max-errors = 3\n")).unwrap();
    serve.signal(Signal::HUP);
    serve.line("changed key=limits.max-errors old=10 new=3");
    serve.line("takes effect at the next start key=tls.self-signed old=true new=false");
    serve.line("reloaded");
}

#[test]
fn a_reload_that_drops_tls_need_not_wait_for_a_listener_that_was_replaced() {
    let clear = socket();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mail.toml");
    let target = "delivery.target = 'discard:'\n";
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\ntls = 'implicit'\n";
    let with_tls = format!("{target}tls.self-signed = true\n{listener}");
    std::fs::write(&file, with_tls).unwrap();
    let mut command = activated(&[&clear], "smtp", "--config mail.toml");
    let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);

    std::fs::write(&file, target).unwrap();
    serve.signal(Signal::HUP);
    serve.line("changed key=tls.self-signed old=true new=false");
    serve.line("reloaded");
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("STARTTLS", "502 5.5.1 ");
}

#[test]
fn an_inherited_admin_socket_leaves_the_listeners_as_they_are() {
    let admin = socket();
    let directory = TempDir::new().unwrap();
    let arguments = "--listen 127.0.0.1:0 --deliver discard:";
    let mut command = activated(&[&admin], "admin", arguments);
    let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
    Client::greeted(&serve).ask("NOOP", "250 ");
    let address = admin.local_addr().unwrap();
    assert!(
        serve
            .seen(&format!("admin endpoints address={address}"))
            .is_some()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    serve.signal(Signal::TERM);
    serve.line("stopped");
}

#[test]
fn a_unix_socket_is_inherited_for_lmtp() {
    for transport in ["tokio", "raw"] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("lmtp.sock");
        let lmtp = UnixListener::bind(&path).unwrap();
        let descriptors = vec![socket().into(), lmtp.into()];
        let arguments = format!("--deliver discard: --transport {transport}");
        let mut command = activated_with(descriptors, "smtp:lmtp", &arguments);
        let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
        let line = serve.line("listening");
        assert!(
            line.contains(&format!("address=unix:{} ", path.display())),
            "{line}"
        );
        assert!(line.contains(" protocol=lmtp "), "{line}");
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = String::new();
        BufReader::new(&stream).read_line(&mut greeting).unwrap();
        assert!(greeting.contains(" LMTP "), "{greeting}");
        drop(stream);
        serve.signal(Signal::TERM);
        serve.line("stopped");
        // It is the service manager's.
        assert!(path.exists());
    }
    let directory = TempDir::new().unwrap();
    let admin = UnixListener::bind(directory.path().join("admin.sock")).unwrap();
    let (status, _, stderr) = run(&mut activated_with(vec![admin.into()], "admin", ""));
    assert_eq!(
        (status, stderr.as_str()),
        (
            2,
            "prixfixe: inherited socket 1 (\"admin\"): is no stream socket; give it a ListenStream= with an address and a port, or a path\n"
        )
    );
}

#[test]
fn sockets_that_cannot_be_meant_are_told_apart() {
    let unbound = socket();
    let cases = [
        (
            "http",
            "inherited socket 1 (\"http\"): has a name that says nothing; set FileDescriptorName= to smtp, smtps, lmtp or admin",
        ),
        (
            "smtps",
            "inherited socket 1: needs a certificate; add --tls-cert and --tls-key, or --tls-self-signed",
        ),
    ];
    for (name, problem) in cases {
        let (status, _, stderr) = run(&mut activated(&[&unbound], name, "--deliver discard:"));
        assert_eq!((status, stderr), (2, format!("prixfixe: {problem}\n")));
    }
    // Accept=yes passes a connection in place of a listener.
    let connection = std::net::TcpStream::connect(unbound.local_addr().unwrap()).unwrap();
    let connection = TcpListener::from(OwnedFd::from(connection));
    let (status, _, stderr) = run(&mut activated(&[&connection], "smtp", ""));
    assert_eq!(
        (status, stderr.as_str()),
        (
            2,
            "prixfixe: inherited socket 1 (\"smtp\"): does not listen; its unit needs Accept=no\n"
        )
    );
}

#[test]
fn sockets_for_another_process_are_not_ours() {
    let directory = TempDir::new().unwrap();
    let mut command =
        crate::harness::prixfixe(&["serve", "--listen", "127.0.0.1:0", "--deliver=discard:"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let serve = Serve::spawn(command.current_dir(directory.path()), directory);
    Client::greeted(&serve).ask("NOOP", "250 ");
}

/// What would be systemd's end.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(directory: &Path) -> Self {
        let socket = UnixDatagram::bind(directory.join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    fn command(&self, arguments: &[&str], directory: &Path) -> Command {
        let mut command =
            crate::harness::prixfixe(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        command
            .env("NOTIFY_SOCKET", directory.join("notify"))
            .current_dir(directory);
        command
    }

    /// The next message, a line an entry.
    fn message(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_manager_is_told_of_each_step() {
    let directory = TempDir::new().unwrap();
    let manager = Manager::new(directory.path());
    std::fs::write(
        directory.path().join("mail.toml"),
        "delivery.target = 'discard:'\n",
    )
    .unwrap();
    let mut command = manager.command(&["--config", "mail.toml"], directory.path());
    let file = directory.path().join("mail.toml");
    let serve = Serve::spawn(&mut command, directory);
    let status = format!("STATUS=Receiving mail on {}", serve.address());
    assert_eq!(manager.message(), ["READY=1", &status]);

    let mut client = Client::greeted(&serve);
    serve.signal(Signal::HUP);
    let reloading = manager.message();
    assert_eq!(reloading[0], "RELOADING=1");
    let since_boot = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.message(), ["READY=1", &status]);

    std::fs::write(file, "domain = 5\n").unwrap();
    serve.signal(Signal::HUP);
    assert_eq!(manager.message()[0], "RELOADING=1");
    let failed = format!("{status}; the latest reload failed, the log says why");
    assert_eq!(manager.message(), ["READY=1", &failed]);

    serve.signal(Signal::TERM);
    assert_eq!(
        manager.message(),
        ["STOPPING=1", "STATUS=Draining, 1 connections at first"]
    );
    assert!(client.reply().starts_with("421 4.3.2 "));
    assert_eq!(serve.wait().0.code(), Some(0));
}

#[test]
fn the_watchdog_is_told_as_long_as_the_server_turns() {
    for transport in ["tokio", "raw"] {
        let directory = TempDir::new().unwrap();
        let manager = Manager::new(directory.path());
        let arguments = ["--deliver=discard:", "--transport", transport];
        let mut command = manager.command(&arguments, directory.path());
        command.env("WATCHDOG_USEC", "200000");
        let serve = Serve::spawn(&mut command, directory);
        assert_eq!(manager.message()[0], "READY=1");
        for _ in 0..3 {
            assert_eq!(manager.message(), ["WATCHDOG=1"]);
        }
        // A process that stands still says nothing. The message that was on its way already is no
        // sign of life.
        serve.signal(Signal::STOP);
        wait_until_stopped(&serve);
        manager.socket.set_nonblocking(true).unwrap();
        while manager.socket.recv(&mut [0; 64]).is_ok() {}
        manager.socket.set_nonblocking(false).unwrap();
        manager
            .socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        assert!(manager.socket.recv(&mut [0; 64]).is_err());
        serve.signal(Signal::CONT);
        manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(manager.message(), ["WATCHDOG=1"]);
    }
}

fn wait_until_stopped(serve: &Serve) {
    let stat = format!("/proc/{}/stat", serve.process());
    wait_until("it stops", || {
        std::fs::read_to_string(&stat).unwrap().contains(") T ")
    });
}

#[test]
fn a_manager_that_is_gone_stops_nothing() {
    let directory = TempDir::new().unwrap();
    let manager = Manager::new(directory.path());
    let mut command = manager.command(&["--deliver=discard:"], directory.path());
    drop(manager);
    let mut serve = Serve::spawn(&mut command, directory);
    let warning = "the service manager cannot be told (NOTIFY_SOCKET)";
    // Either may come first: the warning, or the line that says where the server listens.
    if serve.seen(warning).is_none() {
        serve.line(warning);
    }
    Client::greeted(&serve).ask("NOOP", "250 ");
}
