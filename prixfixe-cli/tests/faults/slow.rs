//! Clients that never finish what they begin, and clients that never read, beside one that works.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
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

/// The server takes who comes from here for a balancer.
const BALANCER: &str = "127.0.0.2";
/// A PROXY header of version 1.
const PROXY_LINE: &[u8] = b"PROXY TCP6 2001:db8::1 2001:db8::2 10000 25\r\n";
/// The same, of version 2.
const PROXY_BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\
    \x27\x10\0\x19";

/// What the server gives them for all that they owe it.
const TIME: Duration = Duration::from_secs(4);
/// Between two octets of who is slow: a whole PROXY header would take more than twice its time.
const PAUSE: Duration = Duration::from_millis(200);

fn launch(transport: &str) -> Server {
    launch_with(transport, "")
}

fn launch_with(transport: &str, more: &str) -> Server {
    let time = TIME.as_secs().to_string();
    Launch::new(transport)
        .file(&format!(
            "tls.self-signed = true\ntls.handshake-timeout = {time}\n{more}"
        ))
        .arguments(&["--listen-tls", "127.0.0.1:0", "--command-timeout", &time])
        .arguments(&["--proxy-protocol-from", BALANCER])
        .arguments(&["--max-connections", "400"])
        .start()
}

/// Octets again and again, each written when the one before was taken. All that was said to it;
/// `None` while it is not closed.
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

/// How to begin, what is then sent, an octet now and then, over and over, if anything, and what the
/// server says when the time is over.
type Method = (
    &'static str,
    fn(&Server) -> TcpStream,
    &'static [u8],
    &'static str,
);

const TIMED_OUT: &str = "421 4.4.2 Timed out waiting for the client\r\n";

const METHODS: [Method; 8] = [
    ("a command", connected, b"N", TIMED_OUT),
    ("a body", in_a_body, b"x", TIMED_OUT),
    ("a chunk", in_a_chunk, b"x", TIMED_OUT),
    ("a TLS handshake", in_a_handshake, b"x", ""),
    ("a PROXY line", from_balancer, PROXY_LINE, ""),
    ("a binary header", from_balancer, PROXY_BINARY, ""),
    ("half a PROXY line", in_half_a_line, b"", ""),
    ("half a binary header", in_half_a_binary, b"", ""),
];

fn connected(server: &Server) -> TcpStream {
    server.connect().into_stream()
}

fn from_balancer(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = SocketAddr::new(BALANCER.parse().unwrap(), 0);
    socket.bind(&own.into()).unwrap();
    socket.connect(&server.address().into()).unwrap();
    socket.into()
}

fn in_half_a_line(server: &Server) -> TcpStream {
    half_sent(server, PROXY_LINE)
}

fn in_half_a_binary(server: &Server) -> TcpStream {
    half_sent(server, PROXY_BINARY)
}

fn half_sent(server: &Server, header: &[u8]) -> TcpStream {
    let mut stream = from_balancer(server);
    stream.write_all(&header[..header.len() / 2]).unwrap();
    stream
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

/// Who works beside the attack, and how it begins.
type Worker = (&'static str, fn(&Server) -> Client);

const WORKERS: [Worker; 3] = [
    ("direct", Server::connect),
    ("line", |server| behind_balancer(server, PROXY_LINE)),
    ("binary", |server| behind_balancer(server, PROXY_BINARY)),
];

fn behind_balancer(server: &Server, header: &[u8]) -> Client {
    let mut stream = from_balancer(server);
    stream.write_all(header).unwrap();
    Client::over(stream).unwrap()
}

/// Sends mail until the attack is over.
fn work(name: &str, mut client: Client, attack: &Weak<()>) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < 5 || attack.strong_count() > 0 {
        let name = format!("{name}-{}", names.len());
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
    thread::scope(|scope| {
        // Dropped also when the attack panics: the scope waits for the workers then, too.
        let under_way = Arc::new(());
        let workers = WORKERS.map(|(name, begin)| {
            let attack = Arc::downgrade(&under_way);
            scope.spawn(move || work(name, begin(server), &attack))
        });
        attack();
        drop(under_way);
        let names: Vec<String> = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("it was served"))
            .collect();
        mail::assert_kept(&server.maildir(), &names);
    });
}

#[test]
fn who_never_finishes_is_sent_away() {
    for transport in TRANSPORTS {
        let server = launch(transport);
        let before = server.warm();
        beside(&server, || {
            let start = Instant::now();
            let mut attackers: Vec<_> = METHODS
                .iter()
                .flat_map(|method| std::iter::repeat_n(method, ATTACKERS))
                .map(|(name, begin, octets, told)| {
                    let rest = octets.chunks(1).cycle();
                    (*name, *told, rest, Attacker::new(begin(&server)))
                })
                .collect();
            while attackers.iter().any(|(.., attacker)| !attacker.closed) {
                assert!(start.elapsed() < PATIENCE, "some are still there");
                for (name, _, rest, attacker) in &mut attackers {
                    if !attacker.closed {
                        rest.next().inspect(|octet| attacker.write(octet));
                        attacker.read();
                        let in_time = !attacker.closed || start.elapsed() >= TIME;
                        assert!(in_time, "{name} was not given its time");
                    }
                }
                thread::sleep(PAUSE);
            }
            for (name, told, _, attacker) in &attackers {
                let said = String::from_utf8_lossy(&attacker.said);
                // A reset may have overtaken it.
                assert!(said.is_empty() || said == *told, "{name}: {said}");
            }
        });
        server.assert_serves();
        server.assert_memory_is_back(before);
    }
}

#[test]
fn who_never_reads_is_not_read_from_and_sent_away() {
    for transport in TRANSPORTS {
        let server = launch_with(transport, "limits.max-idle-commands = 0\n");
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
