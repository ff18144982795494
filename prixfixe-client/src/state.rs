//! What replies do to a connection. Everything that a reply changes is in this file.
//!
//! There are two ends of a transaction, and they may be far apart: the caller, who is at the
//! envelope or at the content ([`Sending`]), and the replies, which come in the order of the
//! commands ([`Expected`] has them, [`Tally`] what they have said so far). With pipelining the
//! caller may be one transaction ahead: the next envelope leaves behind a content whose reply has
//! not come.
//!
//! A transaction that is **doomed** is one of which nothing more is sent: what has not been
//! released is dropped, the replies to what has are waited for, and then it is over. An outcome is
//! told only once the server has said it.
//!
//! [`Expected`]: crate::expected::Expected

use std::collections::VecDeque;
use std::time::Instant;

#[cfg(feature = "auth")]
use crate::auth::Exchange;
use crate::config::{Protocol, StartTls};
use crate::connection::Connection;
use crate::content::Stuffer;
use crate::error::{Error, Fault};
use crate::event::Event;
use crate::expected::{Command, Expect};
use crate::extensions::{Extension, Extensions};
use crate::reply::Reply;

/// Who speaks what over the connection.
#[derive(Debug)]
pub(crate) enum Phase {
    Talking,
    #[cfg(feature = "auth")]
    Authenticating(Box<Exchange>),
    /// The TLS handshake is the caller's.
    Securing,
    /// Failed, or QUIT was answered.
    Closed,
}

/// What the caller is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// No transaction, or one whose content was given whole.
    Idle,
    /// MAIL was said.
    Envelope {
        recipients: usize,
        smtp_utf8: bool,
        binary: bool,
    },
    /// DATA was said.
    Data,
    /// It was answered with 354.
    Content(Stuffer),
    /// Chunks can be given.
    Chunks { begun: bool },
    /// The last chunk was given. Nothing may follow it: refused, it may leave the transaction open
    /// (RFC 3030 section 2).
    LastChunk,
    /// Nothing more of the transaction is sent.
    Doomed,
}

/// What the replies of a transaction have said so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    is_mail_accepted: bool,
    recipients: usize,
    /// Those that were accepted and that no reply to the content has been about.
    accepted: VecDeque<usize>,
    /// A chunk was refused for somebody.
    is_chunk_refused: bool,
}

/// What is told next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Ready,
    Content,
    Done,
}

/// An event without its reply.
#[derive(Debug, Clone, Copy)]
enum Told {
    Greeted,
    StartTls,
    StartTlsRefused,
    Ready,
    #[cfg(feature = "auth")]
    Authenticated,
    #[cfg(feature = "auth")]
    AuthenticationRefused,
    Mail,
    Rcpt(usize),
    Data,
    Content,
    Chunk,
    Message(Option<usize>),
    Reset,
    Noop,
    Goodbye,
}

/// Classes of replies (RFC 5321 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Positive,
    Intermediate,
    Negative,
}

type Outcome = Result<Option<Told>, Error>;

impl Connection {
    /// Takes from the front of `input` what it needs for the next event. `None`: all of it was
    /// taken.
    ///
    /// # Errors
    ///
    /// When the connection is of no use any more. Nothing comes after that.
    pub fn poll_event(
        &mut self,
        now: Instant,
        input: &mut &[u8],
    ) -> Result<Option<Event<'_>>, Error> {
        loop {
            if let Some(pending) = self.pending.take() {
                return Ok(Some(pending.event()));
            }
            if input.is_empty() {
                return Ok(None);
            }
            match self.phase {
                Phase::Closed => {
                    *input = &[];
                    return Ok(None);
                }
                Phase::Securing => return Err(self.fail(Fault::Injected)),
                _ => {}
            }
            let line = match self.reader.next_line(input) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(why) => {
                    let said = self.reader.excerpt();
                    return Err(self.fail(Fault::Malformed { why, said }));
                }
            };
            if !line.first {
                self.learn();
            }
            if line.last
                && let Some(told) = self.receive(now, input.is_empty())?
            {
                return Ok(Some(told.event(self.reader.reply())));
            }
        }
    }

    /// Nothing more of the transaction is sent. It is over when what was sent has been answered.
    pub(crate) fn doom(&mut self) {
        // What is held back behind a transaction that was doomed before is RSET or QUIT.
        if self.sending != Sending::Doomed {
            self.expected.drop_held();
            self.outbox.truncate();
            self.sending = Sending::Doomed;
        }
        self.conclude();
    }

    /// A line of the reply to EHLO names an extension, but for the first.
    fn learn(&mut self) {
        let is_hello = self
            .expected
            .front()
            .is_some_and(|expect| expect.command == Command::Ehlo);
        if is_hello && self.reader.reply().is_positive() {
            self.extensions.learn(self.reader.last_line());
        }
    }

    /// A whole reply was read. `is_alone`: nothing came behind it.
    fn receive(&mut self, now: Instant, is_alone: bool) -> Outcome {
        let reply = self.reader.reply();
        let class = match reply.code() / 100 {
            2 => Class::Positive,
            3 => Class::Intermediate,
            _ => Class::Negative,
        };
        let Some(expect) = self.expected.front() else {
            return Err(self.out_of_place(class));
        };
        if reply.code() == 421 && expect.command != Command::Quit {
            return Err(self.shut());
        }
        if self.outbox.sent() < expect.end {
            // It came before all of what it answers had been sent, and nothing can be made of what
            // follows.
            return Err(self.out_of_place(class));
        }
        self.progress = now;
        match expect.command {
            Command::Mail
            | Command::Rcpt
            | Command::Data
            | Command::Message
            | Command::Empty
            | Command::Chunk { .. } => self.receive_in_transaction(now, expect, class),
            _ => self.receive_between(now, expect.command, class, is_alone),
        }
    }

    fn receive_between(
        &mut self,
        now: Instant,
        command: Command,
        class: Class,
        is_alone: bool,
    ) -> Outcome {
        match (command, class) {
            (Command::Greeting, Class::Positive) => {
                self.expected.pop();
                self.say_hello(now);
                Ok(Some(Told::Greeted))
            }
            (Command::Ehlo | Command::Helo, Class::Positive) => self.after_hello(now),
            (Command::Ehlo, Class::Negative) if self.may_say_helo() => {
                self.expected.pop();
                self.extensions = Extensions::default();
                self.say_name(now, Command::Helo, b"HELO ");
                Ok(None)
            }
            (Command::StartTls, Class::Positive) => {
                if !is_alone {
                    // RFC 3207 section 6: what came in plaintext may be an attacker's.
                    return Err(self.fail(Fault::Injected));
                }
                self.expected.pop();
                self.phase = Phase::Securing;
                Ok(Some(Told::StartTls))
            }
            (Command::StartTls, Class::Negative) if self.config.start_tls != StartTls::Required => {
                self.expected.pop();
                self.pending = Some(Pending::Ready);
                Ok(Some(Told::StartTlsRefused))
            }
            #[cfg(feature = "auth")]
            (Command::Auth, _) => self.receive_in_auth(now, class),
            (Command::Reset, Class::Positive) => {
                self.answered();
                self.conclude_reset();
                Ok(Some(Told::Reset))
            }
            (Command::Noop, Class::Positive | Class::Negative) => {
                self.answered();
                Ok(Some(Told::Noop))
            }
            (Command::Quit, _) => {
                self.close();
                Ok(Some(Told::Goodbye))
            }
            _ => Err(self.out_of_place(class)),
        }
    }

    /// RFC 5321 section 3.2: a server that does not know EHLO is asked with HELO. LMTP has no such
    /// thing.
    fn may_say_helo(&self) -> bool {
        self.config.protocol() == Protocol::Smtp && self.reader.reply().is_permanent()
    }

    fn after_hello(&mut self, now: Instant) -> Outcome {
        let wanted = match self.config.start_tls {
            StartTls::Never => false,
            StartTls::WhenOffered => self.extensions.start_tls,
            StartTls::Required => true,
        };
        if !wanted || self.is_secured {
            self.expected.pop();
            return Ok(Some(Told::Ready));
        }
        if !self.extensions.start_tls {
            return Err(self.fail(Fault::NotOffered(Extension::StartTls)));
        }
        self.expected.pop();
        self.say(now, Command::StartTls, b"STARTTLS\r\n");
        Ok(None)
    }

    #[cfg(feature = "auth")]
    fn receive_in_auth(&mut self, now: Instant, class: Class) -> Outcome {
        let Phase::Authenticating(exchange) = &mut self.phase else {
            return Err(self.out_of_place(class));
        };
        let result = match class {
            Class::Intermediate => exchange.respond(self.reader.reply()).map(Some),
            Class::Positive => exchange.finish().map(|()| None),
            Class::Negative => Ok(None),
        };
        let response = match result {
            Ok(response) => response,
            Err(fault) => return Err(self.fail(Fault::Authentication(fault))),
        };
        self.expected.pop();
        if let Some(response) = response {
            self.outbox.push_secret(&response);
            self.enqueue(now, Command::Auth);
            return Ok(None);
        }
        self.phase = Phase::Talking;
        Ok(Some(match class {
            Class::Positive => Told::Authenticated,
            _ => Told::AuthenticationRefused,
        }))
    }

    fn receive_in_transaction(&mut self, now: Instant, expect: Expect, class: Class) -> Outcome {
        let is_refused = class == Class::Negative;
        match (expect.command, class) {
            (Command::Data, Class::Intermediate) => self.begin_content(now),
            (Command::Data, Class::Positive) | (_, Class::Intermediate) => {
                Err(self.out_of_place(class))
            }
            (Command::Mail, _) => {
                self.expected.pop();
                self.tally.is_mail_accepted = !is_refused;
                if is_refused {
                    self.doom();
                }
                self.release();
                Ok(Some(Told::Mail))
            }
            (Command::Rcpt, _) => {
                let recipient = self.tally.recipient(!is_refused);
                self.expected.pop();
                self.after_recipient();
                self.release();
                Ok(Some(Told::Rcpt(recipient)))
            }
            (Command::Data, Class::Negative) => {
                self.expected.pop();
                self.doom();
                Ok(Some(Told::Data))
            }
            (Command::Empty, _) => {
                // The server's transaction ended with it.
                self.tally.clear();
                self.answered();
                self.conclude();
                Ok(None)
            }
            (Command::Chunk { last: false }, _) => self.receive_chunk(is_refused),
            (Command::Chunk { last: true } | Command::Message, _) => {
                self.receive_message(expect.command, is_refused)
            }
            _ => Err(self.out_of_place(class)),
        }
    }

    /// All recipients may have been answered now.
    fn after_recipient(&mut self) {
        match self.expected.front() {
            Some(expect) if expect.command == Command::Rcpt => {}
            // What would follow has not left yet, and nobody was accepted for it.
            Some(expect)
                if matches!(expect.command, Command::Data | Command::Chunk { .. })
                    && self.tally.is_nobody_accepted()
                    && self.expected.is_front_held() =>
            {
                self.doom();
            }
            None if self.sending == (Sending::Chunks { begun: false }) => {
                if self.tally.is_nobody_accepted() {
                    self.doom();
                } else {
                    self.pending = Some(Pending::Content);
                }
            }
            _ => self.conclude(),
        }
    }

    /// The 354 has come.
    fn begin_content(&mut self, now: Instant) -> Outcome {
        let is_for_nobody = self.tally.is_nobody_accepted() || self.sending == Sending::Doomed;
        if is_for_nobody && self.config.protocol() == Protocol::Lmtp {
            // RFC 2033 section 4.2: it must be a 503, and how many replies would follow nobody
            // knows.
            return Err(self.out_of_place(Class::Intermediate));
        }
        self.expected.pop();
        if is_for_nobody {
            // RFC 2920 section 3.1: it is sent an empty message.
            self.sending = Sending::Doomed;
            self.say(now, Command::Empty, b".\r\n");
            return Ok(None);
        }
        self.sending = Sending::content();
        self.enqueue(now, Command::Message);
        if let Some(expect) = self.expected.front_mut() {
            // Until the caller has given all of it.
            expect.end = u64::MAX;
        }
        Ok(Some(Told::Content))
    }

    fn receive_chunk(&mut self, is_refused: bool) -> Outcome {
        if !is_refused && self.tally.is_nobody_accepted() {
            return Err(self.out_of_place(Class::Positive));
        }
        self.expected.pop();
        if is_refused {
            self.doom();
        }
        self.release();
        Ok(Some(Told::Chunk))
    }

    /// A reply to the end of a content.
    fn receive_message(&mut self, command: Command, is_refused: bool) -> Outcome {
        let is_chunk = command != Command::Message;
        let is_failed = is_chunk && self.sending == Sending::Doomed;
        if !is_refused && (self.tally.is_nobody_accepted() || is_failed) {
            return Err(self.out_of_place(Class::Positive));
        }
        let recipient = match self.config.protocol() {
            Protocol::Smtp => None,
            // RFC 2033 section 4.2: one reply for each recipient, in their order.
            Protocol::Lmtp => self.tally.accepted.pop_front(),
        };
        self.tally.is_chunk_refused |= is_refused && is_chunk;
        if recipient.is_none() || self.tally.is_nobody_accepted() {
            self.expected.pop();
            self.needs_reset |= self.tally.is_chunk_refused;
            if is_chunk {
                self.sending = Sending::Idle;
            }
            self.finish();
            self.release();
        }
        Ok(Some(Told::Message(recipient)))
    }

    /// The reply to the front needs nothing else.
    fn answered(&mut self) {
        self.expected.pop();
        self.release();
    }

    /// A doomed transaction is over when everything was answered.
    fn conclude(&mut self) {
        if self.sending == Sending::Doomed && self.expected.is_empty() {
            self.needs_reset = self.tally.is_open();
            self.sending = Sending::Idle;
            self.finish();
        }
    }

    fn conclude_reset(&mut self) {
        self.conclude();
        if self.expected.is_empty() {
            self.needs_reset = false;
        }
    }

    fn finish(&mut self) {
        self.tally.clear();
        self.pending = Some(Pending::Done);
    }

    /// A reply that cannot stand here: a refusal says more than that.
    fn out_of_place(&mut self, class: Class) -> Error {
        let reply = self.reader.reply().to_buf();
        match class {
            Class::Negative => self.fail(Fault::Refused(reply)),
            _ => self.fail(Fault::Unexpected(reply)),
        }
    }

    /// 421: the server closes, and takes nothing of what it has not answered (RFC 5321 section
    /// 3.8). With LMTP it speaks for one recipient, and others may have been served.
    fn shut(&mut self) -> Error {
        let reply = self.reader.reply().to_buf();
        let others = self.config.protocol() == Protocol::Lmtp && self.tally.accepted.len() > 1;
        let is_message = self
            .expected
            .front()
            .is_some_and(|expect| expect.command.hands_over() && self.outbox.sent() >= expect.end);
        self.fail_as(Fault::Refused(reply), others && is_message)
    }
}

impl Tally {
    pub(crate) fn is_nobody_accepted(&self) -> bool {
        self.accepted.is_empty()
    }

    /// The next recipient was answered; gives its number.
    fn recipient(&mut self, is_accepted: bool) -> usize {
        let recipient = self.recipients;
        self.recipients += 1;
        if is_accepted {
            self.accepted.push_back(recipient);
        }
        recipient
    }

    /// The server holds a transaction.
    fn is_open(&self) -> bool {
        self.is_mail_accepted || !self.accepted.is_empty()
    }

    fn clear(&mut self) {
        self.is_mail_accepted = false;
        self.recipients = 0;
        self.accepted.clear();
        self.is_chunk_refused = false;
    }
}

impl Pending {
    fn event(self) -> Event<'static> {
        match self {
            Self::Ready => Event::Ready,
            Self::Content => Event::Content,
            Self::Done => Event::Done,
        }
    }
}

impl Told {
    fn event(self, reply: Reply<'_>) -> Event<'_> {
        match self {
            Self::Greeted => Event::Greeted(reply),
            Self::StartTls => Event::StartTls,
            Self::StartTlsRefused => Event::StartTlsRefused(reply),
            Self::Ready => Event::Ready,
            #[cfg(feature = "auth")]
            Self::Authenticated => Event::Authenticated(reply),
            #[cfg(feature = "auth")]
            Self::AuthenticationRefused => Event::AuthenticationRefused(reply),
            Self::Mail => Event::Mail(reply),
            Self::Rcpt(recipient) => Event::Rcpt { recipient, reply },
            Self::Data => Event::Data(reply),
            Self::Content => Event::Content,
            Self::Chunk => Event::Chunk(reply),
            Self::Message(recipient) => Event::Message { recipient, reply },
            Self::Reset => Event::Reset(reply),
            Self::Noop => Event::Noop(reply),
            Self::Goodbye => Event::Goodbye(reply),
        }
    }
}
