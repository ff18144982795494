//! The target is killed or frozen, again and again, while mail comes in: what got its `250` is
//! there, the log claims no more than that, nothing leaks, and mail flows again as soon as the
//! target is back.
//!
//! `PRIXFIXE_FAULTS_MESSAGES=20000` for the long form, with a fault every second.

pub(crate) mod place;
pub(crate) mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_test_support::wait_until;

use self::place::Place;
use crate::TRANSPORTS;
use crate::client::Client;
use crate::mail;
use crate::server::{Launch, PATIENCE, Server};

const CLIENTS: usize = 8;

/// In the short form.
const MESSAGES: usize = 240;

/// How long mail may take to flow again in the long form, which has a machine for itself.
const SOON: Duration = Duration::from_secs(2);

/// What a run is like.
#[derive(Debug, Clone, Copy)]
struct Form {
    messages: usize,
    /// From one fault to the next.
    period: Duration,
    /// At least so long the target lives in between, however slowly it starts.
    pause: Duration,
    freeze: Duration,
    is_long: bool,
}

fn form() -> Form {
    match std::env::var("PRIXFIXE_FAULTS_MESSAGES") {
        Ok(text) => Form {
            messages: text.parse().expect("a number"),
            period: Duration::from_secs(1),
            pause: Duration::from_millis(300),
            freeze: Duration::from_millis(700),
            is_long: true,
        },
        Err(_) => Form {
            messages: MESSAGES,
            period: Duration::ZERO,
            pause: Duration::from_millis(100),
            freeze: Duration::from_millis(100),
            is_long: false,
        },
    }
}

/// Where the clients of a run are.
struct Run {
    address: SocketAddr,
    next: AtomicUsize,
    messages: usize,
    /// Replies of 4xx.
    deferred: AtomicUsize,
    /// Messages that got their 250, in the order of that.
    taken: Mutex<Vec<Instant>>,
}

/// Large ones are under way when a fault comes.
fn content(number: usize) -> Vec<u8> {
    let size = match number % 40 {
        0 => 600_000,
        1..5 => 30_000,
        _ => 400,
    };
    mail::content(&format!("message-{number}"), size)
}

impl Run {
    /// Sends each message until it is taken: what a client's queue does.
    fn send_all(&self) {
        let mut connection = None;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.messages {
                return;
            }
            let content = content(number);
            let start = Instant::now();
            loop {
                let reply = self.send(&mut connection, &content);
                let _ = match reply.get(..1) {
                    Some("2") => break,
                    Some("4") => self.deferred.fetch_add(1, Ordering::Relaxed),
                    _ => panic!("message {number}: {reply}"),
                };
                assert!(start.elapsed() < 2 * PATIENCE, "never {number}: {reply}");
                thread::sleep(Duration::from_millis(20));
            }
            self.taken.lock().expect("whole").push(Instant::now());
        }
    }

    /// The reply that ended the transaction, to whichever command. A connection that is lost is a
    /// 421.
    fn send(&self, connection: &mut Option<Client>, content: &[u8]) -> String {
        let lost = |error: std::io::Error| format!("421 {error}");
        let client = match connection {
            Some(client) => client,
            None => match Client::connect(self.address) {
                Ok(client) => connection.insert(client),
                Err(error) => return lost(error),
            },
        };
        let reply = client.try_to_send(content).unwrap_or_else(lost);
        if reply.starts_with("421") {
            *connection = None;
        }
        reply
    }

    fn taken(&self) -> usize {
        self.taken.lock().expect("whole").len()
    }

    /// From one moment to the next 250.
    fn wait_from(&self, moment: Instant) -> Option<Duration> {
        let taken = self.taken.lock().expect("whole");
        let next = taken.iter().find(|taken| **taken > moment);
        next.map(|next| next.duration_since(moment))
    }
}

/// Descriptors of a process.
fn descriptors(server: &Server) -> usize {
    let folder = format!("/proc/{}/fd", server.process());
    fs::read_dir(folder).expect("its descriptors").count()
}

/// Messages to a place that comes and goes.
fn acknowledged_is_there(transport: &str, mut place: Place) {
    let form = form();
    let server = Launch::new(transport)
        .variable("AWS_ACCESS_KEY_ID", "key")
        .variable("AWS_SECRET_ACCESS_KEY", "secret")
        .file(&place.configuration)
        .start();
    let before = (server.warm(), descriptors(&server));
    let run = Arc::new(Run {
        address: server.address(),
        next: AtomicUsize::new(0),
        deferred: AtomicUsize::new(0),
        messages: form.messages,
        taken: Mutex::default(),
    });
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let run = Arc::clone(&run);
            thread::spawn(move || run.send_all())
        })
        .collect();
    let mut returns = Vec::new();
    while run.taken() < form.messages && !clients.iter().all(thread::JoinHandle::is_finished) {
        let fault = Instant::now();
        match returns.len() % 2 {
            0 => place.kill(),
            _ => place.freeze(form.freeze),
        }
        returns.push(Instant::now());
        thread::sleep(form.pause.max(form.period.saturating_sub(fault.elapsed())));
    }
    let taken = start.elapsed();
    for client in clients {
        client.join().expect("a client");
    }
    let waits: Vec<_> = returns.iter().filter_map(|it| run.wait_from(*it)).collect();
    let longest = waits.iter().max().copied().unwrap_or_default();
    let names = place.names();
    assert_all_are_there(form.messages, &names, &place);
    // Twenty more came before all this.
    let claimed = || server.log.count(" delivered ");
    wait_until("the log has them all", || claimed() >= form.messages + 20);
    assert_eq!(
        claimed(),
        form.messages + 20,
        "more is claimed than was taken"
    );
    server.assert_memory_is_back(before.0);
    wait_until("connections are back", || {
        descriptors(&server) <= before.1 + place.connections
    });
    let copies: usize = names.values().sum();
    eprintln!(
        "{}, {transport}: {} messages in {} s, {} kills, {} freezes, {} replies of 4xx, {} there again, \
         the longest wait for mail to flow {longest:?}",
        place.name,
        form.messages,
        taken.as_secs(),
        returns.len().div_ceil(2),
        returns.len() / 2,
        run.deferred.load(Ordering::Relaxed),
        copies - names.len(),
    );
    assert!(!form.is_long || longest <= SOON, "{waits:?}");
}

/// Each is whole, or it would have no name.
fn assert_all_are_there(messages: usize, names: &BTreeMap<String, usize>, place: &Place) {
    for number in 0..messages {
        let name = format!("message-{number}");
        let copies = names.get(&name).copied().unwrap_or_default();
        assert!(copies > 0, "{}: {name} got its 250 and is gone", place.name);
        assert!(
            copies == 1 || !place.is_once,
            "{}: {name} is there {copies} times",
            place.name
        );
    }
}

/// Short runs go over both transports, long ones over the one that `auto` takes.
fn on_transports(place: impl Fn() -> Option<Place>) {
    let transports = match form().is_long {
        true => &TRANSPORTS[..1],
        false => &TRANSPORTS[..],
    };
    for transport in transports {
        if let Some(place) = place() {
            acknowledged_is_there(transport, place);
        }
    }
}

#[test]
fn lmtp_what_was_acknowledged_is_there() {
    on_transports(|| Some(programs::next_hop("lmtp")));
}

#[test]
fn smtp_what_was_acknowledged_is_there() {
    on_transports(|| Some(programs::next_hop("smtp")));
}

#[test]
fn webhook_what_was_acknowledged_is_there() {
    on_transports(programs::webhook);
}

#[test]
fn pipe_what_was_acknowledged_is_there() {
    on_transports(|| Some(programs::pipe()));
}

#[test]
fn s3_what_was_acknowledged_is_there() {
    on_transports(programs::seaweedfs);
}
