//! Everything that moves the dialogue from one state to another is in this file and its folder, and
//! nothing else does so.
//!
//! A state carries what only it needs. What holds beside it (EHLO or HELO, TLS, how many errors,
//! the end of the input) are fields of the [connection](crate::Connection), lent here as a
//! [`Session`].
//!
//! One thing beside it decides what input means: a chunk that was refused is skipped before its
//! reply leaves (`RefusedChunk`). That reply is the application's text, which a state cannot hold,
//! as it is copied. The state says meanwhile where the dialogue stands behind the chunk.

mod answer;
mod command;
mod content;
mod step;

pub(crate) use step::{Say, Step, Text};

use crate::body::{ChunkedBody, DataBody};
use crate::chunk::Chunk;
use crate::parser::Offered;
use crate::{BodyType, Config, MailParameters, Question};

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
    InChunk(Chunk, ChunkedBody),
    /// Between two chunks of a message.
    BetweenChunks(ChunkedBody),
    /// Question: is the message in safe hands?
    MessageAsked,
    /// Between transactions too. A chunk was refused; the client may have sent the next ones
    /// already.
    ChunkRefused,
    /// Question: is the client who it wants to be?
    AuthAsked,
    /// A challenge was sent: a line with the response comes next.
    AuthChallenged,
    /// STARTTLS was accepted, the handshake is someone else's matter.
    StartTls,
    /// The session is over, because the client said QUIT.
    Quit,
    /// The session is over for any other reason.
    Closed,
}

/// A state in which commands come, and no message is between its chunks: one to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resting {
    Start,
    Ready,
    Mail(Transaction),
    Rcpt(Transaction),
    ChunkRefused,
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
        matches!(self, Self::BetweenChunks(_)) || self.resting().is_some()
    }

    /// The state, if it is one to go back to.
    const fn resting(self) -> Option<Resting> {
        match self {
            Self::Start => Some(Resting::Start),
            Self::Ready => Some(Resting::Ready),
            Self::Mail(transaction) => Some(Resting::Mail(transaction)),
            Self::Rcpt(transaction) => Some(Resting::Rcpt(transaction)),
            Self::ChunkRefused => Some(Resting::ChunkRefused),
            _ => None,
        }
    }

    /// Octets of a body come next.
    pub(crate) const fn takes_body(self) -> bool {
        matches!(self, Self::Data(_) | Self::InChunk(..))
    }

    /// The response to a challenge comes next.
    pub(crate) const fn takes_response(self) -> bool {
        matches!(self, Self::AuthChallenged)
    }

    /// Nothing is under way that a server going away should wait for.
    pub(crate) const fn is_idle(self) -> bool {
        matches!(
            self,
            Self::Start | Self::Ready | Self::ChunkRefused | Self::AuthChallenged
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
                | Self::InChunk(..)
                | Self::BetweenChunks(_)
                | Self::MessageAsked
        )
    }

    /// A message has started and is neither complete nor refused.
    pub(crate) const fn in_message(self) -> bool {
        match self {
            Self::Data(body) => body.refusal().is_none(),
            Self::InChunk(..) | Self::BetweenChunks(_) => true,
            _ => false,
        }
    }

    /// The session is over, if it was not before.
    pub(crate) const fn closed(self) -> Self {
        match self {
            Self::Quit => Self::Quit,
            _ => Self::Closed,
        }
    }

    /// The session is over.
    pub(crate) const fn is_closed(self) -> bool {
        matches!(self, Self::Quit | Self::Closed)
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
}

impl From<Resting> for State {
    fn from(resting: Resting) -> Self {
        match resting {
            Resting::Start => Self::Start,
            Resting::Ready => Self::Ready,
            Resting::Mail(transaction) => Self::Mail(transaction),
            Resting::Rcpt(transaction) => Self::Rcpt(transaction),
            Resting::ChunkRefused => Self::ChunkRefused,
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

#[cfg(test)]
mod matrix;
