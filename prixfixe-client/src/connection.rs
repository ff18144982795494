//! One connection, as its caller drives it: what is to be sent, and until when.
//!
//! What can be said is in `transaction.rs`. What a reply changes is in `state.rs`, and nowhere
//! else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Protocol};
use crate::error::{Error, Fault, Stage, Unsendable};
use crate::expected::{Command, Expected};
use crate::extensions::Extensions;
use crate::outbox::{Outbox, Piece};
use crate::reader::ReplyReader;
use crate::state::{Pending, Phase, Sending, Tally};

/// One connection to a server. See the [crate's documentation](crate) for how it is driven.
#[derive(Debug)]
pub struct Connection {
    pub(crate) config: Arc<Config>,
    pub(crate) phase: Phase,
    pub(crate) sending: Sending,
    pub(crate) expected: Expected,
    pub(crate) tally: Tally,
    /// Told next, before anything more is read.
    pub(crate) pending: Option<Pending>,
    /// The server holds a transaction that has failed.
    pub(crate) needs_reset: bool,
    pub(crate) extensions: Extensions,
    pub(crate) reader: ReplyReader,
    pub(crate) outbox: Outbox,
    pub(crate) is_secured: bool,
    /// When a reply was read, or something was sent, or a wait began.
    pub(crate) progress: Instant,
}

impl Connection {
    /// A connection that was just opened, in plaintext.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let mut expected = Expected::default();
        expected.push(Command::Greeting, 0);
        expected.release(false, 1);
        Self {
            config,
            phase: Phase::Talking,
            sending: Sending::Idle,
            expected,
            tally: Tally::default(),
            pending: None,
            needs_reset: false,
            extensions: Extensions::default(),
            reader: ReplyReader::default(),
            outbox: Outbox::default(),
            is_secured: false,
            progress: now,
        }
    }

    /// A connection on which TLS is there before the greeting (RFC 8314 section 3.3).
    #[must_use]
    pub fn over_tls(config: Arc<Config>, now: Instant) -> Self {
        Self {
            is_secured: true,
            ..Self::new(config, now)
        }
    }

    /// TLS is there, after [`Event::StartTls`](crate::Event::StartTls). Everything learned before
    /// is forgotten (RFC 3207 section 4.2).
    ///
    /// # Errors
    ///
    /// At any other time.
    pub fn tls_established(&mut self, now: Instant) -> Result<(), Unsendable> {
        if !matches!(self.phase, Phase::Securing) {
            return Err(Unsendable::NotNow);
        }
        self.phase = Phase::Talking;
        self.is_secured = true;
        self.extensions = Extensions::default();
        self.reader = ReplyReader::default();
        self.say_hello(now);
        Ok(())
    }

    /// What can be sent now, from the front, for a vectored write. Nothing is taken: tell
    /// [`handle_transmitted`](Self::handle_transmitted) how much of it was sent, before anything
    /// that the server said after it is given to [`poll_event`](Self::poll_event).
    pub fn poll_transmit(&self) -> impl Iterator<Item = Piece<'_>> {
        self.outbox.pieces()
    }

    /// There is something to send now.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        !self.outbox.is_drained()
    }

    /// So many bytes of what [`poll_transmit`](Self::poll_transmit) gave were sent.
    pub fn handle_transmitted(&mut self, now: Instant, count: usize) {
        if count > 0 {
            self.progress = now;
            self.outbox.advance(count);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. `None`: nothing is awaited
    /// from the server.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.progress.checked_add(self.patience()?)
    }

    /// Time has gone by.
    ///
    /// # Errors
    ///
    /// When the server has taken too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.deadline() {
            Some(deadline) if deadline <= now => Err(self.fail(Fault::TimedOut)),
            _ => Ok(()),
        }
    }

    /// The server will send no more.
    ///
    /// # Errors
    ///
    /// But after QUIT.
    pub fn receive_eof(&mut self) -> Result<(), Error> {
        let has_quit = self
            .expected
            .front()
            .is_some_and(|expect| expect.command == Command::Quit);
        if has_quit || self.is_closed() {
            self.close();
            return Ok(());
        }
        Err(self.fail(Fault::Closed))
    }

    /// What the server offers. Nothing before [`Event::Ready`](crate::Event::Ready).
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// TLS is there.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.is_secured
    }

    /// Nothing is under way: a transaction can begin, and nothing is awaited.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.expected.is_empty() && self.expect_idle().is_ok()
    }

    /// QUIT was answered, or the connection has failed: close it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Where the connection stands: what the next reply is to.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match (&self.phase, self.expected.front()) {
            (Phase::Securing, _) => Stage::Tls,
            (Phase::Closed, _) => Stage::Closed,
            (_, Some(expect)) => expect.command.stage(),
            (_, None) => Stage::Idle,
        }
    }

    /// Says EHLO, or LHLO.
    pub(crate) fn say_hello(&mut self, now: Instant) {
        let verb: &[u8] = match self.config.protocol() {
            Protocol::Smtp => b"EHLO ",
            Protocol::Lmtp => b"LHLO ",
        };
        self.say_name(now, Command::Ehlo, verb);
    }

    pub(crate) fn say_name(&mut self, now: Instant, command: Command, verb: &[u8]) {
        self.outbox.push(verb);
        self.outbox.push(self.config.name().as_bytes());
        self.say(now, command, b"\r\n");
    }

    pub(crate) fn say(&mut self, now: Instant, command: Command, line: &[u8]) {
        self.outbox.push(line);
        self.enqueue(now, command);
    }

    /// What was written into the output just now is this command.
    pub(crate) fn enqueue(&mut self, now: Instant, command: Command) {
        if self.expected.is_empty() {
            self.progress = now;
        }
        self.expected.push(command, self.outbox.queued());
        self.release();
    }

    /// Lets leave what may leave.
    pub(crate) fn release(&mut self) {
        let pipelining = self.config.pipelining && self.extensions.pipelining;
        if let Some(position) = self.expected.release(pipelining, self.config.window) {
            self.outbox.release(position);
        }
    }

    /// How long the next reply, or the transport, may take.
    fn patience(&self) -> Option<Duration> {
        let timeouts = &self.config.timeouts;
        let expect = self.expected.front()?;
        if expect.command.stage() == Stage::Content && self.outbox.sent() < expect.end {
            // While the output is empty, it is the caller who is waited for.
            return (!self.outbox.is_drained()).then_some(timeouts.block);
        }
        Some(match expect.command {
            Command::Greeting => timeouts.greeting,
            Command::Mail => timeouts.mail,
            Command::Rcpt => timeouts.rcpt,
            Command::Data => timeouts.data,
            Command::Message | Command::Empty | Command::Chunk { last: true } => timeouts.message,
            _ => timeouts.command,
        })
    }

    /// The connection is of no use any more.
    pub(crate) fn fail(&mut self, fault: Fault) -> Error {
        let in_doubt = self.is_in_doubt();
        self.fail_as(fault, in_doubt)
    }

    pub(crate) fn fail_as(&mut self, fault: Fault, in_doubt: bool) -> Error {
        let error = Error::new(self.stage(), fault, in_doubt);
        self.close();
        error
    }

    pub(crate) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.sending = Sending::Idle;
        self.pending = None;
        self.expected.clear();
        self.outbox = Outbox::default();
    }

    /// All of a message was sent, somebody may have been accepted for it, and its reply has not
    /// come.
    fn is_in_doubt(&self) -> bool {
        let sent = self.outbox.sent();
        let mut released = self.expected.released();
        released.any(|expect| {
            sent >= expect.end
                && match expect.command {
                    Command::Message => true,
                    Command::Chunk { last: true } => self.may_have_recipients(),
                    _ => false,
                }
        })
    }

    /// Of a transaction in chunks, whose recipients may not have been answered yet.
    fn may_have_recipients(&self) -> bool {
        let is_unanswered = self.expected.front().is_some_and(|expect| {
            matches!(
                expect.command,
                Command::Reset | Command::Mail | Command::Rcpt
            )
        });
        self.sending != Sending::Doomed && (is_unanswered || !self.tally.is_nobody_accepted())
    }
}
