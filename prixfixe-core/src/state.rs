//! Everything that moves the dialogue from one state to another is in this file, and nothing but this file
//! does so.
//!
//! A state carries what only it needs. What holds beside it (EHLO or HELO, TLS, how many errors, the end of
//! the input) are fields of the [connection](crate::Connection), lent here as a [`Session`].

use crate::body::{ChunkedBody, DataBody, Progress, Refusal};
use crate::chunk::Chunk;
use crate::command::Command;
use crate::parser::{Offered, Parameters};
use crate::{
    Abort, Answer, BodyType, Config, Event, ForwardPath, MailParameters, Mechanism, Question,
    RcptParameters, Reply, ReversePath, Secret, replies, sasl,
};

/// Where the dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Question: is the client wanted?
    ConnectAsked,
    /// Question: is a client of this name wanted?
    HelloAsked { extended: bool, before: Resting },
    /// Question: what about a command that is none of SMTP's?
    CommandAsked(Resting),
    /// Greeted; neither HELO nor EHLO yet, or TLS made them void.
    Start,
    /// Between transactions.
    Ready,
    /// Question: is the sender wanted?
    MailAsked(Transaction),
    /// There is a sender and no recipient.
    Mail(Transaction),
    /// Question: is the recipient wanted?
    RcptAsked(Transaction),
    /// There is a recipient.
    Rcpt(Transaction),
    /// Question: may a body come that ends with CR LF . CR LF?
    DataAsked,
    /// Question: may a first chunk come?
    ChunkAsked { chunk: Chunk, binary: bool },
    /// In a body that ends with CR LF . CR LF.
    Data(DataBody),
    /// In a chunk.
    Chunk(Chunk, ChunkedBody),
    /// Between two chunks of a message.
    Chunks(ChunkedBody),
    /// Question: is the message in safe hands?
    MessageAsked,
    /// Between transactions too. A chunk was refused; the client may have sent the next ones already.
    Failed,
    /// Question: is the client who it wants to be?
    AuthAsked,
    /// A challenge was sent: a line with the response comes next.
    AuthChallenged,
    /// STARTTLS was accepted, the handshake is someone else's matter.
    StartTls,
    /// The session is over.
    Closed,
}

/// A state in which commands come, and no message is between its chunks: one to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resting {
    Start,
    Ready,
    Mail(Transaction),
    Rcpt(Transaction),
    Failed,
}

/// A message before its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) body: BodyType,
    pub(crate) smtputf8: bool,
    /// How many recipients were accepted.
    pub(crate) recipients: usize,
}

/// What holds beside the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session<'c> {
    pub(crate) config: &'c Config,
    /// The client said EHLO.
    pub(crate) extended: bool,
    /// TLS is active.
    pub(crate) tls: bool,
    /// The client has logged in.
    pub(crate) authenticated: bool,
}

impl Session<'_> {
    /// REQUIRETLS makes sense within TLS alone (RFC 8689 section 4.1).
    fn offered(&self) -> Offered {
        Offered {
            binary_mime: self.config.binary_mime,
            requiretls: self.config.requiretls && self.tls,
            mt_priority: self.config.mt_priority,
        }
    }
}

/// What comes of a command, or of a piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step<'i> {
    pub(crate) say: Say,
    pub(crate) event: Option<Event<'i>>,
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Say {
    /// Nothing yet.
    Nothing,
    Greeting,
    Hello,
    ExtendedHello,
    StartMailInput,
    Challenge(Vec<u8>),
    Reply(Reply),
    /// The caller refused a command that is none of SMTP's: one bad command more.
    Refusal(Reply),
    /// The rest of the chunk is skipped before it gets its reply: it is not to be run as commands.
    AfterChunk {
        chunk: Chunk,
        reply: Reply,
    },
}

impl State {
    /// The question that is open.
    pub(crate) const fn question(self) -> Option<Question> {
        match self {
            Self::ConnectAsked => Some(Question::Connect),
            Self::HelloAsked { .. } => Some(Question::Hello),
            Self::CommandAsked(_) => Some(Question::Command),
            Self::MailAsked(_) => Some(Question::Mail),
            Self::RcptAsked(_) => Some(Question::Rcpt),
            Self::DataAsked | Self::ChunkAsked { .. } => Some(Question::Data),
            Self::MessageAsked => Some(Question::Message),
            Self::AuthAsked => Some(Question::Auth),
            _ => None,
        }
    }

    /// How many recipients were accepted, where there are any and no data yet.
    pub(crate) const fn recipients(self) -> Option<usize> {
        match self {
            Self::Rcpt(transaction) => Some(transaction.recipients),
            _ => None,
        }
    }

    /// A command may come next.
    pub(crate) const fn takes_commands(self) -> bool {
        matches!(self, Self::Chunks(_)) || self.resting().is_some()
    }

    /// The state, if it is one to go back to.
    const fn resting(self) -> Option<Resting> {
        match self {
            Self::Start => Some(Resting::Start),
            Self::Ready => Some(Resting::Ready),
            Self::Mail(transaction) => Some(Resting::Mail(transaction)),
            Self::Rcpt(transaction) => Some(Resting::Rcpt(transaction)),
            Self::Failed => Some(Resting::Failed),
            _ => None,
        }
    }

    /// Octets of a body come next.
    pub(crate) const fn takes_body(self) -> bool {
        matches!(self, Self::Data(_) | Self::Chunk(..))
    }

    /// The response to a challenge comes next.
    pub(crate) const fn takes_response(self) -> bool {
        matches!(self, Self::AuthChallenged)
    }

    /// Nothing is under way that a server going away should wait for.
    pub(crate) const fn is_idle(self) -> bool {
        matches!(
            self,
            Self::Start | Self::Ready | Self::Failed | Self::AuthChallenged
        )
    }

    /// Between MAIL and the end of the transaction.
    pub(crate) const fn in_transaction(self) -> bool {
        matches!(
            self,
            Self::MailAsked(_)
                | Self::Mail(_)
                | Self::RcptAsked(_)
                | Self::Rcpt(_)
                | Self::HelloAsked {
                    before: Resting::Mail(_) | Resting::Rcpt(_),
                    ..
                }
                | Self::CommandAsked(Resting::Mail(_) | Resting::Rcpt(_))
                | Self::DataAsked
                | Self::ChunkAsked { .. }
                | Self::Data(_)
                | Self::Chunk(..)
                | Self::Chunks(_)
                | Self::MessageAsked
        )
    }

    /// A message has started and is neither complete nor refused.
    pub(crate) const fn in_message(self) -> bool {
        match self {
            Self::Data(body) => body.refusal().is_none(),
            Self::Chunk(..) | Self::Chunks(_) => true,
            _ => false,
        }
    }

    /// The session is over.
    pub(crate) const fn closed(self) -> Self {
        Self::Closed
    }

    /// The TLS connection is there: what was said in clear text is void (RFC 3207 section 4.2).
    pub(crate) const fn tls_established(self) -> Self {
        match self {
            Self::StartTls => Self::Start,
            other => other,
        }
    }

    /// The client is another one: is it wanted? `None`: not now.
    pub(crate) fn renewed(self) -> Option<Self> {
        self.is_idle().then_some(Self::ConnectAsked)
    }

    /// Commands that end a message between its chunks do so first, and then come a second time.
    pub(crate) const fn interrupted(self, command: &Command<'_>) -> Option<(Self, Abort)> {
        match (self, command) {
            (Self::Chunks(_), Command::Helo { .. } | Command::Ehlo { .. } | Command::Rset) => {
                Some((Self::Ready, Abort::Reset))
            }
            (Self::Chunks(_), Command::Quit) => Some((Self::Ready, Abort::Closed)),
            _ => None,
        }
    }

    /// A command came.
    pub(crate) fn command<'i>(
        self,
        command: Command<'i>,
        session: Session<'_>,
    ) -> (Self, Step<'i>) {
        match command {
            Command::Helo { name } => self.hello(name, false),
            Command::Ehlo { name } => self.hello(name, true),
            Command::Mail {
                reverse_path,
                parameters,
            } => match self.mail(reverse_path, parameters, session) {
                Ok(parameters) => (
                    Self::MailAsked(Transaction::new(&parameters)),
                    Step::ask(Event::Mail {
                        reverse_path,
                        parameters,
                    }),
                ),
                Err(reply) => (self, Step::reply(reply)),
            },
            Command::Rcpt {
                forward_path,
                parameters,
            } => match self.rcpt(forward_path, parameters, session) {
                Ok((transaction, parameters)) => (
                    Self::RcptAsked(transaction),
                    Step::ask(Event::Rcpt {
                        forward_path,
                        parameters,
                    }),
                ),
                Err(reply) => (self, Step::reply(reply)),
            },
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(Chunk::new(size, last), session),
            Command::Rset => self.rset(),
            Command::Noop => (self, Step::reply(replies::NOOP_OK)),
            Command::Vrfy => (self, Step::reply(replies::VRFY_UNKNOWN)),
            Command::Help => (self, Step::reply(replies::HELP)),
            Command::Quit => (Self::Closed, Step::reply(replies::GOODBYE)),
            Command::StartTls => self.starttls(session),
            Command::Auth {
                mechanism,
                initial_response,
            } => match self.auth(mechanism, initial_response, session) {
                Ok(event) => (Self::AuthAsked, Step::ask(event)),
                Err(reply) => (self, Step::reply(reply)),
            },
            // The connection sees to it where it is offered.
            Command::Xclient { .. } => (self, Step::reply(replies::XCLIENT_DENIED)),
            Command::Other { verb, argument } => match self.resting() {
                Some(before) => (
                    Self::CommandAsked(before),
                    Step::ask(Event::Command { verb, argument }),
                ),
                // Nothing but chunks has a place between chunks.
                None => (self, Step::reply(replies::UNKNOWN_COMMAND)),
            },
        }
    }

    fn hello(self, name: &str, extended: bool) -> (Self, Step<'_>) {
        match self.resting() {
            Some(before) => (
                Self::HelloAsked { extended, before },
                Step::ask(Event::Hello { name, extended }),
            ),
            None => (self, Step::reply(replies::OUT_OF_ORDER)),
        }
    }

    fn mail(
        self,
        reverse_path: ReversePath<&str>,
        parameters: Parameters<'_>,
        session: Session<'_>,
    ) -> Result<MailParameters, Reply> {
        if session.config.tls_required && !session.tls {
            return Err(replies::STARTTLS_FIRST);
        }
        let is_required = session.config.auth.as_ref().is_some_and(|it| it.required);
        if is_required && !session.authenticated {
            return Err(replies::LOGIN_FIRST);
        }
        match self {
            Self::Ready | Self::Failed => {}
            Self::Start => return Err(replies::HELLO_FIRST),
            _ => return Err(replies::OUT_OF_ORDER),
        }
        let parameters = parameters.of_mail(session.extended, session.offered())?;
        if parameters
            .size
            .is_some_and(|size| size > session.config.size_limit())
        {
            return Err(replies::TOO_LARGE);
        }
        if !reverse_path.is_ascii() && !parameters.smtputf8 {
            return Err(replies::NEEDS_SMTPUTF8);
        }
        Ok(parameters)
    }

    fn rcpt(
        self,
        forward_path: ForwardPath<&str>,
        parameters: Parameters<'_>,
        session: Session<'_>,
    ) -> Result<(Transaction, RcptParameters), Reply> {
        let transaction = match self {
            Self::Mail(transaction) | Self::Rcpt(transaction) => transaction,
            Self::Start => return Err(replies::HELLO_FIRST),
            _ => return Err(replies::OUT_OF_ORDER),
        };
        let dsn = session.config.dsn;
        let parameters = parameters.of_rcpt(session.extended, transaction.smtputf8, dsn)?;
        if !forward_path.is_ascii() && !transaction.smtputf8 {
            return Err(replies::NEEDS_SMTPUTF8);
        }
        if transaction.recipients >= session.config.max_recipients {
            return Err(replies::TOO_MANY_RECIPIENTS);
        }
        Ok((transaction, parameters))
    }

    fn data<'i>(self) -> (Self, Step<'i>) {
        match self {
            Self::Rcpt(transaction) if transaction.is_binary() => {
                (self, Step::reply(replies::BINARYMIME_NEEDS_BDAT))
            }
            Self::Rcpt(_) => (Self::DataAsked, Step::ask(Event::Data)),
            _ => (self, Step::reply(replies::OUT_OF_ORDER)),
        }
    }

    /// Whatever becomes of it, the octets of a chunk follow: they are never taken for commands
    /// (RFC 3030 section 2).
    fn bdat<'i>(self, chunk: Chunk, session: Session<'_>) -> (Self, Step<'i>) {
        let (next, has_room, is_first) = match self {
            Self::Rcpt(transaction) => {
                let binary = transaction.is_binary();
                let has_room = chunk.remaining() <= session.config.size_limit();
                (Self::ChunkAsked { chunk, binary }, has_room, true)
            }
            Self::Chunks(body) => {
                let has_room = body.has_room_for(chunk.remaining());
                (Self::Chunk(chunk, body), has_room, false)
            }
            Self::Failed => {
                let step = Step::after_chunk(chunk, replies::OUT_OF_ORDER, None);
                return (Self::after_refused(chunk), step);
            }
            _ => return (self, Step::after_chunk(chunk, replies::OUT_OF_ORDER, None)),
        };
        if has_room {
            let step = match is_first {
                true => Step::ask(Event::Data),
                false => Step::nothing(),
            };
            return (next, step);
        }
        let event = match is_first {
            true => Event::Reset,
            false => Event::MessageAborted(Abort::Refused(replies::TOO_LARGE)),
        };
        let step = Step::after_chunk(chunk, replies::TOO_LARGE, Some(event));
        (Self::after_refused(chunk), step)
    }

    fn rset<'i>(self) -> (Self, Step<'i>) {
        let (next, event) = match self {
            Self::Start => (Self::Start, None),
            Self::Mail(_) | Self::Rcpt(_) => (Self::Ready, Some(Event::Reset)),
            _ => (Self::Ready, None),
        };
        let say = Say::Reply(replies::RSET_OK);
        (next, Step { say, event })
    }

    fn starttls<'i>(self, session: Session<'_>) -> (Self, Step<'i>) {
        if !session.tls && !session.config.starttls {
            return (self, Step::reply(replies::NOT_IMPLEMENTED));
        }
        if session.tls || !self.is_idle() {
            return (self, Step::reply(replies::OUT_OF_ORDER));
        }
        let step = Step {
            say: Say::Reply(replies::READY_FOR_TLS),
            event: Some(Event::StartTls),
        };
        (Self::StartTls, step)
    }

    fn auth(
        self,
        mechanism: &str,
        initial_response: Option<&str>,
        session: Session<'_>,
    ) -> Result<Event<'static>, Reply> {
        let auth = session.config.auth.as_ref();
        let auth = auth.ok_or(replies::NOT_IMPLEMENTED)?;
        if !session.tls && !auth.in_plaintext {
            return Err(replies::TLS_BEFORE_LOGIN);
        }
        match self {
            Self::Ready | Self::Failed if !session.authenticated => {}
            Self::Start => return Err(replies::HELLO_FIRST),
            _ => return Err(replies::OUT_OF_ORDER),
        }
        let is_meant = |it: &&Mechanism| it.as_str().eq_ignore_ascii_case(mechanism);
        let mechanism = auth.mechanisms.iter().find(is_meant);
        Ok(Event::Auth {
            mechanism: mechanism.ok_or(replies::UNKNOWN_MECHANISM)?.clone(),
            initial_response: initial_response.map(sasl::initial_response).transpose()?,
        })
    }

    /// The line behind a challenge came: a response, or what ends the login.
    pub(crate) fn response(self, response: Result<Secret, Reply>) -> (Self, Step<'static>) {
        match response {
            Ok(response) => (Self::AuthAsked, Step::ask(Event::AuthResponse(response))),
            Err(reply) => {
                let event = Some(Event::AuthAborted(reply.clone()));
                let say = Say::Reply(reply);
                (Self::Ready, Step { say, event })
            }
        }
    }

    /// Octets of a body came; small pieces of it are put together in the room, if there is some. `None`: they are
    /// used up, more are to follow.
    pub(crate) fn body<'i: 'r, 'r>(
        self,
        input: &mut &'i [u8],
        room: &mut &'r mut [u8],
    ) -> (Self, Option<Step<'r>>) {
        match self {
            Self::Data(mut body) => match body.read(input, room) {
                Progress::More => (Self::Data(body), None),
                Progress::Piece(piece) => (Self::Data(body), Some(Step::ask(Event::Body(piece)))),
                Progress::Refused(refusal) => {
                    (Self::Data(body), Some(Step::refused(refusal, Say::Nothing)))
                }
                Progress::End => match body.refusal() {
                    Some(refusal) => (Self::Ready, Some(Step::reply(refusal.reply()))),
                    None => (
                        Self::MessageAsked,
                        Some(Step::message_end(body.content().size())),
                    ),
                },
            },
            Self::Chunk(mut chunk, mut body) => match body.read(&mut chunk, input, room) {
                Progress::More => (Self::Chunk(chunk, body), None),
                Progress::Piece(piece) => (
                    Self::Chunk(chunk, body),
                    Some(Step::ask(Event::Body(piece))),
                ),
                Progress::Refused(refusal) => {
                    let reply = refusal.reply();
                    let say = Say::AfterChunk { chunk, reply };
                    (
                        Self::after_refused(chunk),
                        Some(Step::refused(refusal, say)),
                    )
                }
                Progress::End if chunk.is_last() => (
                    Self::MessageAsked,
                    Some(Step::message_end(body.content().size())),
                ),
                Progress::End => (Self::Chunks(body), Some(Step::reply(replies::CHUNK_OK))),
            },
            other => (other, None),
        }
    }

    /// Where the refusal of a chunk leads: the last one ends what failed.
    const fn after_refused(chunk: Chunk) -> Self {
        if chunk.is_last() {
            Self::Ready
        } else {
            Self::Failed
        }
    }

    /// The question was answered. `None`: there is none.
    pub(crate) fn answered(self, answer: Answer, config: &Config) -> Option<(Self, Say)> {
        match answer {
            Answer::Accept => self.accepted(None, config),
            Answer::AcceptWith(reply) if reply.is_positive() => self.accepted(Some(reply), config),
            Answer::Refuse(reply) if reply.is_transient() || reply.is_permanent() => {
                self.refused(reply)
            }
            Answer::Challenge(data) if self == Self::AuthAsked && sasl::fits(&data) => {
                Some((Self::AuthChallenged, Say::Challenge(data)))
            }
            Answer::AcceptWith(_) | Answer::Refuse(_) | Answer::Each(_) | Answer::Challenge(_) => {
                self.refused(replies::LOCAL_ERROR)
            }
        }
    }

    fn accepted(self, reply: Option<Reply>, config: &Config) -> Option<(Self, Say)> {
        let closes = reply.as_ref().is_some_and(Reply::closes);
        let (next, usual) = match self {
            Self::ConnectAsked => return Some((Self::Start, Say::Greeting)),
            Self::HelloAsked { extended: true, .. } => {
                return Some((Self::Ready, Say::ExtendedHello));
            }
            Self::HelloAsked { .. } => return Some((Self::Ready, Say::Hello)),
            Self::DataAsked => {
                let body = DataBody::new(config.size_limit(), config.bare_line_ends);
                return Some((Self::Data(body), Say::StartMailInput));
            }
            Self::ChunkAsked { chunk, binary } => {
                let body = ChunkedBody::new(config.size_limit(), binary, config.bare_line_ends);
                return Some((Self::Chunk(chunk, body), Say::Nothing));
            }
            Self::CommandAsked(_) if reply.is_none() => {
                return self.refused(replies::UNKNOWN_COMMAND);
            }
            Self::CommandAsked(before) => (before.into(), replies::NOOP_OK),
            Self::MailAsked(transaction) => (Self::Mail(transaction), replies::SENDER_OK),
            Self::RcptAsked(mut transaction) => {
                transaction.recipients += 1;
                (Self::Rcpt(transaction), replies::RECIPIENT_OK)
            }
            Self::MessageAsked => (Self::Ready, replies::MESSAGE_OK),
            Self::AuthAsked => (Self::Ready, replies::LOGIN_OK),
            _ => return None,
        };
        let next = if closes { Self::Closed } else { next };
        Some((next, Say::Reply(reply.unwrap_or(usual))))
    }

    fn refused(self, reply: Reply) -> Option<(Self, Say)> {
        self.question()?;
        let next = match self {
            // RFC 5321 section 3.8: after a 421 the server closes.
            Self::ConnectAsked => Self::Closed,
            _ if reply.code() == 421 || reply.closes() => Self::Closed,
            // RFC 5321 section 4.1.1.1: the server stays where it was before a HELO that it refuses.
            Self::HelloAsked { before, .. } => before.into(),
            Self::CommandAsked(before) => {
                return Some((before.into(), Say::Refusal(reply)));
            }
            Self::ChunkAsked { chunk, .. } => {
                let say = Say::AfterChunk { chunk, reply };
                return Some((Self::after_refused(chunk), say));
            }
            Self::RcptAsked(transaction) if transaction.recipients > 0 => Self::Rcpt(transaction),
            Self::RcptAsked(transaction) => Self::Mail(transaction),
            _ => Self::Ready,
        };
        Some((next, Say::Reply(reply)))
    }
}

impl From<Resting> for State {
    fn from(resting: Resting) -> Self {
        match resting {
            Resting::Start => Self::Start,
            Resting::Ready => Self::Ready,
            Resting::Mail(transaction) => Self::Mail(transaction),
            Resting::Rcpt(transaction) => Self::Rcpt(transaction),
            Resting::Failed => Self::Failed,
        }
    }
}

impl Transaction {
    pub(crate) const fn new(parameters: &MailParameters) -> Self {
        Self {
            body: parameters.body,
            smtputf8: parameters.smtputf8,
            recipients: 0,
        }
    }

    /// Any octets may come, and only in chunks (RFC 3030 section 3).
    fn is_binary(&self) -> bool {
        self.body == BodyType::BinaryMime
    }
}

impl<'i> Step<'i> {
    fn reply(reply: Reply) -> Self {
        let say = Say::Reply(reply);
        Self { say, event: None }
    }

    fn ask(event: Event<'i>) -> Self {
        Self {
            say: Say::Nothing,
            event: Some(event),
        }
    }

    fn nothing() -> Self {
        Self {
            say: Say::Nothing,
            event: None,
        }
    }

    fn after_chunk(chunk: Chunk, reply: Reply, event: Option<Event<'i>>) -> Self {
        let say = Say::AfterChunk { chunk, reply };
        Self { say, event }
    }

    fn refused(refusal: Refusal, say: Say) -> Self {
        let event = Some(Event::MessageAborted(Abort::Refused(refusal.reply())));
        Self { say, event }
    }

    fn message_end(size: u64) -> Self {
        Self::ask(Event::MessageEnd { size })
    }
}

#[cfg(test)]
mod matrix;
