//! The admin endpoints over real sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use prixfixe_test_support::unused_port;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Serve, listening_address, prixfixe, run};

const TRANSPORTS: [&[&str]; 2] = [&["--transport", "tokio"], &["--transport", "raw"]];

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer: its status code, its head in lower case and its body.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A server with admin endpoints on a free port, and where they are.
pub(crate) fn start(arguments: &[&str]) -> (Serve, SocketAddr) {
    let serve = Serve::start(&[&["--admin", "127.0.0.1:0"], arguments].concat());
    // It stands before the line `listening`.
    let line = serve.seen("admin endpoints");
    let admin = listening_address(line.unwrap());
    (serve, admin)
}

pub(crate) fn get(admin: SocketAddr, path: &str) -> Answer {
    request(admin, "GET", path)
}

fn request(admin: SocketAddr, method: &str, path: &str) -> Answer {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    raw_request(admin, &text)
}

fn raw_request(admin: SocketAddr, text: &str) -> Answer {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        code: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// Asks until the answer is of this code.
pub(crate) fn get_until(admin: SocketAddr, path: &str, code: u16) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(admin, path);
        if answer.code == code {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "{path} stays {}: {}",
            answer.code,
            answer.body
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_path_answers_as_it_should() {
    for transport in TRANSPORTS {
        let (_serve, admin) = start(transport);
        let types = [
            ("/", "text/html; charset=utf-8"),
            ("/status.json", "application/json"),
            ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
            ("/healthz", "text/plain; charset=utf-8"),
            ("/readyz", "text/plain; charset=utf-8"),
            ("/readyz?verbose", "text/plain; charset=utf-8"),
        ];
        for (path, content_type) in types {
            let answer = get(admin, path);
            assert_eq!(answer.code, 200, "{path}");
            let header = format!("content-type: {content_type}\r\n");
            assert!(answer.head.contains(&header), "{path}: {}", answer.head);
            assert!(!answer.body.is_empty(), "{path}");

            let head = request(admin, "HEAD", path);
            assert_eq!((head.code, head.body.as_str()), (200, ""), "{path}");
            assert!(head.head.contains(&header), "{path}: {}", head.head);
            let length = format!("content-length: {}\r\n", answer.body.len());
            assert!(
                ["/status.json", "/metrics"].contains(&path) || head.head.contains(&length),
                "{path}: {}",
                head.head
            );

            for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
                let answer = request(admin, method, path);
                assert_eq!(answer.code, 405, "{method} {path}");
                assert!(answer.head.contains("\r\nallow: get, head\r\n"));
            }
        }
        for path in ["/healthz/", "/nowhere", "//", "/../readyz", "/%68ealthz"] {
            assert_eq!(get(admin, path).code, 404, "{path}");
            assert_eq!(request(admin, "POST", path).code, 404, "{path}");
        }
        assert_eq!(get(admin, "/healthz").body, "alive\n");
        assert_eq!(get(admin, "/readyz").body, "ready\n");
    }
}

#[test]
fn a_request_that_is_none_is_refused_and_harms_nobody() {
    let (_serve, admin) = start(&[]);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    assert_eq!(raw_request(admin, &long).code, 431);
    assert_eq!(raw_request(admin, "EHLO client.example\r\n\r\n").code, 400);
    assert_eq!(get(admin, "/healthz").code, 200);
}

#[test]
fn the_status_tells_what_runs() {
    for (transport, name) in TRANSPORTS.into_iter().zip(["tokio", "raw"]) {
        let arguments = [
            "--listen-tls",
            "127.0.0.1:0",
            "--tls-self-signed",
            "--domain=mx.example",
            "--max-connections=7",
            "--auth=any",
        ];
        let (serve, admin) = start(&[transport, &arguments].concat());
        let status: serde_json::Value =
            serde_json::from_str(&get(admin, "/status.json").body).unwrap();
        assert_eq!(status["state"], "ready");
        assert_eq!(status["reason"], serde_json::Value::Null);
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(status["transport"], name);
        assert_eq!(status["domain"], "mx.example");
        assert_eq!(status["max_connections"], 7);
        assert_eq!(
            status["listeners"][0]["address"],
            serve.address().to_string()
        );
        assert_eq!(status["listeners"][0]["tls"], "starttls");
        assert_eq!(status["listeners"][1]["tls"], "implicit");
        assert_eq!(status["listeners"][1]["auth"], "any");
        assert!(status["uptime_seconds"].is_u64());
        let started: jiff::Timestamp = status["started"].as_str().unwrap().parse().unwrap();
        assert!(started <= jiff::Timestamp::now());
    }
}

#[test]
fn the_status_warns_of_a_server_where_every_password_is_right() {
    let warning = |arguments: &[&str]| {
        let (_serve, admin) = start(arguments);
        let status: serde_json::Value =
            serde_json::from_str(&get(admin, "/status.json").body).unwrap();
        status["warning"].clone()
    };
    let warned = warning(&["--auth=any"]);
    assert!(warned.as_str().unwrap().contains("every password is right"));
    assert!(warning(&[]).is_null());
}

#[test]
fn a_server_that_drains_is_alive_but_not_ready() {
    for transport in TRANSPORTS {
        let (mut serve, admin) = start(transport);
        let mut client = Client::greeted(&serve);
        client.begin_message();
        serve.signal(Signal::TERM);
        serve.line("draining");
        let answer = get_until(admin, "/readyz", 503);
        assert_eq!(answer.body, "draining: the server is stopping\n");
        assert_eq!(get(admin, "/healthz").code, 200);
        let status: serde_json::Value =
            serde_json::from_str(&get(admin, "/status.json").body).unwrap();
        assert_eq!(status["state"], "draining");
        assert_eq!(status["reason"], "draining: the server is stopping");
        client.ask("Subject: hello\r\n\r\n.", "250 ");
        drop(client);
        assert_eq!(serve.wait().0.code(), Some(0));
    }
}

#[test]
fn a_maildir_that_breaks_and_is_mended_shows() {
    let (serve, admin) = start(&[]);
    let mail = serve.directory.path().join("mail");
    fs::rename(&mail, serve.directory.path().join("away")).unwrap();
    fs::write(&mail, "a file where the Maildir was").unwrap();
    let mut client = Client::greeted(&serve);
    client.begin_message();
    client.ask("Subject: hello\r\n\r\n.", "451 4.3.0 ");

    let answer = get_until(admin, "/readyz", 503);
    assert!(
        answer.body.starts_with("mail cannot be delivered: cannot ")
            && answer.body.contains(mail.to_str().unwrap())
            && answer.body.lines().count() == 1,
        "{}",
        answer.body
    );
    let metrics = get(admin, "/metrics").body;
    assert!(metrics.contains("\nsmtp_messages_failed_total{reason=\"storage\"} 1\n"));
    let status: serde_json::Value = serde_json::from_str(&get(admin, "/status.json").body).unwrap();
    assert_eq!(status["state"], "failing");
    // The fault of a probe may have taken the place of the message's.
    let reason = status["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("mail cannot be delivered: cannot ")
            && reason.contains(mail.to_str().unwrap()),
        "{reason}"
    );
    assert_eq!(get(admin, "/healthz").code, 200);

    fs::remove_file(&mail).unwrap();
    fs::rename(serve.directory.path().join("away"), &mail).unwrap();
    // Without a message: a probe finds it out.
    get_until(admin, "/readyz", 200);
}

#[test]
fn an_address_that_is_taken_is_named_with_what_mends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = [
        "serve",
        "--listen=127.0.0.1:0",
        "--deliver=discard:",
        "--admin",
        &address,
    ];
    let (code, _, stderr) = run(&mut prixfixe(&arguments));
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        format!(
            "prixfixe: --admin: cannot listen on {address}: Address already in use (os error 98); choose another port\n"
        )
    );
}

/// A connection that stays open, from an address of its own.
struct Held(TcpStream);

impl Held {
    fn connect(own: [u8; 4], admin: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
        socket.connect(&admin.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket.into())
    }

    /// Whether it is answered; it is not where it was closed.
    fn is_answered(&mut self) -> bool {
        let request = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
        let mut answer = [0; 15];
        let asked = self.0.write_all(request);
        let answered = asked.and_then(|()| self.0.read_exact(&mut answer));
        // What is left of it is read before the next one.
        let mut rest = [0; 1024];
        answered.is_ok() && &answer == b"HTTP/1.1 200 OK" && self.0.read(&mut rest).is_ok()
    }
}

#[test]
fn a_probe_is_answered_however_many_others_hold_a_connection() {
    let (_serve, admin) = start(&[]);
    let of_four_peers = (0..64).map(|number| [127, 0, 1, 1 + number / 16]);
    let mut held: Vec<Held> = of_four_peers.map(|own| Held::connect(own, admin)).collect();
    assert!(held.iter_mut().all(Held::is_answered));
    let probe = std::thread::spawn(move || get(admin, "/healthz"));
    // None of them is idle for long, nor old, until the probe has its answer or has given up.
    while !probe.is_finished() {
        for one in &mut held {
            one.is_answered();
        }
    }
    assert_eq!(probe.join().unwrap().code, 200);
}

#[test]
fn one_peer_with_many_connections_makes_room_among_its_own() {
    let (_serve, admin) = start(&[]);
    let mut other = Held::connect([127, 0, 1, 2], admin);
    assert!(other.is_answered());
    let mut held: Vec<Held> = (0..100)
        .map(|_| Held::connect([127, 0, 1, 1], admin))
        .collect();
    assert!(held.last_mut().unwrap().is_answered());
    assert!(!held.first_mut().unwrap().is_answered());
    assert!(other.is_answered());
}

#[test]
fn an_ipv6_address_takes_ipv6_alone() {
    // One that IPv4 has free: of port 0 the system asks that for IPv6 alone.
    let port = unused_port(Ipv4Addr::UNSPECIFIED).unwrap();
    let _serve = Serve::start(&["--admin", &format!("[::]:{port}")]);
    assert_eq!(
        get((Ipv6Addr::LOCALHOST, port).into(), "/healthz").code,
        200
    );
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
}

#[test]
fn a_page_whose_name_stands_for_loopback_reads_nothing() {
    let (_serve, admin) = start(&[]);
    let ask = |path: &str, host: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw_request(admin, &text)
    };
    for path in ["/", "/status.json"] {
        assert_eq!(ask(path, "localhost:9125").code, 200, "{path}");
        assert_eq!(ask(path, &admin.to_string()).code, 200, "{path}");
        let refused = ask(path, "rebind.example:9125");
        assert_eq!(refused.code, 421, "{path}");
        assert!(
            refused.body.contains("set Host to localhost"),
            "{}",
            refused.body
        );
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(ask(path, "smtp1.example:9125").code, 200, "{path}");
    }
}

#[test]
fn localhost_is_one_port_on_both_families() {
    let serve = Serve::start(&["--admin", "localhost:0"]);
    let line = serve.seen("admin endpoints").unwrap();
    assert_eq!(get(listening_address(line), "/readyz").code, 200);
}
