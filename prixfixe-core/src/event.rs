//! What a connection tells, and what it is told in return.

use std::fmt;

use crate::{ForwardPath, Mechanism, RcptParameters, Reply, Ret, ReversePath, Secret, Xclient};

/// Something that the client did. Borrows from the input that was lent to
/// [`poll_event`](crate::Connection::poll_event).
///
/// Its `Debug` form has the length of a piece of the content in place of the content, which is
/// private and long. So it has of a refused line.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// Question: is a client of this name wanted? It said HELO or EHLO (RFC 5321 section 4.1.1.1),
    /// or in LMTP LHLO. Accepted, a transaction that was open is gone; refused, nothing has
    /// changed.
    Hello {
        /// What the client calls itself: a domain, an address literal, or any other text. No
        /// control characters, at most 255 octets. Not to be trusted, and no word to put into a
        /// header before [`Domain::try_from`](crate::Domain) has taken it.
        name: &'i str,
        /// EHLO or LHLO rather than HELO.
        extended: bool,
    },
    /// Question: is mail from this sender wanted?
    Mail {
        /// Whom a failure would be reported to.
        reverse_path: ReversePath<&'i str>,
        /// The parameters of MAIL.
        parameters: MailParameters,
    },
    /// Question: is mail to this recipient wanted?
    Rcpt {
        /// The recipient.
        forward_path: ForwardPath<&'i str>,
        /// The parameters of RCPT.
        parameters: RcptParameters,
    },
    /// Question: may the content come? DATA or the first BDAT is in order, and no reply to it has
    /// left. Accepted, pieces of the content follow, then [`MessageEnd`](Self::MessageEnd) or
    /// [`MessageAborted`](Self::MessageAborted). Refused, the transaction is gone.
    Data,
    /// A piece of the content, never empty, transparency dots removed (RFC 5321 section 4.5.2) and
    /// bare line ends repaired, where they are.
    Body(&'i [u8]),
    /// Question: the content is complete. Is the message in safe hands?
    MessageEnd {
        /// The octets of all pieces together.
        size: u64,
    },
    /// The message that started will not be completed: neither a [`Body`](Self::Body) nor a
    /// [`MessageEnd`](Self::MessageEnd) of it follows.
    MessageAborted(Abort),
    /// A transaction ended before its message started, by RSET or by a BDAT over the size limit. A
    /// HELO or EHLO that ends one shows as [`Hello`](Self::Hello), the end of the session by
    /// [`is_closed`](crate::Connection::is_closed).
    Reset,
    /// A command was refused with a 4xx or 5xx: for counters and logs. Not among them are refusals
    /// that the caller itself gave as an [`Answer`], that of a message by its content
    /// ([`Abort::Refused`]), and those of the chunks that a client had sent by then.
    CommandRefused {
        /// The line as the client sent it, without its CR LF: all of it or its beginning. Of BDAT
        /// and AUTH the verb alone. Any octets may stand in it, and a password, or a line of a mail
        /// whose DATA was refused.
        line: &'i [u8],
        /// The reply, which is in the output.
        reply: Reply,
    },
    /// STARTTLS was accepted, its 220 is in the output: send that in clear, make the TLS
    /// connection, then call [`tls_established`](crate::Connection::tls_established).
    StartTls,
    /// Question: is the client who it wants to be? It said AUTH (RFC 4954), by a mechanism that is
    /// offered. [`Answer::Challenge`] asks it for more, which comes as
    /// [`AuthResponse`](Self::AuthResponse).
    Auth {
        /// The mechanism.
        mechanism: Mechanism,
        /// What came with it, decoded. It may be empty.
        initial_response: Option<Secret>,
    },
    /// The same question: the response to a challenge, decoded.
    AuthResponse(Secret),
    /// The login is over without an answer: in place of a response the client cancelled it, or sent
    /// what is none. The reply is in the output. Where the session ends in the middle of a login,
    /// [`is_closed`](crate::Connection::is_closed) says so.
    AuthAborted(Reply),
    /// A proxy said whose session this is (XCLIENT). All that the client before it said is
    /// forgotten, but for TLS, and the question [whether it is wanted](Question::Connect) is open
    /// again: accepted, it gets a greeting.
    Xclient(Box<Xclient>),
    /// Question: what about a command that is none of SMTP's? [`Answer::AcceptWith`] is the reply
    /// to it. By [`Answer::Accept`], which says nothing, it is refused as an unknown one.
    Command {
        /// The verb as it came: letters, digits and `-`.
        verb: &'i str,
        /// What stands behind the space after it. No control characters.
        argument: &'i str,
    },
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { name, extended } => f
                .debug_struct("Hello")
                .field("name", name)
                .field("extended", extended)
                .finish(),
            Self::Mail {
                reverse_path,
                parameters,
            } => f
                .debug_struct("Mail")
                .field("reverse_path", reverse_path)
                .field("parameters", parameters)
                .finish(),
            Self::Rcpt {
                forward_path,
                parameters,
            } => f
                .debug_struct("Rcpt")
                .field("forward_path", forward_path)
                .field("parameters", parameters)
                .finish(),
            Self::Data => f.write_str("Data"),
            Self::Body(piece) => write!(f, "Body({} octets)", piece.len()),
            Self::MessageEnd { size } => f.debug_struct("MessageEnd").field("size", size).finish(),
            Self::MessageAborted(abort) => f.debug_tuple("MessageAborted").field(abort).finish(),
            Self::Reset => f.write_str("Reset"),
            Self::CommandRefused { line, reply } => f
                .debug_struct("CommandRefused")
                .field("line", &format_args!("{} octets", line.len()))
                .field("reply", reply)
                .finish(),
            Self::StartTls => f.write_str("StartTls"),
            Self::Auth {
                mechanism,
                initial_response,
            } => f
                .debug_struct("Auth")
                .field("mechanism", mechanism)
                .field("initial_response", initial_response)
                .finish(),
            Self::AuthResponse(response) => f.debug_tuple("AuthResponse").field(response).finish(),
            Self::AuthAborted(reply) => f.debug_tuple("AuthAborted").field(reply).finish(),
            Self::Xclient(told) => f.debug_tuple("Xclient").field(told).finish(),
            Self::Command { verb, argument } => f
                .debug_struct("Command")
                .field("verb", verb)
                .field("argument", argument)
                .finish(),
        }
    }
}

/// Why a message that started was not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abort {
    /// The core refuses it: a bare CR or LF, too large, a loop. The rest of the body is read, up to
    /// its true end, before the client gets this reply.
    Refused(Reply),
    /// RSET, HELO or EHLO between two chunks.
    Reset,
    /// The client will send no more.
    Eof,
    /// The client was too slow; it was told 421.
    Timeout,
    /// The session ended: QUIT between two chunks, too many bad commands there, or
    /// [`close`](crate::Connection::close).
    Closed,
}

/// The one thing that a connection waits to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Question {
    /// Is this client wanted? Open from the beginning, and again after [`Event::Xclient`].
    Connect,
    /// Is a client of this name wanted? Opened by [`Event::Hello`].
    Hello,
    /// Is mail from this sender wanted? Opened by [`Event::Mail`].
    Mail,
    /// Is mail to this recipient wanted? Opened by [`Event::Rcpt`].
    Rcpt,
    /// May the content come? Opened by [`Event::Data`].
    Data,
    /// Is the message in safe hands? Opened by [`Event::MessageEnd`].
    Message,
    /// What about this command? Opened by [`Event::Command`].
    Command,
    /// Is the client who it wants to be? Opened by [`Event::Auth`] and [`Event::AuthResponse`].
    Auth,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Yes, with the usual reply.
    Accept,
    /// Yes, with a reply of one's own. Its code has to be a 2xx: anything else contradicts itself
    /// and becomes a refusal with 451 4.3.0. The greeting, the reply to HELO and EHLO and 354 have
    /// a fixed form: for [`Question::Connect`], [`Question::Hello`] and [`Question::Data`] this is
    /// [`Accept`](Self::Accept).
    AcceptWith(Reply),
    /// No. The code has to be a 4xx or 5xx: anything else becomes 451 4.3.0. A 421 ends the
    /// session, and so does every refusal of [`Question::Connect`], and a reply that
    /// [closes](Reply::closes).
    Refuse(Reply),
    /// To [`Question::Message`] in LMTP: what became of the message for each recipient, in the
    /// order in which they were accepted. A reply that is no 2xx, 4xx or 5xx, or that would end the
    /// session, becomes 451 4.3.0. Where there are not as many as recipients, and to any other
    /// question, it contradicts itself: a refusal with 451 4.3.0.
    Each(Vec<Reply>),
    /// To [`Question::Auth`]: 334 with this, and the client's next line is its response. What does
    /// not fit in a line of [`MAX_LOGIN_LINE`](crate::MAX_LOGIN_LINE) octets, and a challenge to
    /// any other question, contradicts itself and becomes a refusal with 451 4.3.0.
    Challenge(Vec<u8>),
}

/// The parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct MailParameters {
    /// `SIZE=`: the octets that the client means to send (RFC 1870 section 6). Within the limit,
    /// and not to be trusted.
    pub size: Option<u64>,
    /// `BODY=`: what the content may hold.
    pub body: BodyType,
    /// `SMTPUTF8`: addresses and header fields may be internationalised (RFC 6531 section 3.4).
    pub smtputf8: bool,
    /// `RET=`: how much a notification of failure returns (RFC 3461 section 4.3).
    pub ret: Option<Ret>,
    /// `ENVID=`: the sender's own name for this message, decoded (RFC 3461 section 4.4). Printable
    /// ASCII of at most 100 octets.
    pub envid: Option<Box<str>>,
    /// `REQUIRETLS`: the message is to go on over TLS alone (RFC 8689 section 4). Only where
    /// [it is offered](crate::Config::requiretls).
    pub requiretls: bool,
    /// `MT-PRIORITY=`: -9 to 9, the more the sooner (RFC 6710 section 3). Only where
    /// [it is offered](crate::Config::mt_priority).
    pub mt_priority: Option<i8>,
}

/// What the content of a message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BodyType {
    /// Lines of ASCII (RFC 6152 section 3). The default; octets above 127 are taken all the same.
    #[default]
    SevenBit,
    /// Lines of any octets (RFC 6152 section 3).
    EightBitMime,
    /// Any octets at all, line ends included; only by BDAT (RFC 3030 section 3).
    BinaryMime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_message_is_not_printed() {
        assert_eq!(format!("{:?}", Event::Body(b"secret")), "Body(6 octets)");
        let hello = Event::Hello {
            name: "a",
            extended: true,
        };
        assert_eq!(
            format!("{hello:?}"),
            r#"Hello { name: "a", extended: true }"#
        );
    }
}
