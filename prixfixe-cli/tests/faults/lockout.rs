//! One address that takes every connection it can get, and keeps each as long as it can. Others are
//! served at once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::TRANSPORTS;
use crate::mail;
use crate::server::{PATIENCE, Server};
use crate::strangers::{client, connect, launch};

const MAX_CONNECTIONS: usize = 100;
/// More than all that there are.
const HOLDERS: usize = 120;
const HOLDER: &str = "192.0.2.66";
/// Others, each from an address of its own.
const OTHERS: usize = 20;

/// A connection of the one that wants them all.
struct Held {
    stream: TcpStream,
    said: Vec<u8>,
    closed: bool,
}

impl Held {
    /// Connects, and says this once.
    fn new(server: &Server, says: &[u8]) -> Self {
        let mut stream = connect(server, HOLDER);
        // It may have been refused already.
        let _ = stream.write_all(says);
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            said: Vec::new(),
            closed: false,
        }
    }

    /// Says more, and hears what there is to hear.
    fn say(&mut self, octets: &[u8]) {
        let mut buffer = [0; 512];
        match self.stream.write(octets) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => self.closed = true,
            _ => {}
        }
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => self.said.extend_from_slice(&buffer[..count]),
            Err(error) => self.closed |= error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// The last line that it was told.
    fn last_words(&self) -> String {
        let said = String::from_utf8_lossy(&self.said);
        said.lines().last().unwrap_or_default().to_owned()
    }
}

/// All that connect, once each of them is let in or sent away: until the server has seen to one, it
/// may be neither.
fn holders(server: &Server, says: &[u8]) -> Vec<Held> {
    let mut held: Vec<Held> = (0..HOLDERS).map(|_| Held::new(server, says)).collect();
    let start = Instant::now();
    while held.iter().any(|held| held.said.is_empty() && !held.closed) {
        assert!(start.elapsed() < PATIENCE, "some were told nothing");
        for held in held.iter_mut().filter(|held| !held.closed) {
            held.say(b"");
        }
        thread::sleep(Duration::from_millis(10));
    }
    // What was sent away is gone from here too, as a client would be.
    held.iter_mut()
        .filter(|held| held.said.starts_with(b"421 "))
        .for_each(|held| held.closed = true);
    held
}

fn serve(transport: &str, more: &[&str]) -> Server {
    let max = MAX_CONNECTIONS.to_string();
    launch(transport)
        .arguments(&["--max-connections", &max])
        .arguments(more)
        .start()
}

/// Each of the others connects and sends a message, while the holders go on.
fn assert_others_are_served(server: &Server, held: &mut [Held], octets: &[u8]) {
    let mut names = Vec::new();
    for number in 0..OTHERS {
        let address = format!("203.0.113.{}", number + 1);
        let mut client = client(server, &address).expect("there is a place for it");
        let name = format!("other-{number}");
        let reply = client.send(&mail::content(&name, 3000)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        names.push(name);
        client.quit();
        for held in held.iter_mut().filter(|held| !held.closed) {
            held.say(octets);
        }
    }
    mail::assert_kept(&server.maildir(), &names);
}

/// Goes on until the server has closed them all.
fn hold_until_closed(held: &mut [Held], octets: &[u8], pause: Duration) {
    let start = Instant::now();
    while held.iter().any(|held| !held.closed) {
        assert!(start.elapsed() < PATIENCE, "some are still there");
        for held in held.iter_mut().filter(|held| !held.closed) {
            held.say(octets);
        }
        thread::sleep(pause);
    }
}

#[test]
fn one_address_that_says_noop_holds_half_of_the_places_and_not_for_ever() {
    for transport in TRANSPORTS {
        let server = serve(transport, &[]);
        let mut held = holders(&server, b"NOOP\r\n");
        // Those over the half are closed; of the others each is to have its greeting.
        server
            .log
            .wait("one address has half of max-connections", 1);
        assert_others_are_served(&server, &mut held, b"");
        let greeted = |held: &&Held| held.said.starts_with(b"220 ");
        assert_eq!(
            held.iter().filter(greeted).count(),
            MAX_CONNECTIONS / 2,
            "places of the one"
        );
        hold_until_closed(&mut held, b"NOOP\r\n", Duration::from_millis(10));
        for held in held.iter().filter(greeted) {
            let last = held.last_words();
            // A reset may have overtaken it.
            assert!(
                last.starts_with("421 4.7.0 Too many commands without") || last.starts_with("250"),
                "{last}"
            );
        }
        // Said once, however many are refused.
        let said = server.log.count("one address has half of max-connections");
        assert_eq!(said, 1);
        server.assert_serves();
    }
}

#[test]
fn one_address_with_an_octet_now_and_then_leaves_others_their_places() {
    for transport in TRANSPORTS {
        let server = serve(transport, &[]);
        let mut held = holders(&server, b"E");
        assert_others_are_served(&server, &mut held, b"H");
        server.assert_serves();
    }
}

/// 600 octets a second are more than the minimum rate.
#[test]
fn one_address_with_a_chunk_that_nobody_wants_leaves_others_their_places_and_ends() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["--command-timeout", "4"]);
        let mut held = holders(&server, b"BDAT 18446744073709551615\r\n");
        assert_others_are_served(&server, &mut held, &[b'x'; 60]);
        hold_until_closed(&mut held, &[b'x'; 60], Duration::from_millis(100));
        server.assert_serves();
    }
}

#[test]
fn a_session_that_never_comes_to_a_message_ends() {
    for transport in TRANSPORTS {
        let server = launch(transport)
            .file("[limits]\nidle-timeout = 2\nmax-idle-commands = 0\n")
            .start();
        let mut held: Vec<Held> = (0..5)
            .map(|_| Held::new(&server, b"EHLO held.example\r\n"))
            .collect();
        hold_until_closed(&mut held, b"NOOP\r\n", Duration::from_millis(50));
        for held in &held {
            let last = held.last_words();
            assert!(
                last.starts_with("421 4.4.2") || last.starts_with("250"),
                "{last}"
            );
        }
        assert!(
            held.iter()
                .any(|it| it.last_words().starts_with("421 4.4.2"))
        );
        server.assert_serves();
    }
}
