//! Invariant: whatever a server says, a client does not panic, holds no more than its bounds, says
//! whole lines, and learns the same however the input is cut.
//!
//! The first byte sets the client up. The bytes 0xF0 to 0xFF, for which UTF-8 has little use, are
//! operations; all others are what the server says.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use prixfixe_client::{
    Config, Connection, Credentials, Event, MAX_REPLY_TEXT, Mail, OUTPUT_HIGH_WATER, Piece, Rcpt,
    StartTls,
};

struct Client {
    connection: Connection,
    now: Instant,
    told: Vec<String>,
    output: Vec<u8>,
    /// What was lent for the transaction.
    lent: Vec<u8>,
    has_failed: bool,
}

impl Client {
    fn new(setup: u8, now: Instant) -> Self {
        let mut config = match setup & 1 {
            0 => Config::smtp("client.example.com"),
            _ => Config::lmtp("client.example.com"),
        }
        .expect("the name is one");
        config.pipelining = setup & 2 == 0;
        config.window = if setup & 4 == 0 { 100 } else { 2 };
        config.start_tls = match setup & 0x18 {
            0 => StartTls::Never,
            8 => StartTls::Required,
            _ => StartTls::WhenOffered,
        };
        config.plaintext_passwords = setup & 0x20 == 0;
        Self {
            connection: Connection::new(Arc::new(config), now),
            now,
            told: Vec::new(),
            output: Vec::new(),
            lent: Vec::new(),
            has_failed: false,
        }
    }

    fn receive(&mut self, input: &[u8], length: usize) {
        self.transmit();
        for mut piece in input.chunks(length) {
            self.poll(&mut piece);
            assert!(piece.is_empty());
        }
        self.transmit();
    }

    fn poll(&mut self, input: &mut &[u8]) {
        loop {
            match self.connection.poll_event(self.now, input) {
                Ok(Some(event)) => {
                    check(&event);
                    self.told.push(format!("{event:?}"));
                }
                Ok(None) => return,
                Err(error) => {
                    assert!(!std::mem::replace(&mut self.has_failed, true));
                    self.told.push(format!("{error:?}"));
                }
            }
        }
    }

    fn transmit(&mut self) {
        loop {
            let piece = match self.connection.poll_transmit().next() {
                Some(Piece::Bytes(bytes)) => bytes.to_vec(),
                Some(Piece::Lent { offset, length }) => {
                    let content = self.lent.get(offset as usize..(offset + length) as usize);
                    content.expect("it was lent").to_vec()
                }
                None => return,
            };
            assert!(!piece.is_empty());
            self.output.extend_from_slice(&piece);
            self.connection.handle_transmitted(self.now, piece.len());
        }
    }

    fn operate(&mut self, operation: u8) {
        let (connection, now) = (&mut self.connection, self.now);
        let _ = match operation {
            0xF0 => {
                let mail = Mail::new("a@x").expect("a path").size(5);
                connection.mail(now, &mail).map(|()| self.lent.clear())
            }
            0xF1 => connection.rcpt(now, &Rcpt::new("b@x").expect("a path")),
            0xF2 => connection.data(now),
            0xF3 => connection.bdat(now),
            0xF4 => connection.send_content(now, b".hi\r\n").map(|_| ()),
            0xF5 => connection.finish_content(now),
            0xF6 => connection
                .lend_content(now, 8)
                .map(|()| self.lent.extend_from_slice(b"hi!\r\n.\r\n")),
            0xF7 => connection.send_chunk(now, b"hi", false),
            0xF8 => connection.send_chunk(now, b"ho\r\n", true),
            0xF9 => connection
                .lend_chunk(now, 4, false)
                .map(|()| self.lent.extend_from_slice(b"he\r\n")),
            0xFA => connection.reset(now),
            0xFB => connection.noop(now),
            0xFC => connection.quit(now),
            0xFD => {
                let credentials = Credentials::new("ann", "secret").expect("they are some");
                connection.authenticate(now, &credentials, [1; 18])
            }
            0xFE => connection.tls_established(now),
            _ => {
                self.now += Duration::from_secs(100);
                if let Err(error) = connection.handle_timeout(self.now) {
                    assert!(!std::mem::replace(&mut self.has_failed, true));
                    self.told.push(format!("{error:?}"));
                }
                Ok(())
            }
        };
        self.transmit();
        self.poll(&mut &b""[..]);
        let deadline = self.connection.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.now));
    }
}

fn check(event: &Event<'_>) {
    if let Event::Greeted(reply)
    | Event::Mail(reply)
    | Event::Rcpt { reply, .. }
    | Event::Message { reply, .. } = event
    {
        assert!((200..600).contains(&reply.code()));
        assert!(reply.lines().map(<[u8]>::len).sum::<usize>() <= MAX_REPLY_TEXT);
        assert!(!reply.to_string().contains(char::is_control));
        let _ = reply.enhanced();
    }
}

fn run(script: &[u8], now: Instant, length: usize) -> Client {
    let (setup, script) = script.split_first().unwrap_or((&0, &[]));
    let mut client = Client::new(*setup, now);
    for part in script.chunk_by(|one, other| *one < 0xF0 && *other < 0xF0) {
        match part {
            [operation @ (0xF0..)] => client.operate(*operation),
            bytes => client.receive(bytes, length),
        }
        assert!(client.output.len() < OUTPUT_HIGH_WATER + 64 * script.len() + 64);
    }
    if let Err(error) = client.connection.receive_eof() {
        assert!(!client.has_failed);
        client.told.push(format!("{error:?}"));
    }
    assert!(client.connection.is_closed());
    assert_eq!(client.connection.poll_transmit().count(), 0);
    assert_eq!(
        client.connection.poll_event(now, &mut &b"250 x\r\n"[..]),
        Ok(None)
    );
    client
}

/// What was learned, but where in STARTTLS plaintext was found: the event before it is not given
/// when both come together.
fn learned(client: &Client) -> Vec<&str> {
    let mut told: Vec<&str> = client.told.iter().map(String::as_str).collect();
    if told.last().is_some_and(|last| last.contains("Injected")) {
        told.pop();
        told.retain(|event| *event != "StartTls");
    }
    told
}

fuzz_target!(|script: &[u8]| {
    let now = Instant::now();
    let at_once = run(script, now, usize::MAX);
    for length in [1, 3] {
        let cut = run(script, now, length);
        assert_eq!(learned(&cut), learned(&at_once));
        assert_eq!(
            cut.output.escape_ascii().to_string(),
            at_once.output.escape_ascii().to_string()
        );
    }
});
