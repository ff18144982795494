//! What replies do to a connection. Everything that a reply changes is in this file, and for
//! transactions in `state/transaction.rs`.
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

mod transaction;

use std::time::Instant;

pub(crate) use self::transaction::Tally;

#[cfg(feature = "auth")]
use crate::auth::Exchange;
use crate::config::{Protocol, StartTls};
use crate::connection::Connection;
use crate::content::Stuffer;
use crate::error::{Error, Fault};
use crate::event::Event;
use crate::expected::Command;
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

    /// The reply to the front needs nothing else.
    fn answered(&mut self) {
        self.expected.pop();
        self.release();
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
        let others = self.config.protocol() == Protocol::Lmtp && self.tally.has_several_accepted();
        let is_message = self
            .expected
            .front()
            .is_some_and(|expect| expect.command.hands_over() && self.outbox.sent() >= expect.end);
        self.fail_as(Fault::Refused(reply), others && is_message)
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
