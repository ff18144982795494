//! The server's side of a connection to a milter.

use core::net::{IpAddr, SocketAddr};

use crate::answer::{Said, read};
use crate::kind::Kind;
use crate::negotiation::{Agreed, NEGOTIATE};
use crate::packet::{Packet, Packets, write};
use crate::{Answer, Event, Macros, MilterError, Modification, Offer, Steps};

/// The largest packet that is taken from a milter, whatever was agreed on.
const MAX_PACKET: u32 = 1 << 20;
/// The most changes of one message, and the most bytes that they have beside a body.
const MAX_CHANGES: usize = 10_000;
const MAX_CHANGED: usize = 1 << 20;

const MACRO: u8 = b'D';

/// Where the client of a mail server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// In a network.
    Ip(SocketAddr),
    /// On this machine, over a Unix socket.
    Unix,
    /// Nobody knows.
    Unknown,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it says whether to wait"]
pub enum Sent {
    /// The milter is not asked: it does not want that, or has accepted already.
    Nothing,
    /// It is told, and answers nothing.
    Unanswered,
    /// It is asked, and answers.
    Answered,
}

/// The server's side of a connection to a milter. The [documentation of the crate](crate) has the
/// run loop.
#[derive(Debug)]
pub struct MilterClient {
    offer: Offer,
    agreed: Agreed,
    packets: Packets,
    output: Vec<u8>,
    waiting: Waiting,
    /// The milter has no questions about this connection any more.
    accepted: bool,
    message: Message,
    changes: usize,
    changed: usize,
    body: u64,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Negotiation,
    Nothing,
    Answer(Kind),
    /// The connection has failed, or was given up.
    Closed,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    None,
    /// The milter looks at it; it has skipped the rest of this kind.
    Open(Option<Kind>),
    /// The milter has settled it.
    Settled,
}

impl MilterClient {
    /// A new connection. Its output begins with the offer.
    #[must_use]
    pub fn new(offer: Offer) -> Self {
        let mut output = Vec::new();
        offer.write(&mut output);
        Self {
            offer,
            agreed: Agreed::default(),
            packets: Packets::new(MAX_PACKET),
            output,
            waiting: Waiting::Negotiation,
            accepted: false,
            message: Message::None,
            changes: 0,
            changed: 0,
            body: 0,
        }
    }

    /// What is to be sent to the milter.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn pending_output(&self) -> usize {
        self.output.len()
    }

    /// Takes what the milter has sent. [`next_event`](Self::next_event) is to be asked before more
    /// is read: nothing is dropped here.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.packets.receive(bytes);
    }

    /// What the milter has said; `None`: nothing more so far.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The connection is to be closed then.
    pub fn next_event(&mut self) -> Result<Option<Event>, MilterError> {
        let event = match self.packets.next() {
            Ok(None) => return Ok(None),
            Ok(Some(packet)) => self.event(&packet),
            Err(error) => Err(error),
        };
        if event.is_err() {
            self.waiting = Waiting::Closed;
        }
        event.map(Some)
    }

    /// Whether the milter has an answer to give.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.waiting, Waiting::Negotiation | Waiting::Answer(_))
    }

    /// Whether the milter looks at a message whose content is sent now: it has been told of MAIL,
    /// and nothing is settled.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.accepted && matches!(self.message, Message::Open(_))
    }

    /// Whether the blank behind the colon is a part of a header field's value.
    #[must_use]
    pub fn keeps_leading_space(&self) -> bool {
        self.agreed.steps.contains(Steps::LEADING_SPACE)
    }

    /// The most bytes that [`body`](Self::body) takes at once.
    #[must_use]
    pub const fn max_data(&self) -> usize {
        self.agreed.max_data.bytes()
    }

    /// A client has connected; its host is `unknown` where its name is not known.
    ///
    /// # Errors
    ///
    /// [`MilterError::WrongTime`] while the milter is waited for. This is so for every command.
    pub fn connect(
        &mut self,
        host: &str,
        address: &Address,
        macros: &Macros,
    ) -> Result<Sent, MilterError> {
        let (family, port, text) = match address {
            Address::Ip(it) => match it.ip().to_canonical() {
                IpAddr::V4(ip) => (b'4', it.port(), ip.to_string()),
                IpAddr::V6(ip) => (b'6', it.port(), ip.to_string()),
            },
            Address::Unix => (b'L', 0, String::from("localhost")),
            Address::Unknown => (b'U', 0, String::new()),
        };
        let host = without_nul(host);
        let mut fields = [&*host, b"\0", &[family]].concat();
        if family != b'U' {
            fields.extend_from_slice(&port.to_be_bytes());
            fields.extend_from_slice(text.as_bytes());
            fields.push(0);
        }
        self.send(Kind::Connect, &[&fields], macros)
    }

    /// The client introduces itself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn hello(&mut self, name: &str, macros: &Macros) -> Result<Sent, MilterError> {
        self.send(Kind::Hello, &[&without_nul(name), b"\0"], macros)
    }

    /// The client begins a message: an address without angle brackets, and parameters such as
    /// `SIZE=10`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn mail(
        &mut self,
        address: &str,
        parameters: &[&str],
        macros: &Macros,
    ) -> Result<Sent, MilterError> {
        self.abort_unsettled()?;
        self.message = Message::Open(None);
        (self.changes, self.changed, self.body) = (0, 0, 0);
        let fields = path(address, parameters);
        self.send(Kind::Mail, &[&fields], macros)
    }

    /// The client names a recipient.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn rcpt(
        &mut self,
        address: &str,
        parameters: &[&str],
        macros: &Macros,
    ) -> Result<Sent, MilterError> {
        let fields = path(address, parameters);
        self.send(Kind::Rcpt, &[&fields], macros)
    }

    /// The client wants to send the content.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn data(&mut self, macros: &Macros) -> Result<Sent, MilterError> {
        self.send(Kind::Data, &[], macros)
    }

    /// A header field, its folded lines separated by line feeds. What a packet has no room for is
    /// cut.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<Sent, MilterError> {
        let room = self.max_data().saturating_sub(2);
        let (name, value) = (cut(name, room), cut(value, room.saturating_sub(name.len())));
        let fields: [&[u8]; 4] = [&name, b"\0", &value, b"\0"];
        self.send(Kind::Header, &fields, &Macros::default())
    }

    /// The header has come to its end.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn end_of_header(&mut self, macros: &Macros) -> Result<Sent, MilterError> {
        self.send(Kind::EndOfHeader, &[], macros)
    }

    /// A piece of the body.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and for a piece of more than [`max_data`](Self::max_data).
    pub fn body(&mut self, piece: &[u8]) -> Result<Sent, MilterError> {
        if piece.len() > self.max_data() {
            return Err(MilterError::WrongTime);
        }
        self.send(Kind::Body, &[piece], &Macros::default())
    }

    /// The message has come to its end. What the milter wants changed comes before its answer.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn end_of_message(&mut self, macros: &Macros) -> Result<Sent, MilterError> {
        self.send(Kind::EndOfMessage, &[], macros)
    }

    /// A command that is none of SMTP's.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn unknown(&mut self, line: &str) -> Result<Sent, MilterError> {
        let fields: [&[u8]; 2] = [&without_nul(line), b"\0"];
        self.send(Kind::Unknown, &fields, &Macros::default())
    }

    /// The message is given up. There is no answer.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn abort(&mut self) -> Result<(), MilterError> {
        self.abort_unsettled()?;
        self.message = Message::None;
        Ok(())
    }

    /// The client's connection is over, and this one with it. There is no answer.
    pub fn quit(&mut self) {
        if self.waiting == Waiting::Nothing {
            write(&mut self.output, b'Q', &[]);
        }
        self.waiting = Waiting::Closed;
    }

    /// The client's connection is over, and another client's comes next. There is no answer.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect): then close the connection.
    pub fn next_client(&mut self) -> Result<(), MilterError> {
        self.abort()?;
        write(&mut self.output, b'K', &[]);
        self.accepted = false;
        Ok(())
    }

    fn abort_unsettled(&mut self) -> Result<(), MilterError> {
        self.idle()?;
        if !self.accepted && self.message != Message::None {
            write(&mut self.output, b'A', &[]);
        }
        Ok(())
    }

    /// Nothing is waited for, and nothing has come that nobody asked for.
    fn idle(&self) -> Result<(), MilterError> {
        match self.waiting == Waiting::Nothing && self.packets.is_empty() {
            true => Ok(()),
            false => Err(MilterError::WrongTime),
        }
    }

    fn send(&mut self, kind: Kind, fields: &[&[u8]], macros: &Macros) -> Result<Sent, MilterError> {
        self.idle()?;
        if kind.needs_message() && self.message == Message::None {
            return Err(MilterError::WrongTime);
        }
        let (absent, silent) = kind.steps();
        let settled = kind != Kind::Unknown && self.message == Message::Settled;
        let skipped = kind.is_repeated() && self.message == Message::Open(Some(kind));
        let unwanted = absent.is_some_and(|it| self.agreed.steps.contains(it));
        if self.accepted || settled || skipped || unwanted {
            return Ok(Sent::Nothing);
        }
        self.tell_macros(kind, macros);
        write(&mut self.output, kind.command(), fields);
        if silent.is_some_and(|it| self.agreed.steps.contains(it)) {
            return Ok(Sent::Unanswered);
        }
        self.waiting = Waiting::Answer(kind);
        Ok(Sent::Answered)
    }

    fn tell_macros(&mut self, kind: Kind, macros: &Macros) {
        let Some(stage) = kind.stage() else {
            return;
        };
        let told = self.agreed.macros.select(stage, macros);
        if !told.is_empty() {
            write(&mut self.output, MACRO, &[&[kind.command()], &told]);
        }
    }

    fn event(&mut self, packet: &Packet) -> Result<Event, MilterError> {
        let kind = match self.waiting {
            Waiting::Negotiation if packet.command == NEGOTIATE => {
                self.agreed = Agreed::read(&self.offer, &packet.fields)?;
                self.waiting = Waiting::Nothing;
                return Ok(Event::Negotiated);
            }
            Waiting::Answer(kind) => kind,
            _ => return Err(MilterError::Unexpected(packet.command)),
        };
        match read(packet)? {
            Said::Progress => Ok(Event::Progress),
            Said::ConnectionFails => Err(MilterError::Closing),
            Said::Answer(answer) => {
                self.answered(kind, packet.command, &answer)?;
                Ok(Event::Answer(answer))
            }
            Said::Change(change, action) => {
                // Changes belong to the end of the message, and to nothing before it.
                if kind != Kind::EndOfMessage {
                    return Err(MilterError::Unexpected(packet.command));
                }
                if !self.agreed.actions.contains(action) {
                    return Err(MilterError::NotNegotiated(packet.command));
                }
                self.count(&change, packet.fields.len())?;
                Ok(Event::Change(change))
            }
        }
    }

    fn count(&mut self, change: &Modification, size: usize) -> Result<(), MilterError> {
        match change {
            // Empty ones would never come to the limit of a body.
            Modification::ReplaceBody(piece) if !piece.is_empty() => {
                self.body += piece.len() as u64;
            }
            _ => {
                self.changes += 1;
                self.changed += size;
            }
        }
        let within = self.body <= self.offer.max_body
            && self.changes <= MAX_CHANGES
            && self.changed <= MAX_CHANGED;
        within.then_some(()).ok_or(MilterError::TooManyChanges)
    }

    fn answered(&mut self, kind: Kind, command: u8, answer: &Answer) -> Result<(), MilterError> {
        self.waiting = Waiting::Nothing;
        let of_connection = matches!(kind, Kind::Connect | Kind::Hello);
        match answer {
            Answer::Skip if !self.agreed.steps.contains(Steps::SKIP) => {
                return Err(MilterError::NotNegotiated(command));
            }
            Answer::Skip if !kind.is_repeated() => return Err(MilterError::Unexpected(command)),
            Answer::Skip => self.message = Message::Open(Some(kind)),
            // There is no message to throw away.
            Answer::Discard if of_connection || kind == Kind::Unknown => {
                return Err(MilterError::Unexpected(command));
            }
            Answer::Continue if kind == Kind::EndOfMessage => self.message = Message::None,
            Answer::Continue => {}
            Answer::Accept if of_connection => self.accepted = true,
            _ if kind == Kind::EndOfMessage => self.message = Message::None,
            Answer::Accept | Answer::Discard if kind != Kind::Unknown => {
                self.message = Message::Settled;
            }
            // A recipient is refused, not the message.
            _ if of_connection || matches!(kind, Kind::Rcpt | Kind::Unknown) => {}
            _ => self.message = Message::Settled,
        }
        Ok(())
    }
}

/// An address in its angle brackets, and parameters, each with its NUL.
fn path(address: &str, parameters: &[&str]) -> Vec<u8> {
    let mut fields = [b"<", &*without_nul(address), b">\0"].concat();
    for parameter in parameters {
        fields.extend_from_slice(&without_nul(parameter));
        fields.push(0);
    }
    fields
}

fn without_nul(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| *byte != 0).collect()
}

fn cut(text: &[u8], room: usize) -> Vec<u8> {
    let bytes = text.iter().copied().filter(|byte| *byte != 0);
    bytes.take(room).collect()
}
