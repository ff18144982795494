//! Invariant: whatever comes in place of TLS, and whatever is done to the records of a TLS client
//! on their way, there is no panic, what is held is bounded, the session sees a prefix of what the
//! client wrote and nothing of anybody else, nothing crosses STARTTLS, and only a message that the
//! client wrote whole is a message.
//!
//! The first octet chooses how the session begins, the version of TLS and the length of reads.
//! Behind it stand operations: an octet that names it, and what it takes.
#![no_main]

use std::io::Write;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use prixfixe_fuzz::wire::{Server, Start, client};
use prixfixe_test_support::meaning;
use rustls::ClientConnection;

/// Beside what the script holds: both sides of a connection, each with a handshake's worth of
/// buffers.
const MAX_MEMORY: u64 = 1024 * 1024;
/// The most plaintext and raw octets that one script sends: all of it is kept, to be compared.
const MAX_SENT: usize = 128 * 1024;

const TRANSACTION: &[u8] = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n";

struct World {
    server: Server,
    client: ClientConnection,
    /// Its first record is on its way.
    begun: bool,
    /// It has seen what is no TLS, or has closed its side. It reads no more: rustls asserts of
    /// itself that it sends no second alert.
    client_done: bool,
    /// Records on their way to the server.
    wire: Vec<u8>,
    /// Everything that the client wrote.
    written: Vec<u8>,
    /// Octets sent without TLS.
    raw: usize,
    /// The records on the wire were changed: what the server sees ends somewhere before that.
    tampered: bool,
    length: usize,
}

impl World {
    fn new(choice: u8) -> Self {
        let start = match choice & 3 {
            0 => Start::Clear,
            1 => Start::StartTls,
            _ => Start::Implicit,
        };
        Self {
            server: Server::new(start),
            client: client(choice & 4 == 0),
            begun: false,
            client_done: false,
            wire: Vec::new(),
            written: Vec::new(),
            raw: 0,
            tampered: false,
            length: match choice >> 3 {
                0..4 => usize::MAX,
                length => usize::from(length - 3),
            },
        }
    }

    fn raw(&mut self, octets: &[u8]) {
        self.raw += octets.len();
        if self.raw <= MAX_SENT {
            self.tampered = true;
            self.server.receive(octets, self.length);
        }
    }

    fn write(&mut self, octets: &[u8]) {
        if self.written.len() + octets.len() <= MAX_SENT {
            // It takes no more once it has closed, or holds as much as it cares to.
            let written = self.client.writer().write(octets).unwrap_or(0);
            self.written.extend_from_slice(&octets[..written]);
        }
    }

    /// What the client has to send goes to the wire.
    fn collect(&mut self) {
        while self.client.wants_write() {
            if self.client.write_tls(&mut self.wire).is_err() {
                break;
            }
        }
    }

    /// The first octets on the wire arrive.
    fn deliver(&mut self, octets: usize) {
        if !self.begun {
            self.server.sent();
            self.begun = true;
        }
        self.collect();
        let rest = self.wire.split_off(octets.min(self.wire.len()));
        let arrived = std::mem::replace(&mut self.wire, rest);
        self.server.receive(&arrived, self.length);
    }

    /// What the server has to say arrives at the client.
    fn answer(&mut self) {
        let sent = self.server.sent();
        // What was said in clear is not for the client's TLS.
        let mut records = if self.begun { sent.as_slice() } else { &[] };
        while !self.client_done
            && !records.is_empty()
            && self
                .client
                .read_tls(&mut records)
                .is_ok_and(|read| read > 0)
        {
            self.client_done = self.client.process_new_packets().is_err();
            let mut reader = self.client.reader();
            while std::io::Read::read(&mut reader, &mut [0; 4096]).is_ok_and(|read| read > 0) {}
        }
        self.server.read(self.length);
    }

    fn check(&self) {
        let mail = self.server.mail();
        assert!(self.written.starts_with(&mail.in_tls) || !mail.established);
        if !mail.established {
            assert!(mail.in_tls.is_empty());
        }
        for (content, in_tls) in &mail.messages {
            let received = if *in_tls {
                &mail.in_tls
            } else {
                &mail.in_clear
            };
            assert!(is_whole(content, received), "no message without its end");
        }
    }
}

/// Somewhere in what was received stands this content with its end behind it, by DATA or by BDAT.
fn is_whole(content: &[u8], received: &[u8]) -> bool {
    let by_data = received.windows(6).enumerate().any(|(at, six)| {
        six.eq_ignore_ascii_case(b"DATA\r\n") && {
            let read = meaning(&received[at + 6..], false);
            read.ended && read.content.as_deref() == Some(content)
        }
    });
    // Chunks have lengths, and the core counts them; that it counts right is not this target's
    // subject.
    by_data
        || received
            .windows(4)
            .any(|four| four.eq_ignore_ascii_case(b"BDAT"))
}

/// Takes from the front of the script.
fn take<'s>(script: &mut &'s [u8], octets: usize) -> &'s [u8] {
    let (taken, rest) = script.split_at(octets.min(script.len()));
    *script = rest;
    taken
}

fn number(script: &mut &[u8]) -> usize {
    take(script, 1).first().copied().unwrap_or_default().into()
}

fn operate(world: &mut World, operation: u8, script: &mut &[u8]) {
    match operation & 15 {
        0 => {
            let length = number(script);
            let octets = take(script, length);
            world.raw(octets);
        }
        1 => {
            let length = number(script);
            let octets = take(script, length);
            world.write(octets);
        }
        2 => world.deliver(usize::MAX),
        3 => world.deliver(number(script)),
        // One octet on the wire is changed.
        4 => {
            world.collect();
            let (place, change) = (number(script) * 256 + number(script), number(script) as u8);
            if let Some(octet) = world.wire.get_mut(place) {
                *octet ^= change;
                world.tampered |= change != 0;
            }
        }
        // Some of them are lost.
        5 => {
            world.collect();
            let lost = number(script).min(world.wire.len());
            world.wire.drain(..lost);
            world.tampered |= lost > 0;
        }
        6 => world.server.receive_eof(),
        7 => world
            .server
            .after(Duration::from_secs(number(script) as u64)),
        8 => {
            world.client.send_close_notify();
            world.client_done = true;
        }
        9 => world.server.shutdown(),
        10 => world.answer(),
        // A record, as far as its header goes.
        11 => {
            let header = take(script, 5);
            let length = number(script) * 256;
            let record = [header, &vec![b'x'; length]].concat();
            world.raw(&record);
        }
        12 => world.write(TRANSACTION),
        // Everything as it should be.
        13 => {
            for _ in 0..4 {
                world.deliver(usize::MAX);
                world.answer();
            }
        }
        14 => {
            world.raw(b"EHLO c\r\nSTARTTLS\r\n");
            world.tampered = false;
        }
        _ => {
            let length = number(script) * 256;
            world.write(&vec![b'x'; length]);
        }
    }
}

fn run(script: &[u8]) {
    let Some((&choice, mut script)) = script.split_first() else {
        return;
    };
    let mut world = World::new(choice);
    while let Some((&operation, rest)) = script.split_first() {
        script = rest;
        operate(&mut world, operation, &mut script);
        world.check();
    }
    // Nobody reads on: what is left is only what was there.
    let messages = world.server.mail().messages.len();
    world.server.receive_eof();
    world.server.sent();
    world.server.after(Duration::from_secs(24 * 60 * 60));
    world.server.sent();
    world.check();
    assert!(world.server.finished, "everything ends");
    let mail = world.server.mail();
    if mail.established && !world.tampered && messages == mail.messages.len() {
        assert!(!mail.failed && !mail.refused);
    }
}

fuzz_target!(|script: &[u8]| {
    // The first handshake makes certificates and keys that stay.
    static READY: std::sync::Once = std::sync::Once::new();
    READY.call_once(|| run(&[1, 14, 10, 13, 12, 13]));
    let script_length = script.len() as u64;
    let allocated = allocation_counter::measure(|| run(script));
    assert!(
        allocated.bytes_max <= MAX_MEMORY + 8 * script_length,
        "{allocated:?}"
    );
});
