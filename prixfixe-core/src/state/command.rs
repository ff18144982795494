//! Where commands lead.

use super::{Say, Session, State, Step, Transaction};
use crate::chunk::Chunk;
use crate::command::Command;
use crate::parser::Parameters;
use crate::{
    Abort, Event, ForwardPath, MailParameters, Mechanism, RcptParameters, Reply, ReversePath,
    replies, sasl,
};

impl State {
    /// Commands that end a message between its chunks do so first, and then come a second time.
    pub(crate) const fn interrupted(self, command: &Command<'_>) -> Option<(Self, Abort)> {
        match (self, command) {
            (
                Self::BetweenChunks(_),
                Command::Helo { .. } | Command::Ehlo { .. } | Command::Rset,
            ) => Some((Self::Ready, Abort::Reset)),
            (Self::BetweenChunks(_), Command::Quit) => Some((Self::Ready, Abort::Closed)),
            _ => None,
        }
    }

    /// A command came.
    ///
    /// Never inlined: the caller would hold all the fields of all states at once.
    #[inline(never)]
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
            Command::Quit => (Self::Quit, Step::reply(replies::GOODBYE)),
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
            Self::Ready | Self::ChunkRefused => {}
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
        let dsn = session.config.offers_dsn(session.authenticated);
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
            Self::BetweenChunks(body) => {
                let has_room = body.has_room_for(chunk.remaining());
                (Self::InChunk(chunk, body), has_room, false)
            }
            Self::ChunkRefused => {
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
            Self::Ready | Self::ChunkRefused if !session.authenticated => {}
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
}
