//! `kill -9` at random moments, again and again over the same Maildir.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::TRANSPORTS;
use crate::client::Client;
use crate::mail;
use crate::server::{Launch, files};

const CLIENTS: usize = 8;

/// How often in the short mode; `PRIXFIXE_FAULTS_CYCLES` says otherwise.
const CYCLES: u64 = 10;

/// The longest time from the start of the server to its end.
const LONGEST_LIFE: u64 = 1000;

pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect(variable))
}

/// As given, or from the clock.
pub(crate) fn seed() -> u64 {
    number("PRIXFIXE_FAULTS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_micros() as u64
    })
}

/// Sends until the connection breaks; the names of the messages that got their 250.
pub(crate) fn send_until_it_breaks(
    address: SocketAddr,
    cycle: u64,
    client: usize,
    seed: u64,
) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = Vec::new();
    let Ok(mut connection) = Client::connect(address) else {
        return acknowledged;
    };
    for message in 0.. {
        let name = format!("{cycle}-{client}-{message}");
        let size = match random.u8(..) {
            0..200 => random.usize(100..3000),
            200..245 => random.usize(20_000..100_000),
            _ => random.usize(300_000..600_000),
        };
        let content = mail::content(&name, size);
        let reply = match random.bool() {
            true => connection.send(&content),
            false => connection.send_chunks(&content, random.usize(1000..200_000)),
        };
        match reply {
            Ok(reply) if reply.starts_with("250") => acknowledged.push(name),
            _ => break,
        }
    }
    acknowledged
}

#[test]
fn nothing_acknowledged_is_lost_whenever_it_is_killed() {
    let cycles = number("PRIXFIXE_FAULTS_CYCLES").unwrap_or(CYCLES);
    let seed = seed();
    eprintln!("{cycles} cycles, PRIXFIXE_FAULTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let maildir = folder.path().join("mail");
    let (mut total, mut leftovers) = (0, 0);
    for cycle in 0..cycles {
        let transport = TRANSPORTS[cycle as usize % TRANSPORTS.len()];
        let mut server = Launch::new(transport).folder(&folder).start();
        let address = server.address();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let seed = random.u64(..);
                thread::spawn(move || send_until_it_breaks(address, cycle, client, seed))
            })
            .collect();
        thread::sleep(Duration::from_millis(random.u64(..LONGEST_LIFE)));
        server.kill();
        let acknowledged: BTreeSet<String> = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect();
        mail::assert_kept(&maildir, &acknowledged);
        total += acknowledged.len();
        leftovers += files(&maildir.join("tmp")).len();
        // What was looked at makes room, what was cut off makes none of the next cycle's.
        for file in files(&maildir.join("new")) {
            std::fs::remove_file(file).expect("it is ours");
        }
        for file in files(&maildir.join("tmp")) {
            std::fs::remove_file(file).expect("it is ours");
        }
    }
    eprintln!("{total} messages acknowledged and kept, {leftovers} cut off in tmp/");
    assert!(total > 0);
    Launch::new("tokio").folder(&folder).start().assert_serves();
}
