//! One connection's messages: what is sent in which order, and what became of each.
//!
//! The dialogue itself is `prixfixe-client`'s. Here its events become what is measured, and its
//! output is put together with contents that all connections share.
//!
//! The driver loops:
//!
//! 1. [`Dialogue::next_event`] with what was read, until it gives `None`. At [`Event::Ready`] and
//!    [`Event::MayFollow`] it says what comes next: [`send`](Dialogue::send),
//!    [`quit`](Dialogue::quit) or nothing yet.
//! 2. Write [`slices`](Dialogue::slices), and wait for the socket.

#[cfg(test)]
mod tests;

use std::io::IoSlice;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use prixfixe_client::{Config, Connection, Event as Told, Piece, Reply, Unsendable};

use crate::content::{Body, Prepared};
use crate::failure::{Failure, Kind, Stage};

/// How many pieces leave in one system call: a body in chunks and the commands around it.
pub(crate) const MAX_SLICES: usize = 16;

/// Bytes that leave in one system call. A kernel that takes megabytes at once has no time for
/// anybody else meanwhile: the other connections of the load, and other loads on the same core,
/// would seem to wait for the server.
const MAX_WRITE: usize = 64 * 1024;

/// How a client behaves, the same for all its connections.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) config: Arc<Config>,
    pub(crate) pipelining: Pipelining,
    /// TLS comes before the greeting.
    pub(crate) over_tls: bool,
    /// Messages are sent with BDAT.
    pub(crate) bdat: bool,
    /// Some message can only go to a server that offers 8BITMIME.
    pub(crate) eight_bit: bool,
    /// An address can only go to a server that offers SMTPUTF8.
    pub(crate) smtp_utf8: bool,
    /// Of each target, the first greeting: it names the server that was measured.
    pub(crate) greetings: Vec<OnceLock<String>>,
}

/// How much leaves without waiting for replies (RFC 2920), where the server offers it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pipelining {
    /// One command at a time.
    Off,
    /// MAIL, RCPT and DATA in one write, the content after 354; with BDAT, the content in the same
    /// write.
    #[default]
    Envelope,
    /// As [`Envelope`](Self::Envelope), and the next message's envelope, or QUIT, in one write with
    /// the content.
    Full,
}

/// What the driver learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The greeting is there.
    Greeted,
    /// STARTTLS was accepted: make the TLS connection, then call [`Dialogue::tls_established`].
    StartTls,
    /// Nothing is under way: a message or QUIT can be sent.
    Ready,
    /// The content is on its way: another message or QUIT can go out in the same write.
    MayFollow,
    /// The message was accepted, for all its recipients.
    Accepted,
    /// The message failed; the connection goes on.
    Failed(Failure),
    /// The connection is of no use any more, and the message under way has failed.
    Broken(Failure),
    /// QUIT was answered: the server closes now (RFC 5321 section 4.1.1.10).
    Goodbye,
    /// The server has closed after QUIT.
    Done,
}

/// What the recipients of a message were told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recipients {
    /// Taken at RCPT, and waiting for the reply to the content.
    pub(crate) pending: u64,
    pub(crate) accepted: u64,
    /// At RCPT, or at the end of the content.
    pub(crate) refused: u64,
}

/// One connection's dialogue.
#[derive(Debug)]
pub(crate) struct Dialogue {
    manner: Arc<Manner>,
    client: Connection,
    /// The message whose replies come.
    current: Option<Arc<Prepared>>,
    /// The message whose envelope was sent behind the current one's content.
    behind: Option<Arc<Prepared>>,
    /// The content that is being sent.
    lent: Option<Arc<Prepared>>,
    /// The first refusal of the current message.
    failure: Option<Failure>,
    /// What its recipients were told so far.
    recipients: Recipients,
    /// Where the greeting belongs in [`Manner::greetings`].
    target: usize,
    /// Nothing is under way, and nobody knows it yet.
    is_ready: bool,
    /// When something was read or said. The deadlines of a run are the engine's, so that what was
    /// written needs no time of its own.
    now: Instant,
}

impl Dialogue {
    /// A connection to a target that begins to be made.
    pub(crate) fn new(manner: Arc<Manner>, target: usize, now: Instant) -> Self {
        let config = Arc::clone(&manner.config);
        let client = if manner.over_tls {
            Connection::over_tls(config, now)
        } else {
            Connection::new(config, now)
        };
        Self {
            manner,
            client,
            current: None,
            behind: None,
            lent: None,
            failure: None,
            recipients: Recipients::default(),
            target,
            is_ready: false,
            now,
        }
    }

    /// Where the dialogue stands.
    pub(crate) fn stage(&self) -> Stage {
        self.client.stage().into()
    }

    /// Begins a message: after [`Event::Ready`], or after [`Event::MayFollow`] behind the one under
    /// way. At any other time nothing happens and the answer is false.
    pub(crate) fn send(&mut self, now: Instant, message: Arc<Prepared>) -> bool {
        self.now = now;
        if self.say(&message).is_err() {
            return false;
        }
        if self.current.is_none() {
            self.current = Some(message);
        } else {
            self.behind = Some(message);
        }
        true
    }

    /// Says QUIT, at the same times as `send`.
    pub(crate) fn quit(&mut self, now: Instant) {
        // At another time it is too late, or comes to nothing.
        let _ = self.client.quit(now);
    }

    /// TLS is there: everything learned before is forgotten (RFC 3207 section 4.2).
    pub(crate) fn tls_established(&mut self, now: Instant) {
        // The engine does it once, when the handshake is done.
        let _ = self.client.tls_established(now);
    }

    /// The server will send no more.
    pub(crate) fn receive_eof(&mut self) -> Event {
        match self.client.receive_eof() {
            Ok(()) => Event::Done,
            Err(error) => Event::Broken(error.into()),
        }
    }

    /// Takes from the front of `input` what it needs for the next event. `None`: all of it was
    /// taken.
    pub(crate) fn next_event(&mut self, now: Instant, input: &mut &[u8]) -> Option<Event> {
        self.now = now;
        if std::mem::take(&mut self.is_ready) {
            return Some(Event::Ready);
        }
        loop {
            let told = match self.client.poll_event(now, input) {
                Ok(told) => told?,
                Err(error) => return Some(Event::Broken(error.into())),
            };
            let refusal = match told {
                Told::Greeted(reply) => {
                    if let Some(greeting) = self.manner.greetings.get(self.target) {
                        greeting.get_or_init(|| quote(&reply.to_string()));
                    }
                    return Some(Event::Greeted);
                }
                Told::StartTls => return Some(Event::StartTls),
                Told::Ready => return Some(self.ready()),
                Told::Content => {
                    if let Some(event) = self.content() {
                        return Some(event);
                    }
                    continue;
                }
                Told::Done => return Some(self.done()),
                Told::Goodbye(_) => return Some(Event::Goodbye),
                Told::Mail(reply) => refusal(Stage::Mail, reply),
                Told::Rcpt { reply, .. } => {
                    self.recipients.answer(reply.is_positive());
                    refusal(Stage::Rcpt, reply)
                }
                Told::Data(reply) => refusal(Stage::Data, reply),
                Told::Chunk(reply) => refusal(Stage::Content, reply),
                Told::Message { recipient, reply } => {
                    self.recipients
                        .conclude(recipient.is_none(), reply.is_positive());
                    refusal(Stage::Content, reply)
                }
                _ => None,
            };
            if self.failure.is_none() {
                self.failure = refusal;
            }
        }
    }

    /// The first pieces to send, for a vectored write.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut left) = (0, MAX_WRITE);
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            if left == 0 {
                break;
            }
            let part = piece.get(..left).unwrap_or(piece);
            *slice = IoSlice::new(part);
            left -= part.len();
            count += 1;
        }
        (slices, count)
    }

    /// At most the first `limit` bytes of the first piece, for a client that is slow on purpose.
    pub(crate) fn front(&self, limit: usize) -> &[u8] {
        let piece = self.pieces().next().unwrap_or_default();
        piece.get(..limit).unwrap_or(piece)
    }

    /// Everything was sent.
    pub(crate) fn is_drained(&self) -> bool {
        !self.client.wants_transmit()
    }

    /// So much of it was sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.client.handle_transmitted(self.now, count);
    }

    /// What became of the recipients of the message that was accepted or has failed.
    pub(crate) fn take_recipients(&mut self) -> Recipients {
        std::mem::take(&mut self.recipients)
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let content = self
            .lent
            .as_ref()
            .map_or(&[][..], |message| message.body.content());
        self.client.poll_transmit().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Lent { offset, length } => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                content
                    .get(start..start.saturating_add(length))
                    .unwrap_or_default()
            }
        })
    }

    /// What is needed and not offered is found before anything is sent.
    fn ready(&self) -> Event {
        let (manner, offered) = (&self.manner, self.client.extensions());
        let missing = [
            (manner.bdat && !offered.chunking, "CHUNKING"),
            (manner.eight_bit && !offered.eight_bit_mime, "8BITMIME"),
            (manner.smtp_utf8 && !offered.smtp_utf8, "SMTPUTF8"),
        ];
        match missing.iter().find(|(is_missing, _)| *is_missing) {
            Some((_, name)) => {
                Event::Broken(Failure::with_detail(Stage::Ehlo, Kind::NotOffered, *name))
            }
            None => Event::Ready,
        }
    }

    fn say(&mut self, message: &Arc<Prepared>) -> Result<(), Unsendable> {
        let (client, now) = (&mut self.client, self.now);
        client.mail(now, &message.mail)?;
        for recipient in &*message.recipients {
            client.rcpt(now, recipient)?;
        }
        match &message.body {
            Body::Data(_) => client.data(now),
            Body::Chunks { content, size } => {
                client.bdat(now)?;
                let mut left = content.len();
                while left > 0 {
                    let chunk = left.min(*size);
                    left -= chunk;
                    client.lend_chunk(now, chunk as u64, left == 0)?;
                }
                self.lent = Some(Arc::clone(message));
                Ok(())
            }
        }
    }

    /// The content goes out. With BDAT it is on its way already.
    fn content(&mut self) -> Option<Event> {
        let message = self.current.as_ref()?;
        let length = message.body.content().len() as u64;
        self.client.lend_content(self.now, length).ok()?;
        self.lent = Some(Arc::clone(message));
        let may_follow =
            self.manner.pipelining == Pipelining::Full && self.client.extensions().pipelining;
        may_follow.then_some(Event::MayFollow)
    }

    /// The message's last reply was read. What was sent behind it, if anything, is under way now.
    fn done(&mut self) -> Event {
        self.current = self.behind.take();
        self.is_ready = self.current.is_none() && self.client.is_idle();
        self.failure.take().map_or(Event::Accepted, Event::Failed)
    }
}

impl Recipients {
    /// The reply to RCPT.
    fn answer(&mut self, taken: bool) {
        if taken {
            self.pending += 1;
        } else {
            self.refused += 1;
        }
    }

    /// The reply to the content: for all recipients, or with LMTP for one.
    fn conclude(&mut self, for_all: bool, taken: bool) {
        let count = if for_all { self.pending } else { 1 };
        self.pending = self.pending.saturating_sub(count);
        if taken {
            self.accepted += count;
        } else {
            self.refused += count;
        }
    }
}

fn refusal(stage: Stage, reply: Reply<'_>) -> Option<Failure> {
    if reply.is_positive() {
        return None;
    }
    let kind = Kind::Reply(reply.code());
    Some(Failure::with_detail(stage, kind, quote(&reply.to_string())))
}

/// As much of a reply as a report has room for.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTE).collect()
}

const MAX_QUOTE: usize = 160;
