//! A mail session with TLS around it that accepts everything: the core as a server runs it, without
//! the server.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prixfixe_core::{Answer, Config, Connection, Event, MAX_LINE, OUTPUT_HIGH_WATER};
use prixfixe_network::{OutputBuffer, Session};
use prixfixe_tls::{HandshakeError, TlsInfo, Upgrade};

/// While so much input waits, no more is wanted.
const INPUT_LIMIT: usize = 4096;

/// The session, and what it saw.
#[derive(Debug)]
pub struct Mail {
    connection: Connection,
    input: Vec<u8>,
    output: OutputBuffer,
    /// Octets received in clear, and inside TLS.
    pub in_clear: Vec<u8>,
    pub in_tls: Vec<u8>,
    /// The message under way, and whether it began inside TLS.
    content: Option<(Vec<u8>, bool)>,
    /// Whole messages, and whether they came inside TLS.
    pub messages: Vec<(Vec<u8>, bool)>,
    pub established: bool,
    pub refused: bool,
    pub failed: bool,
    pub eof: bool,
    wants_tls: bool,
    finished: bool,
}

impl Mail {
    pub fn new(now: Instant, starttls: bool) -> Self {
        let mut config = Config::default();
        config.max_message_size = 100_000;
        config.max_errors = 20;
        config.starttls = starttls;
        Self {
            connection: Connection::new(Arc::new(config), now),
            input: Vec::new(),
            output: OutputBuffer::new(),
            in_clear: Vec::new(),
            in_tls: Vec::new(),
            content: None,
            messages: Vec::new(),
            established: false,
            refused: false,
            failed: false,
            eof: false,
            wants_tls: false,
            finished: false,
        }
    }

    fn work(&mut self, now: Instant) {
        let held = std::mem::take(&mut self.input);
        let mut input = held.as_slice();
        loop {
            self.connection
                .answer(now, Answer::Accept, self.output.back());
            let Some(event) = self
                .connection
                .poll_event(now, &mut input, self.output.back())
            else {
                break;
            };
            match event {
                Event::Data => {
                    let content = (Vec::new(), self.established);
                    assert!(self.content.replace(content).is_none());
                }
                Event::Body(piece) => {
                    let (content, _) = self.content.as_mut().expect("a message has started");
                    content.extend_from_slice(piece);
                }
                Event::MessageEnd { size } => {
                    let message = self.content.take().expect("a message has started");
                    assert_eq!(message.0.len() as u64, size);
                    assert_eq!(
                        message.1, self.established,
                        "no message crosses the upgrade"
                    );
                    self.messages.push(message);
                }
                Event::MessageAborted(_) => assert!(self.content.take().is_some()),
                Event::StartTls => {
                    assert!(!self.established && !self.wants_tls);
                    self.wants_tls = true;
                }
                _ => {}
            }
        }
        self.input = input.to_vec();
    }
}

impl Session for Mail {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        assert!(!self.finished && !self.eof && !self.wants_tls);
        let received = match self.established {
            true => &mut self.in_tls,
            false => &mut self.in_clear,
        };
        received.extend_from_slice(bytes);
        self.input.extend_from_slice(bytes);
        self.work(now);
    }

    fn receive_eof(&mut self, now: Instant) {
        assert!(!self.eof, "told once only");
        self.eof = true;
        self.connection.receive_eof(now);
    }

    fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
        assert!(!self.finished, "not called again when it is finished");
        self.work(now);
        self.connection.handle_timeout(now, self.output.back());
        self.work(now);
        self.finished = self.connection.is_closed();
        if self.finished {
            assert!(self.content.is_none(), "a message has an end or is aborted");
            return Poll::Ready(());
        }
        if self.output.len() < OUTPUT_HIGH_WATER && !self.wants_tls {
            assert!(self.input.len() < MAX_LINE);
        }
        Poll::Pending
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.input.len() < INPUT_LIMIT
    }

    fn deadline(&self) -> Option<Instant> {
        self.connection.deadline()
    }

    fn shutdown(&mut self, now: Instant) {
        self.connection.shutdown(now, self.output.back());
    }
}

impl Upgrade for Mail {
    fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    fn tls_established(&mut self, now: Instant, _: TlsInfo) {
        assert!(!self.established && !self.failed && !self.refused);
        self.established = true;
        self.wants_tls = false;
        assert!(self.input.is_empty(), "nothing crosses the upgrade");
        self.connection.tls_established(now);
    }

    fn clear_text_instead_of_handshake(&mut self, now: Instant) {
        assert!(!self.established && !self.failed);
        self.refused = true;
        self.wants_tls = false;
        self.connection
            .clear_text_after_starttls(now, self.output.back());
    }

    fn tls_failed(&mut self, _: Instant, _: &HandshakeError) {
        assert!(!self.established && !self.failed && !self.refused);
        self.failed = true;
    }
}
