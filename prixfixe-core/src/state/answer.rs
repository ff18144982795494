//! Where answers lead.

use super::{Say, State, Text};
use crate::body::{ChunkedBody, DataBody};
use crate::{Answer, Config, Reply, replies, sasl};

impl State {
    /// The question was about an address, and is answered by yes: where that leads, and the line
    /// that says so. An envelope has many of them, so that nothing is put together for it.
    pub(crate) const fn accepted_as_usual(self) -> Option<(Self, &'static [u8])> {
        match self {
            Self::MailAsked(transaction) => {
                Some((Self::Mail(transaction), replies::SENDER_OK_LINE))
            }
            Self::RcptAsked(mut transaction) => {
                transaction.recipients += 1;
                Some((Self::Rcpt(transaction), replies::RECIPIENT_OK_LINE))
            }
            _ => None,
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
                Some((Self::AuthChallenged, Say::Text(Text::Challenge(data))))
            }
            Answer::AcceptWith(_) | Answer::Refuse(_) | Answer::Each(_) | Answer::Challenge(_) => {
                self.refused(replies::LOCAL_ERROR)
            }
        }
    }

    fn accepted(self, reply: Option<Reply>, config: &Config) -> Option<(Self, Say)> {
        let closes = reply.as_ref().is_some_and(Reply::closes);
        let (next, usual) = match self {
            Self::ConnectAsked => return Some((Self::Start, Say::Text(Text::Greeting))),
            Self::HelloAsked { extended: true, .. } => {
                return Some((Self::Ready, Say::Text(Text::ExtendedHello)));
            }
            Self::HelloAsked { .. } => return Some((Self::Ready, Say::Text(Text::Hello))),
            Self::DataAsked => {
                let body = DataBody::new(config.size_limit(), config.bare_line_ends);
                return Some((Self::Data(body), Say::Text(Text::StartMailInput)));
            }
            Self::ChunkAsked { chunk, binary } => {
                let body = ChunkedBody::new(config.size_limit(), binary, config.bare_line_ends);
                return Some((Self::InChunk(chunk, body), Say::Nothing));
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
            // RFC 5321 section 4.1.1.1: the server stays where it was before a HELO that it
            // refuses.
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
