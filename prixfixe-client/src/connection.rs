//! One connection, as its caller drives it: what can be said, what is to be sent, and until when.
//!
//! What a reply changes is in `state.rs`, and nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Protocol};
use crate::content::Stuffer;
use crate::error::{Error, Fault, Stage, Unsendable};
use crate::expected::{Command, Expected};
use crate::extensions::{Extension, Extensions};
use crate::mail::{Mail, Rcpt};
use crate::outbox::{Outbox, Piece};
use crate::reader::ReplyReader;
use crate::state::{Pending, Phase, Sending, Tally};

/// How much of a content is copied into the output before it is sent.
pub const OUTPUT_HIGH_WATER: usize = 64 * 1024;

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

    /// Begins a transaction: after [`Event::Ready`](crate::Event::Ready) or
    /// [`Event::Done`](crate::Event::Done), and as soon as the content before it has been given
    /// whole, with [`finish_content`](Self::finish_content) or
    /// [`lend_content`](Self::lend_content).
    ///
    /// # Errors
    ///
    /// At any other time, and when an extension is missing without which the message cannot be
    /// sent.
    pub fn mail(&mut self, now: Instant, mail: &Mail<'_>) -> Result<(), Unsendable> {
        self.expect_idle()?;
        if let Some(extension) = mail.missing(&self.extensions, self.is_secured) {
            return Err(Unsendable::NotOffered(extension));
        }
        if std::mem::take(&mut self.needs_reset) {
            self.say(now, Command::Reset, b"RSET\r\n");
        }
        self.outbox.begin_transaction();
        self.outbox
            .write(|output| mail.encode(&self.extensions, output));
        self.enqueue(now, Command::Mail);
        self.sending = Sending::Envelope {
            recipients: 0,
            smtp_utf8: mail.needs_smtp_utf8(),
            binary: mail.needs_chunking(),
        };
        Ok(())
    }

    /// Names a recipient, after [`mail`](Self::mail).
    ///
    /// # Errors
    ///
    /// At any other time, when MAIL was refused, and for an internationalised address without
    /// SMTPUTF8.
    pub fn rcpt(&mut self, now: Instant, rcpt: &Rcpt<'_>) -> Result<(), Unsendable> {
        let Sending::Envelope {
            recipients,
            smtp_utf8,
            ..
        } = &mut self.sending
        else {
            return Err(self.sending.out_of_turn());
        };
        if !*smtp_utf8 && !rcpt.forward_path().is_ascii() {
            return Err(Unsendable::NeedsSmtpUtf8);
        }
        *recipients += 1;
        self.outbox
            .write(|output| rcpt.encode(&self.extensions, output));
        self.enqueue(now, Command::Rcpt);
        Ok(())
    }

    /// Ends the envelope. [`Event::Content`](crate::Event::Content) says when the content can be
    /// given.
    ///
    /// # Errors
    ///
    /// At any other time, when MAIL was refused, when no recipient was named, and for binary
    /// content.
    pub fn data(&mut self, now: Instant) -> Result<(), Unsendable> {
        self.expect_envelope(Unsendable::NeedsChunking)?;
        if self.is_hopeless() {
            self.doom();
            return Ok(());
        }
        self.sending = Sending::Data;
        self.say(now, Command::Data, b"DATA\r\n");
        Ok(())
    }

    /// Ends the envelope; the content will come in chunks (RFC 3030).
    ///
    /// They can be given at once. A caller that would rather not send a large content for nobody
    /// waits for [`Event::Content`](crate::Event::Content).
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data), and when the server does not offer CHUNKING.
    pub fn bdat(&mut self, _now: Instant) -> Result<(), Unsendable> {
        self.expect_envelope(Unsendable::NotNow)?;
        if !self.extensions.chunking {
            return Err(Unsendable::NotOffered(Extension::Chunking));
        }
        if self.is_hopeless() {
            self.doom();
            return Ok(());
        }
        self.sending = Sending::Chunks { begun: false };
        if self.expected.is_empty() {
            self.pending = Some(Pending::Content);
        }
        Ok(())
    }

    /// Gives a piece of the content after [`Event::Content`](crate::Event::Content): lines with
    /// CRLF, cut anywhere. Transparency dots are added here. Gives how many bytes of it were taken:
    /// fewer than there are when [`OUTPUT_HIGH_WATER`] is reached. Send the output then, and give
    /// the rest.
    ///
    /// # Errors
    ///
    /// When it is not time for it, and when the piece has a bare CR or LF. A content cannot be
    /// taken back: whoever cannot finish it closes the connection.
    pub fn send_content(&mut self, now: Instant, piece: &[u8]) -> Result<usize, Unsendable> {
        let room = OUTPUT_HIGH_WATER.saturating_sub(self.outbox.held());
        let Sending::Content(stuffer) = &mut self.sending else {
            return Err(self.sending.out_of_turn());
        };
        let piece = piece.get(..room).unwrap_or(piece);
        stuffer.check(piece)?;
        self.outbox.write(|output| stuffer.stuff(piece, output));
        self.release_content(now);
        Ok(piece.len())
    }

    /// Ends the content. A last line without an end gets one.
    ///
    /// # Errors
    ///
    /// When it is not time for it, and when the content ends with a bare CR.
    pub fn finish_content(&mut self, now: Instant) -> Result<(), Unsendable> {
        let Sending::Content(stuffer) = self.sending else {
            return Err(self.sending.out_of_turn());
        };
        if stuffer.is_behind_cr() {
            return Err(Unsendable::BareLineEnd);
        }
        self.outbox.write(|output| stuffer.finish(output));
        self.content_is_whole(now);
        Ok(())
    }

    /// Lends the content, or the rest of it, as it goes over the wire: with transparency dots and
    /// the end of the data, as [`Stuffer`] makes it. [`poll_transmit`](Self::poll_transmit) says
    /// when it is its turn, so that nothing is copied.
    ///
    /// # Errors
    ///
    /// When it is not time for it.
    pub fn lend_content(&mut self, now: Instant, length: u64) -> Result<(), Unsendable> {
        if !matches!(self.sending, Sending::Content(_)) {
            return Err(self.sending.out_of_turn());
        }
        self.outbox.lend(length);
        self.content_is_whole(now);
        Ok(())
    }

    /// Gives a chunk of the content, after [`bdat`](Self::bdat). Its bytes are copied.
    ///
    /// # Errors
    ///
    /// When it is not time for it, when a chunk was refused, and when the output is full: send it,
    /// then try again.
    pub fn send_chunk(&mut self, now: Instant, chunk: &[u8], last: bool) -> Result<(), Unsendable> {
        if self.outbox.held() >= OUTPUT_HIGH_WATER {
            return Err(Unsendable::Full);
        }
        self.begin_chunk(chunk.len() as u64, last)?;
        self.outbox.push(chunk);
        self.enqueue(now, Command::Chunk { last });
        Ok(())
    }

    /// Lends a chunk of the content, after [`bdat`](Self::bdat).
    ///
    /// # Errors
    ///
    /// When it is not time for it, and when a chunk was refused.
    pub fn lend_chunk(&mut self, now: Instant, length: u64, last: bool) -> Result<(), Unsendable> {
        self.begin_chunk(length, last)?;
        self.outbox.lend(length);
        self.enqueue(now, Command::Chunk { last });
        Ok(())
    }

    /// Says RSET. A transaction that has been begun ends with [`Event::Done`](crate::Event::Done).
    ///
    /// # Errors
    ///
    /// From DATA, or the last chunk, until the transaction is over.
    pub fn reset(&mut self, now: Instant) -> Result<(), Unsendable> {
        self.abandon()?;
        self.needs_reset = false;
        self.say(now, Command::Reset, b"RSET\r\n");
        Ok(())
    }

    /// Says NOOP, between transactions.
    ///
    /// # Errors
    ///
    /// At any other time.
    pub fn noop(&mut self, now: Instant) -> Result<(), Unsendable> {
        self.expect_idle()?;
        self.say(now, Command::Noop, b"NOOP\r\n");
        Ok(())
    }

    /// Says QUIT. A transaction that has been begun ends without an event of its own.
    ///
    /// # Errors
    ///
    /// From DATA, or the last chunk, until the content was given; before
    /// [`Event::Ready`](crate::Event::Ready); and when it was said before.
    pub fn quit(&mut self, now: Instant) -> Result<(), Unsendable> {
        self.abandon()?;
        self.say(now, Command::Quit, b"QUIT\r\n");
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

    /// A transaction can begin.
    pub(crate) fn expect_idle(&self) -> Result<(), Unsendable> {
        let may_follow = match self.expected.back() {
            None | Some(Command::Message | Command::Reset | Command::Noop) => true,
            Some(_) => false,
        };
        match (&self.phase, &self.sending) {
            (Phase::Talking, Sending::Idle) if may_follow => Ok(()),
            (Phase::Talking, sending) => Err(sending.out_of_turn()),
            _ => Err(Unsendable::NotNow),
        }
    }

    /// The envelope can end. Binary content is `unfit` for some ways of it.
    fn expect_envelope(&self, unfit: Unsendable) -> Result<(), Unsendable> {
        match self.sending {
            Sending::Envelope { recipients: 0, .. } => Err(Unsendable::NoRecipient),
            Sending::Envelope { binary: true, .. } if unfit == Unsendable::NeedsChunking => {
                Err(unfit)
            }
            Sending::Envelope { .. } => Ok(()),
            _ => Err(self.sending.out_of_turn()),
        }
    }

    /// Whatever has been begun is not gone on with.
    fn abandon(&mut self) -> Result<(), Unsendable> {
        match self.sending {
            Sending::Envelope { .. } | Sending::Chunks { .. } => {
                self.expected.drop_held();
                self.outbox.truncate();
                self.sending = Sending::Doomed;
                Ok(())
            }
            Sending::Doomed if !matches!(self.expected.back(), Some(Command::Quit)) => Ok(()),
            _ => self.expect_idle(),
        }
    }

    fn begin_chunk(&mut self, length: u64, last: bool) -> Result<(), Unsendable> {
        if !matches!(self.sending, Sending::Chunks { .. }) {
            return Err(self.sending.out_of_turn());
        }
        let end: &[u8] = if last { b" LAST\r\n" } else { b"\r\n" };
        self.outbox.write(|output| {
            output.extend_from_slice(b"BDAT ");
            output.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            output.extend_from_slice(end);
        });
        self.sending = if last {
            Sending::LastChunk
        } else {
            Sending::Chunks { begun: true }
        };
        if self.pending == Some(Pending::Content) {
            self.pending = None;
        }
        Ok(())
    }

    fn content_is_whole(&mut self, now: Instant) {
        let end = self.outbox.queued();
        if let Some(expect) = self.expected.back_mut() {
            expect.end = end;
        }
        self.sending = Sending::Idle;
        self.release_content(now);
    }

    /// The content stands behind everything else, and all before it has been released.
    fn release_content(&mut self, now: Instant) {
        if self.outbox.is_drained() {
            self.progress = now;
        }
        self.outbox.release(self.outbox.queued());
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

    /// The envelope ends, all recipients have been answered, and none was accepted.
    fn is_hopeless(&self) -> bool {
        self.expected.is_empty() && self.tally.is_nobody_accepted()
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

impl Sending {
    /// Why something else is not sent now.
    pub(crate) fn out_of_turn(&self) -> Unsendable {
        match self {
            Self::Doomed => Unsendable::Failed,
            _ => Unsendable::NotNow,
        }
    }

    pub(crate) const fn content() -> Self {
        Self::Content(Stuffer::new())
    }
}
