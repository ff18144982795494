//! What a caller can say: transactions with their contents, RSET, NOOP and QUIT.

use std::time::Instant;

use crate::connection::Connection;
use crate::content::Stuffer;
use crate::error::Unsendable;
use crate::expected::Command;
use crate::extensions::Extension;
use crate::mail::{Mail, Rcpt};
use crate::state::{Pending, Phase, Sending};

/// How much of a content is copied into the output before it is sent.
pub const OUTPUT_HIGH_WATER: usize = 64 * 1024;

impl Connection {
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

    /// The envelope ends, all recipients have been answered, and none was accepted.
    fn is_hopeless(&self) -> bool {
        self.expected.is_empty() && self.tally.is_nobody_accepted()
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
