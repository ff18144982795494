//! The client's side of the dialogue: replies in, commands and events out. No socket and no clock.
//!
//! Everything that moves the state is in this file. The driver loops:
//!
//! 1. [`Dialogue::next_event`] with what was read, until it gives `None`. At [`Event::Ready`] and
//!    [`Event::MayFollow`] it says what comes next: [`send`](Dialogue::send), [`quit`](Dialogue::quit) or nothing yet.
//! 2. Write [`output`](Dialogue::output), and wait for the socket.
//!
//! A server may send anything at any time. A reply that cannot stand where it stands breaks the connection, so that
//! what the dialogue holds is bounded by one message and the one behind it, whatever is thrown at it.

mod offers;
mod outgoing;
mod reply;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::outgoing::Outgoing;

use self::offers::Offers;
use self::reply::ReplyReader;
use super::content::{Body, Prepared};
use super::failure::{Failure, Kind, Stage};

/// How a client behaves, the same for all its connections.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// The name in EHLO.
    pub(crate) helo: String,
    pub(crate) pipelining: Pipelining,
    /// Ask for STARTTLS, and take no less.
    pub(crate) starttls: bool,
    /// Messages are prepared for BDAT.
    pub(crate) bdat: bool,
    /// Some message can only go to a server that offers 8BITMIME.
    pub(crate) eight_bit: bool,
}

/// How much leaves without waiting for replies (RFC 2920), where the server offers it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pipelining {
    /// One command at a time.
    Off,
    /// MAIL, RCPT and DATA in one write, the content after 354; with BDAT, the content in the same write.
    #[default]
    Envelope,
    /// As `envelope`, and the next message's envelope, or QUIT, in one write with the content.
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

/// One connection's dialogue.
#[derive(Debug)]
pub(crate) struct Dialogue {
    manner: Arc<Manner>,
    state: State,
    offers: Offers,
    replies: ReplyReader,
    output: Outgoing,
    /// Where in the output the content under way ends.
    content_end: u64,
    /// Told once what was waiting to be told, after the event before it.
    pending: Option<Event>,
}

#[derive(Debug)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// The TLS handshake is the driver's.
    Securing,
    Ready,
    Message {
        current: Transaction,
        behind: Behind,
    },
    Rset,
    Quitting,
    /// Broken, or done.
    Over,
}

/// What has been sent behind the content of the current message.
#[derive(Debug)]
enum Behind {
    Nothing,
    Message(Arc<Prepared>),
    Quit,
}

/// One message under way.
#[derive(Debug)]
struct Transaction {
    message: Arc<Prepared>,
    /// The reply that is waited for.
    awaits: Awaits,
    accepted_recipients: usize,
    /// The first refusal.
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
enum Awaits {
    Mail,
    Rcpt(usize),
    Data,
    /// The end of the data, or of the chunk with this index.
    Content(usize),
}

/// Classes of replies (RFC 5321 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Positive,
    Intermediate,
    Negative,
}

impl Dialogue {
    /// A connection that was just opened, or that was just secured by implicit TLS.
    pub(crate) fn new(manner: Arc<Manner>) -> Self {
        Self {
            manner,
            state: State::Greeting,
            offers: Offers::default(),
            replies: ReplyReader::new(),
            output: Outgoing::default(),
            content_end: 0,
            pending: None,
        }
    }

    /// What is to be sent, from the front.
    pub(crate) fn output(&mut self) -> &mut Outgoing {
        &mut self.output
    }

    /// Where the dialogue stands.
    pub(crate) fn stage(&self) -> Stage {
        match &self.state {
            State::Greeting => Stage::Greeting,
            State::Ehlo | State::Helo => Stage::Ehlo,
            State::StartTls => Stage::StartTls,
            State::Securing => Stage::Tls,
            State::Message { current, .. } => current.awaits.stage(),
            State::Rset => Stage::Rset,
            State::Ready | State::Quitting | State::Over => Stage::Idle,
        }
    }

    /// Begins a message: after [`Event::Ready`], or after [`Event::MayFollow`] behind the one under way. At any other
    /// time nothing happens and the answer is false.
    pub(crate) fn send(&mut self, message: Arc<Prepared>) -> bool {
        match &mut self.state {
            State::Ready => {
                self.push_envelope(&message);
                self.state = State::message(message);
                true
            }
            State::Message {
                current,
                behind: behind @ Behind::Nothing,
            } if current.awaits.may_follow(&self.manner) => {
                *behind = Behind::Message(Arc::clone(&message));
                self.push_envelope(&message);
                true
            }
            _ => false,
        }
    }

    /// Says QUIT, at the same times as `send`.
    pub(crate) fn quit(&mut self) {
        match &mut self.state {
            State::Ready => self.state = State::Quitting,
            State::Message {
                current,
                behind: behind @ Behind::Nothing,
            } if current.awaits.may_follow(&self.manner) => {
                *behind = Behind::Quit;
            }
            _ => return,
        }
        self.output.push(Bytes::from_static(b"QUIT\r\n"));
    }

    /// TLS is there: everything learned before is forgotten (RFC 3207 section 4.2).
    pub(crate) fn tls_established(&mut self) {
        self.offers = Offers::default();
        self.replies = ReplyReader::new();
        self.push_ehlo();
    }

    /// The server will send no more.
    pub(crate) fn receive_eof(&mut self) -> Event {
        match self.state {
            State::Quitting => self.over(Event::Done),
            _ => self.broken(Kind::Closed, String::new()),
        }
    }

    /// Takes from the front of `input` what it needs for the next event. `None`: all of it was taken.
    pub(crate) fn next_event(&mut self, input: &mut &[u8]) -> Option<Event> {
        if let Some(event) = self.pending.take() {
            return Some(event);
        }
        while !input.is_empty() && !matches!(self.state, State::Over) {
            let line = match self.replies.next_line(input) {
                Ok(line) => line?,
                Err(_) => return Some(self.broken(Kind::Garbage, self.replies.quote())),
            };
            if matches!(self.state, State::Ehlo) {
                self.offers.learn(self.replies.text());
            }
            if line.last
                && let Some(event) = self.reply(line.code)
            {
                return Some(event);
            }
        }
        None
    }

    fn reply(&mut self, code: u16) -> Option<Event> {
        let class = match code {
            421 if !matches!(self.state, State::Quitting) => {
                return Some(self.refused_for_good(code));
            }
            200..=299 => Class::Positive,
            300..=399 => Class::Intermediate,
            _ => Class::Negative,
        };
        match (&mut self.state, class) {
            (State::Greeting, Class::Positive) => {
                self.push_ehlo();
                Some(Event::Greeted)
            }
            (State::Ehlo, Class::Positive) => self.after_ehlo(),
            // RFC 5321 section 3.2: a server that does not know EHLO is asked with HELO.
            (State::Ehlo, Class::Negative) if code >= 500 => {
                self.offers = Offers::default();
                self.output
                    .push(format!("HELO {}\r\n", self.manner.helo).into());
                self.state = State::Helo;
                None
            }
            (State::Helo, Class::Positive) => self.after_ehlo(),
            (State::StartTls, Class::Positive) => {
                self.state = State::Securing;
                Some(Event::StartTls)
            }
            (State::Message { .. }, _) => self.message_reply(code, class),
            (State::Rset, Class::Positive) => {
                self.state = State::Ready;
                Some(Event::Ready)
            }
            (State::Quitting, _) => Some(Event::Goodbye),
            (
                State::Greeting | State::Ehlo | State::Helo | State::StartTls | State::Rset,
                Class::Negative,
            ) => Some(self.refused_for_good(code)),
            _ => Some(self.unexpected(code)),
        }
    }

    fn after_ehlo(&mut self) -> Option<Event> {
        if self.manner.starttls && !self.offers.secured {
            if !self.offers.starttls {
                return Some(self.broken(Kind::NotOffered, "STARTTLS".to_owned()));
            }
            self.output.push(Bytes::from_static(b"STARTTLS\r\n"));
            self.state = State::StartTls;
            return None;
        }
        if self.manner.bdat && !self.offers.chunking {
            return Some(self.broken(Kind::NotOffered, "CHUNKING".to_owned()));
        }
        if self.manner.eight_bit && !self.offers.eight_bit {
            return Some(self.broken(Kind::NotOffered, "8BITMIME".to_owned()));
        }
        self.state = State::Ready;
        Some(Event::Ready)
    }

    fn message_reply(&mut self, code: u16, class: Class) -> Option<Event> {
        let pipelined = self.pipelined();
        let State::Message { current, .. } = &mut self.state else {
            return None;
        };
        let recipients = current.message.recipients;
        let refused = class == Class::Negative;
        if refused {
            current.refuse(code, &self.replies);
        }
        match (current.awaits, class) {
            (Awaits::Mail, Class::Positive | Class::Negative) => {
                if refused && !pipelined {
                    return self.end_message(false);
                }
                current.awaits = Awaits::Rcpt(0);
                self.push_command(1);
                None
            }
            (Awaits::Rcpt(index), Class::Positive | Class::Negative) => {
                current.accepted_recipients += usize::from(!refused);
                if index + 1 < recipients {
                    current.awaits = Awaits::Rcpt(index + 1);
                    self.push_command(index + 2);
                    return None;
                }
                if current.accepted_recipients == 0 && !pipelined {
                    return self.end_message(true);
                }
                match &current.message.body {
                    Body::Data(_) => {
                        current.awaits = Awaits::Data;
                        self.push_command(recipients + 1);
                    }
                    Body::Chunks(_) => {
                        current.awaits = Awaits::Content(0);
                        self.push_chunk(0);
                    }
                }
                None
            }
            (Awaits::Data, Class::Intermediate) => self.push_data(),
            // What MAIL and RCPT have opened is open still, unless MAIL itself was refused; RSET is right in either case.
            (Awaits::Data, Class::Negative) => self.end_message(true),
            (Awaits::Content(index), Class::Positive | Class::Negative) => {
                self.content_reply(index, refused, code)
            }
            _ => Some(self.unexpected(code)),
        }
    }

    fn content_reply(&mut self, index: usize, refused: bool, code: u16) -> Option<Event> {
        let pipelined = self.pipelined();
        let State::Message { current, .. } = &mut self.state else {
            return None;
        };
        let (chunks, last) = match &current.message.body {
            Body::Data(_) => (false, true),
            Body::Chunks(chunks) => (true, index + 1 >= chunks.len()),
        };
        if last && self.output.sent() < self.content_end {
            // The verdict came before the end of the content, which nothing can follow but a close.
            return Some(if refused {
                self.refused_for_good(code)
            } else {
                self.unexpected(code)
            });
        }
        if !last && (!refused || pipelined) {
            current.awaits = Awaits::Content(index + 1);
            self.push_chunk(index + 1);
            return None;
        }
        // After DATA the transaction is over whatever the reply was (RFC 5321 section 4.1.1.4); a BDAT that was refused may
        // have left it open (RFC 3030 section 2).
        let reset = chunks && current.failure.is_some();
        self.end_message(reset)
    }

    /// The message's last reply was read. What was sent behind it, if anything, is what is under way now.
    fn end_message(&mut self, reset: bool) -> Option<Event> {
        let State::Message { current, behind } = std::mem::replace(&mut self.state, State::Ready)
        else {
            return None;
        };
        match behind {
            Behind::Message(message) => self.state = State::message(message),
            Behind::Quit => self.state = State::Quitting,
            Behind::Nothing if reset => {
                self.output.push(Bytes::from_static(b"RSET\r\n"));
                self.state = State::Rset;
            }
            Behind::Nothing => self.pending = Some(Event::Ready),
        }
        Some(current.failure.map_or(Event::Accepted, Event::Failed))
    }

    fn push_ehlo(&mut self) {
        let secured = matches!(self.state, State::Securing);
        self.offers.secured = secured;
        self.output
            .push(format!("EHLO {}\r\n", self.manner.helo).into());
        self.state = State::Ehlo;
    }

    fn push_envelope(&mut self, message: &Prepared) {
        let envelope = message.envelope(self.offers.size);
        if !self.pipelined() {
            self.output.push(envelope.command(0));
            return;
        }
        self.output.push(envelope.all());
        if let Body::Chunks(chunks) = &message.body {
            chunks
                .iter()
                .for_each(|chunk| self.output.push(chunk.clone()));
            self.content_end = self.output.pushed();
        }
    }

    /// Without pipelining, a command leaves when the one before it was answered.
    fn push_command(&mut self, index: usize) {
        if !self.pipelined()
            && let State::Message { current, .. } = &self.state
        {
            self.output
                .push(current.message.envelope(self.offers.size).command(index));
        }
    }

    fn push_chunk(&mut self, index: usize) {
        if !self.pipelined()
            && let State::Message { current, .. } = &self.state
            && let Body::Chunks(chunks) = &current.message.body
        {
            self.output
                .push(chunks.get(index).cloned().unwrap_or_default());
            self.content_end = self.output.pushed();
        }
    }

    fn push_data(&mut self) -> Option<Event> {
        let State::Message { current, .. } = &mut self.state else {
            return None;
        };
        current.awaits = Awaits::Content(0);
        if current.accepted_recipients == 0 {
            // RFC 2920 section 3.1: a server may say 354 though nobody was accepted; it is sent an empty message.
            self.output.push(Bytes::from_static(b".\r\n"));
            self.content_end = self.output.pushed();
            return None;
        }
        if let Body::Data(wire) = &current.message.body {
            self.output.push(wire.clone());
            self.content_end = self.output.pushed();
        }
        (self.manner.pipelining == Pipelining::Full && self.offers.pipelining)
            .then_some(Event::MayFollow)
    }

    fn pipelined(&self) -> bool {
        self.manner.pipelining != Pipelining::Off && self.offers.pipelining
    }

    fn unexpected(&mut self, code: u16) -> Event {
        self.broken(Kind::Unexpected(code), self.replies.quote())
    }

    fn refused_for_good(&mut self, code: u16) -> Event {
        self.broken(Kind::Reply(code), self.replies.quote())
    }

    fn broken(&mut self, kind: Kind, detail: String) -> Event {
        let failure = Failure {
            stage: self.stage(),
            kind,
            detail,
        };
        self.over(Event::Broken(failure))
    }

    fn over(&mut self, event: Event) -> Event {
        self.state = State::Over;
        event
    }
}

impl State {
    fn message(message: Arc<Prepared>) -> Self {
        let current = Transaction {
            message,
            awaits: Awaits::Mail,
            accepted_recipients: 0,
            failure: None,
        };
        Self::Message {
            current,
            behind: Behind::Nothing,
        }
    }
}

impl Transaction {
    fn refuse(&mut self, code: u16, replies: &ReplyReader) {
        if self.failure.is_none() {
            let kind = Kind::Reply(code);
            self.failure = Some(Failure {
                stage: self.awaits.stage(),
                kind,
                detail: replies.quote(),
            });
        }
    }
}

impl Awaits {
    fn stage(self) -> Stage {
        match self {
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Content(_) => Stage::Content,
        }
    }

    /// With BDAT a refusal may leave the transaction open, which an envelope behind it could not know.
    fn may_follow(self, manner: &Manner) -> bool {
        matches!(self, Self::Content(_)) && manner.pipelining == Pipelining::Full && !manner.bdat
    }
}
