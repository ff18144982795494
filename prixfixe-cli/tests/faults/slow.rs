//! Clients that never finish what they begin, and clients that never read, beside one that works.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::TRANSPORTS;
use crate::client::Client;
use crate::mail;
use crate::server::{Launch, PATIENCE, Server};

const ATTACKERS: usize = 40;
/// Each takes some megabytes of replies into the kernel before it is stuck.
const SILENT: usize = 8;

fn launch(transport: &str) -> Server {
    Launch::new(transport)
        .file("tls.self-signed = true\ntls.handshake-timeout = 4\n")
        .arguments(&["--listen-tls", "127.0.0.1:0", "--command-timeout", "4"])
        .arguments(&["--max-connections", "200"])
        .start()
}

/// Octets again and again, each written when the one before was taken. All that was said to it; `None` while it is not
/// closed.
struct Attacker {
    stream: TcpStream,
    said: Vec<u8>,
    closed: bool,
}

impl Attacker {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            said: Vec::new(),
            closed: false,
        }
    }

    fn write(&mut self, octets: &[u8]) {
        match self.stream.write(octets) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => self.closed = true,
            Ok(_) | Err(_) => {}
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 512];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => self.said.extend_from_slice(&buffer[..count]),
            Err(error) => self.closed |= error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// How to begin, and what is then sent one octet at a time.
type Method = (&'static str, fn(&Server) -> TcpStream, &'static [u8]);

const METHODS: [Method; 4] = [
    ("a command", connected, b"N"),
    ("a body", in_a_body, b"x"),
    ("a chunk", in_a_chunk, b"x"),
    ("a TLS handshake", in_a_handshake, b"x"),
];

fn connected(server: &Server) -> TcpStream {
    server.connect().into_stream()
}

/// The kernel holds a few KiB of replies for it, not megabytes.
fn connected_with_a_small_window(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn in_a_body(server: &Server) -> TcpStream {
    let mut client = server.connect();
    client.begin().unwrap();
    client.into_stream()
}

fn in_a_chunk(server: &Server) -> TcpStream {
    let mut client = server.connect();
    client
        .write(b"MAIL FROM:<>\r\nRCPT TO:<b@here.example>\r\nBDAT 1000000 LAST\r\n")
        .unwrap();
    client.expect("250").unwrap();
    client.expect("250").unwrap();
    client.into_stream()
}

fn in_a_handshake(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.addresses()[1]).unwrap();
    // A handshake record of 4 KiB begins.
    stream.write_all(&[22, 3, 1, 0x10, 0]).unwrap();
    stream
}

/// Sends mail until it is told to stop.
fn work(address: SocketAddr, stop: &std::sync::atomic::AtomicBool) -> Vec<String> {
    let mut client = Client::connect(address).unwrap();
    let mut names = Vec::new();
    while names.len() < 5 || !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let name = format!("beside-{}", names.len());
        let reply = client.send(&mail::content(&name, 3000)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        names.push(name);
        thread::sleep(Duration::from_millis(10));
    }
    client.quit();
    names
}

/// What goes on beside the attack must be served.
fn beside(server: &Server, attack: impl FnOnce()) {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let address = server.address();
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(address, &stop));
        attack();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let names = worker.join().expect("it was served");
        mail::assert_kept(&server.maildir(), &names);
    });
}

#[test]
fn who_never_finishes_is_sent_away() {
    for transport in TRANSPORTS {
        let server = launch(transport);
        let before = server.warm();
        beside(&server, || {
            let mut attackers: Vec<(&str, &[u8], Attacker)> = METHODS
                .iter()
                .flat_map(|method| std::iter::repeat_n(method, ATTACKERS))
                .map(|(name, begin, octet)| (*name, *octet, Attacker::new(begin(&server))))
                .collect();
            let deadline = Instant::now() + PATIENCE;
            while attackers.iter().any(|(_, _, attacker)| !attacker.closed) {
                assert!(Instant::now() < deadline, "some are still there");
                for (_, octet, attacker) in &mut attackers {
                    if !attacker.closed {
                        attacker.write(octet);
                        attacker.read();
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
            for (name, _, attacker) in &attackers {
                let said = String::from_utf8_lossy(&attacker.said);
                // A reset may have overtaken it.
                let right = match *name {
                    "a TLS handshake" => !said.contains("220"),
                    _ => said.is_empty() || said.starts_with("421 4.4.2 "),
                };
                assert!(right, "{name}: {said}");
            }
        });
        server.assert_serves();
        server.assert_memory_is_back(before);
    }
}

#[test]
fn who_never_reads_is_not_read_from_and_sent_away() {
    for transport in TRANSPORTS {
        let server = launch(transport);
        let before = server.warm();
        beside(&server, || {
            let mut attackers: Vec<Attacker> = (0..SILENT)
                .map(|_| Attacker::new(connected_with_a_small_window(server.address())))
                .collect();
            let commands = b"HELP\r\n".repeat(1000);
            let deadline = Instant::now() + PATIENCE;
            while attackers.iter().any(|attacker| !attacker.closed) {
                assert!(Instant::now() < deadline, "some are still there");
                for attacker in &mut attackers {
                    if !attacker.closed {
                        attacker.write(&commands);
                    }
                }
                // 16 KiB of replies and a read each, while they are there.
                let grown = server.memory().saturating_sub(before);
                assert!(grown < crate::server::KEPT_KIB, "grown by {grown} KiB");
                thread::sleep(Duration::from_millis(20));
            }
        });
        server.assert_serves();
        server.assert_memory_is_back(before);
    }
}
