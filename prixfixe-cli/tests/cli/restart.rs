//! A new process takes over from an old one under load: no connection fails, and nothing that was
//! acknowledged is missing.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use prixfixe_test_support::{unused_port, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::admin::get;
use crate::harness::{Client, PATIENCE, Serve, has, prixfixe, run};
use crate::systemd::activated;

const CLIENTS: usize = 8;
const RESTARTS: usize = 3;
/// Times that each of the successors that cannot start tries to.
const SUCCESSORS: usize = 2;
/// Mail that every new process must have taken before the next one comes.
const MESSAGES_BETWEEN: usize = 50;

#[test]
fn a_socket_that_is_passed_on_loses_nothing() {
    for transport in ["tokio", "raw"] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let arguments = format!("--transport {transport} --no-fsync");
        restart_under_load(socket.local_addr().unwrap(), |order| {
            // As systemd does it: one after the other, and the socket waits.
            order.stop_first = true;
            activated(&[&socket], "smtp", &arguments)
        });
    }
}

#[test]
fn a_port_that_is_shared_loses_nothing() {
    for transport in ["tokio", "raw"] {
        let address = free_address();
        let admin = free_address();
        restart_under_load(address, |_| beside(address, admin, transport));
    }
}

/// A server that may share its ports.
pub(crate) fn beside(address: SocketAddr, admin: SocketAddr, transport: &str) -> Command {
    let (address, admin) = (address.to_string(), admin.to_string());
    let arguments = [
        "serve",
        "--reuse-port",
        "--no-fsync",
        "--listen",
        &address,
        "--admin",
        &admin,
        "--transport",
        transport,
    ];
    prixfixe(&arguments)
}

/// Whether a successor's socket listened for a moment, which is enough to lose a connection, only
/// its system calls tell for sure.
#[test]
fn a_successor_that_cannot_start_takes_no_connection() {
    if !has("strace") {
        return;
    }
    let (address, admin) = (free_address(), free_address());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let a_file = env!("CARGO_BIN_EXE_prixfixe");
    let no_maildir = format!("--deliver=maildir:{a_file}/mail");
    let faults = [
        (no_maildir.as_str(), "--deliver: "),
        (&format!("--admin={taken}"), "--admin: cannot listen on "),
        (&format!("--listen={taken}"), "cannot listen on "),
    ];
    let mail = TempDir::new().unwrap();
    let mut serving = beside(address, admin, "tokio");
    let serving = Serve::spawn(serving.current_dir(mail.path()), TempDir::new().unwrap());
    let load = Load::start(address);
    for _ in 0..SUCCESSORS {
        for (fault, told) in faults {
            let (address, admin) = (address.to_string(), admin.to_string());
            let mut arguments = vec!["serve", "--reuse-port", "--listen", &address];
            if !fault.starts_with("--admin") {
                arguments.extend(["--admin", &admin]);
            }
            arguments.push(fault);
            let calls = mail.path().join("calls");
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-e", "trace=listen,bind", "-o"]);
            traced.arg(&calls).arg(env!("CARGO_BIN_EXE_prixfixe"));
            let (code, _, stderr) = run(traced.args(&arguments));
            assert_eq!(code, 1, "{stderr}");
            assert!(stderr.starts_with(&format!("prixfixe: {told}")), "{stderr}");
            let calls = std::fs::read_to_string(calls).unwrap();
            assert!(!calls.contains("listen("), "{fault}: {calls}");
        }
    }
    wait_for_mail(mail.path(), MESSAGES_BETWEEN);
    // Had one of them listened, a client would have been reset, which is a panic.
    let acknowledged = load.stop();
    assert!(stored(mail.path()).is_superset(&acknowledged));
    drop(serving);
}

/// While both live a probe may get either; once the old one drains, the new one alone.
#[test]
fn a_process_that_drains_leaves_the_admin_port_to_its_successor() {
    for transport in ["tokio", "raw"] {
        let (address, admin) = (free_address(), free_address());
        let start = || {
            let directory = TempDir::new().unwrap();
            let mut command = beside(address, admin, transport);
            Serve::spawn(command.current_dir(directory.path()), directory)
        };
        let mut old = start();
        let mut client = Client::greeted(&old);
        client.begin_message();
        let new = start();
        old.signal(Signal::TERM);
        old.line("the admin port is left to another process");
        for _ in 0..100 {
            assert_eq!(get(admin, "/readyz").code, 200);
        }
        client.ask("Subject: hello\r\n\r\n.", "250 ");
        drop(client);
        assert_eq!(old.wait().0.code(), Some(0));
        drop(new);
    }
}

/// The old one has found itself alone, and says that it drains; from when the new one listens on,
/// the new one alone answers.
#[test]
fn a_successor_that_comes_after_the_drain_began_is_left_the_admin_port() {
    for transport in ["tokio", "raw"] {
        let (address, admin) = (free_address(), free_address());
        let start = || {
            let directory = TempDir::new().unwrap();
            let mut command = beside(address, admin, transport);
            Serve::spawn(command.current_dir(directory.path()), directory)
        };
        let mut old = start();
        let mut client = Client::greeted(&old);
        client.begin_message();
        old.signal(Signal::TERM);
        wait_until("/readyz says so", || is_draining(admin));
        let new = start();
        old.line("the admin port is left to another process");
        for _ in 0..100 {
            assert_eq!(get(admin, "/readyz").code, 200);
        }
        client.ask("Subject: hello\r\n\r\n.", "250 ");
        drop(client);
        assert_eq!(old.wait().0.code(), Some(0));
        drop(new);
    }
}

#[test]
fn a_process_that_drains_without_a_successor_says_so() {
    let (address, admin) = (free_address(), free_address());
    let directory = TempDir::new().unwrap();
    let mut command = beside(address, admin, "tokio");
    let serve = Serve::spawn(command.current_dir(directory.path()), directory);
    let mut client = Client::greeted(&serve);
    client.begin_message();
    serve.signal(Signal::TERM);
    // Between two looks the port may be closed for a moment.
    wait_until("/readyz says so", || is_draining(admin));
    client.ask("Subject: hello\r\n\r\n.", "250 ");
    drop(client);
    assert_eq!(serve.wait().0.code(), Some(0));
}

pub(crate) fn is_draining(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin) else {
        return false;
    };
    let mut answer = String::new();
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let asked = stream
        .write_all(request)
        .and_then(|()| stream.read_to_string(&mut answer));
    asked.is_ok() && answer.starts_with("HTTP/1.1 503 ")
}

/// How a process takes over.
#[derive(Default)]
struct Order {
    stop_first: bool,
}

fn restart_under_load(address: SocketAddr, command: impl Fn(&mut Order) -> Command) {
    let mail = TempDir::new().unwrap();
    let mut order = Order::default();
    let start = |order: &mut Order| {
        Serve::spawn(
            command(order).current_dir(mail.path()),
            TempDir::new().unwrap(),
        )
    };
    let mut serving = start(&mut order);
    let load = Load::start(address);
    for _ in 0..RESTARTS {
        wait_for_mail(mail.path(), MESSAGES_BETWEEN);
        let before = if order.stop_first {
            serving.signal(Signal::TERM);
            let (status, log) = serving.wait();
            assert_eq!(status.code(), Some(0), "{log:#?}");
            None
        } else {
            Some(serving)
        };
        serving = start(&mut order);
        if let Some(before) = before {
            before.signal(Signal::TERM);
            let (status, log) = before.wait();
            assert_eq!(status.code(), Some(0), "{log:#?}");
        }
    }
    wait_for_mail(mail.path(), MESSAGES_BETWEEN);
    let acknowledged = load.stop();
    let stored = stored(mail.path());
    let missing: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(
        missing.is_empty(),
        "acknowledged and not there: {missing:?}"
    );
    drop(serving);
}

/// Waits until so many more messages are there than now.
fn wait_for_mail(directory: &Path, more: usize) {
    let count = || std::fs::read_dir(directory.join("mail/new")).map_or(0, Iterator::count);
    let wanted = count() + more;
    wait_until("mail comes in", || count() >= wanted);
}

/// The marks of the messages that are there.
fn stored(directory: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(directory.join("mail/new")).unwrap();
    files
        .map(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let (_, mark) = text.split_once("Subject: ").unwrap();
            mark.trim_end().to_owned()
        })
        .collect()
}

/// Clients with a connection a message. A failure is a panic.
struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|client| {
                let over = Arc::clone(&over);
                thread::spawn(move || {
                    let mut acknowledged = BTreeSet::new();
                    let mut number = 0;
                    while !over.load(Ordering::Relaxed) {
                        let mark = format!("{client}-{number}");
                        number += 1;
                        if deliver(address, &mark) {
                            acknowledged.insert(mark);
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        Self { over, clients }
    }

    /// The marks of all that was acknowledged.
    fn stop(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients.flat_map(|client| client.join().unwrap()).collect()
    }
}

/// False: the server said, before the message, that it is going away. Anything else than that and
/// success is a failure.
fn deliver(address: SocketAddr, mark: &str) -> bool {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = prixfixe_test_support::Client::new(stream);
    let message = format!("Subject: {mark}\r\n.\r\n");
    let steps = [
        ("", "220"),
        ("HELO client.example\r\n", "250"),
        ("MAIL FROM:<>\r\n", "250"),
        ("RCPT TO:<bob@example.com>\r\n", "250"),
        ("DATA\r\n", "354"),
        (message.as_str(), "250"),
    ];
    for (place, (command, code)) in steps.into_iter().enumerate() {
        // A server that has said goodbye may have closed before it comes; then its goodbye is still
        // to be read.
        let _ = client.send(command);
        let reply = client.reply().unwrap();
        // A transaction that has begun is finished.
        if place <= 2 && reply.starts_with("421 4.3.2 ") {
            return false;
        }
        assert!(reply.starts_with(code), "{command:?}: {reply:?}");
    }
    true
}

pub(crate) fn free_address() -> SocketAddr {
    let port = unused_port(Ipv4Addr::LOCALHOST).unwrap();
    (Ipv4Addr::LOCALHOST, port).into()
}
