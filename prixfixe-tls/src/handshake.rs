//! A handshake under way.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use prixfixe_network::OutputBuffer;
use rustls::HandshakeKind;
use rustls::crypto::tls13::OkmBlock;

use crate::certificate;
use crate::channel::Channel;
use crate::config::Generation;
use crate::exporter::{channel_binding, take_secret};
use crate::resolver::take_server_name;
use crate::turn::{HeldTurn, Queued, Turnstile};
use crate::{HandshakeError, TlsConfig, TlsInfo, TlsVersion};

/// A connection until its keys are there.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) channel: Channel,
    generation: Arc<Generation>,
    deadline: Option<Instant>,
    /// The place in this thread's queue.
    queued: Option<Queued>,
    /// The turn in which a step was taken when it was polled last.
    pub(crate) turn: Option<HeldTurn>,
    progress: Progress,
    server_name: Option<String>,
    /// In TLS 1.3, once the server has said all that is its part.
    exporter: Option<Exporter>,
    /// What came right behind the peer's last message.
    pub(crate) plaintext: Vec<u8>,
    pub(crate) eof: bool,
    pub(crate) shutdown: bool,
}

/// The exporter secret, which is wiped when it is dropped.
struct Exporter(OkmBlock);

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

/// How far the two have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The peer has sent nothing.
    Silent,
    /// It has sent something, and no step was taken.
    Begun,
    /// At least one step was taken.
    Stepped,
}

/// How a handshake ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Established(Box<TlsInfo>),
    Failed(HandshakeError),
    /// The server went away before the peer began.
    ShutDown,
}

impl Handshake {
    /// `clear` leaves before the handshake.
    pub(crate) fn new(
        now: Instant,
        config: &TlsConfig,
        clear: OutputBuffer,
    ) -> Result<Self, rustls::Error> {
        let generation = config.generation();
        Ok(Self {
            channel: Channel::new(Arc::clone(&generation.server), clear)?,
            generation,
            deadline: now.checked_add(config.handshake_timeout()),
            queued: None,
            turn: None,
            progress: Progress::Silent,
            server_name: None,
            exporter: None,
            plaintext: Vec::new(),
            eof: false,
            shutdown: false,
        })
    }

    /// These octets, if they are the first, are no handshake record: the peer goes on in clear.
    pub(crate) fn is_clear_text(&self, bytes: &[u8]) -> bool {
        self.progress == Progress::Silent
            && bytes
                .first()
                .is_some_and(|&content_type| content_type != HANDSHAKE_RECORD)
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if self.progress == Progress::Silent && !bytes.is_empty() {
            self.progress = Progress::Begun;
        }
        self.channel.keep(bytes);
    }

    pub(crate) const fn wants_read(&self) -> bool {
        self.channel.kept() < MAX_KEPT
    }

    /// The next step is the first, which costs a key exchange and a signature.
    pub(crate) fn is_costly(&self) -> bool {
        self.progress == Progress::Begun && self.channel.has_record()
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes a step, when there is something to do and it is this handshake's turn.
    pub(crate) fn poll(&mut self, now: Instant, cx: &Context<'_>) -> Poll<Outcome> {
        if self.shutdown && self.progress == Progress::Silent {
            return Poll::Ready(Outcome::ShutDown);
        }
        // A peer that has closed its side cannot answer what the first step would send.
        if self.eof && self.progress != Progress::Stepped {
            return Poll::Ready(Outcome::Failed(HandshakeError::Closed));
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Poll::Ready(Outcome::Failed(HandshakeError::TimedOut));
        }
        if self.channel.has_record() {
            if self.turn.is_some() {
                return Poll::Pending;
            }
            let queued = self
                .queued
                .get_or_insert_with(|| Queued::new(Turnstile::of_this_thread()));
            self.turn = Some(ready!(queued.poll_turn(cx)).hold(now, cx));
            if let Err(error) = self.step() {
                return Poll::Ready(Outcome::Failed(HandshakeError::tls(error)));
            }
            if !self.channel.connection().is_handshaking() {
                return Poll::Ready(Outcome::Established(Box::new(self.info())));
            }
        }
        if self.eof {
            Poll::Ready(Outcome::Failed(HandshakeError::Closed))
        } else if !self.wants_read() {
            Poll::Ready(Outcome::Failed(HandshakeError::TooLarge))
        } else {
            Poll::Pending
        }
    }

    fn step(&mut self) -> Result<(), rustls::Error> {
        self.progress = Progress::Stepped;
        // Another user of the same rustls configuration may have left a name behind.
        take_server_name();
        take_secret();
        let plaintext = &mut self.plaintext;
        let result = self
            .channel
            .process_kept(|bytes| plaintext.extend_from_slice(bytes));
        if let Some(name) = take_server_name() {
            self.server_name = Some(name);
        }
        if let Some(secret) = take_secret() {
            self.exporter = Some(Exporter(secret));
        }
        result
    }

    fn info(&mut self) -> TlsInfo {
        let connection = self.channel.connection();
        let chain = connection.peer_certificates().unwrap_or_default();
        let verified = self.generation.verified_client(chain);
        let version = connection
            .protocol_version()
            .and_then(TlsVersion::of)
            .unwrap_or_default();
        TlsInfo {
            version,
            cipher_suite: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            server_name: self.server_name.take(),
            client_subject: verified.and_then(certificate::subject),
            client_name: verified.and_then(certificate::name),
            channel_binding: self.exporter.take().and_then(|exporter| {
                channel_binding(connection.negotiated_cipher_suite()?, &exporter.0)
            }),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// RFC 8446 section 5.1.
const HANDSHAKE_RECORD: u8 = 22;
/// rustls refuses handshake messages over 64 KiB. This has room for one in whatever records.
const MAX_KEPT: usize = 96 * 1024;
