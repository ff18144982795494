//! What can go wrong, and what a caller can do about it.

use crate::extensions::Extension;
use crate::reply::ReplyBuf;

/// The connection is of no use any more.
///
/// What has been answered before stands. What has not was not accepted, but for one case, and
/// [`in_doubt`](Self::in_doubt) says whether this is it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, {stage}")]
pub struct Error {
    stage: Stage,
    fault: Fault,
    in_doubt: bool,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The server refuses to go on: a 421 to anything, a refusal where nothing can follow one
    /// (greeting, EHLO, STARTTLS that is required, RSET), or a refusal of a content that was still
    /// being sent.
    #[error("the server said {0}")]
    Refused(ReplyBuf),
    /// A reply that cannot stand where it stood, such as a 250 to DATA, or one that nothing had
    /// asked for.
    #[error("the server said {0}, which makes no sense here")]
    Unexpected(ReplyBuf),
    /// Something that is no reply.
    #[error("the server said \"{said}\", which is no reply: {why}")]
    Malformed {
        /// Why not.
        why: Malformed,
        /// The beginning of the line, safe to log.
        said: String,
    },
    /// The server does not offer what the configuration requires.
    #[error("the server does not offer {0:?}")]
    NotOffered(Extension),
    /// Plaintext behind the 220 of STARTTLS, where an attacker could have put it (RFC 3207 section
    /// 6).
    #[error("plaintext behind the reply to STARTTLS")]
    Injected,
    /// The server could not prove that it knows the password, or its part of SCRAM is wrong.
    #[cfg(feature = "auth")]
    #[error("authentication: {0}")]
    Authentication(crate::auth::ServerFault),
    /// The server has closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server has taken too long.
    #[error("the server has taken too long")]
    TimedOut,
}

/// Why something is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A line that does not begin with a code.
    #[error("a line that does not begin with a code")]
    NotAReply,
    /// A line over [`MAX_REPLY_LINE`](crate::MAX_REPLY_LINE) bytes.
    #[error("a line that is too long")]
    LineTooLong,
    /// More than [`MAX_REPLY_LINES`](crate::MAX_REPLY_LINES) lines.
    #[error("too many lines")]
    TooManyLines,
    /// Lines of one reply with different codes.
    #[error("lines with different codes")]
    Codes,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The greeting is awaited.
    Greeting,
    /// The reply to EHLO, HELO or LHLO is awaited.
    Hello,
    /// The reply to STARTTLS is awaited.
    StartTls,
    /// The TLS handshake is awaited.
    Tls,
    /// A reply within AUTH is awaited.
    Auth,
    /// The reply to MAIL is awaited.
    Mail,
    /// The reply to RCPT is awaited.
    Rcpt,
    /// The reply to DATA is awaited.
    Data,
    /// The content is being sent, or the reply to it or to a chunk is awaited.
    Content,
    /// The reply to RSET is awaited.
    Reset,
    /// The reply to NOOP is awaited.
    Noop,
    /// The reply to QUIT is awaited.
    Quit,
    /// Nothing is awaited.
    Idle,
    /// The dialogue is over.
    Closed,
}

/// Why something is not sent. The connection is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// It cannot be said at this point of the dialogue.
    #[error("this cannot be said now")]
    NotNow,
    /// The transaction is over: the server has refused what went before.
    #[error("the transaction has failed already")]
    Failed,
    /// There is no recipient.
    #[error("no recipient was named")]
    NoRecipient,
    /// The server does not offer the extension that it needs.
    #[error("the server does not offer {0:?}")]
    NotOffered(Extension),
    /// BINARYMIME was announced, so BDAT has to be used in place of DATA (RFC 3030 section 3).
    #[error("binary content needs BDAT")]
    NeedsChunking,
    /// An internationalised recipient in a transaction whose MAIL did not ask for SMTPUTF8.
    #[error("MAIL did not ask for SMTPUTF8")]
    NeedsSmtpUtf8,
    /// A CR without LF, or an LF without CR. Sent, it could end the message elsewhere than its
    /// author meant (RFC 5321 section 2.3.8). Nothing of the piece was taken.
    #[error("a bare CR or LF in the content")]
    BareLineEnd,
    /// Output that was not sent yet is in the way. Send it, then try again.
    #[error("the output is full")]
    Full,
    /// The password would be readable on the way: there is no TLS, and the configuration does not
    /// allow it.
    #[error("a password in plaintext")]
    Plaintext,
}

impl Error {
    pub(crate) const fn new(stage: Stage, fault: Fault, in_doubt: bool) -> Self {
        Self {
            stage,
            fault,
            in_doubt,
        }
    }

    /// Where the connection stood.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// What went wrong.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// True when the server may have the message: all of it was sent, and no reply came. Who sends
    /// it again may send it twice (RFC 1047). False: the server has not accepted the message under
    /// way.
    ///
    /// With LMTP it is about the recipients for whom no reply came.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        self.in_doubt
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Greeting => "waiting for the greeting",
            Self::Hello => "at EHLO",
            Self::StartTls => "at STARTTLS",
            Self::Tls => "during the TLS handshake",
            Self::Auth => "at AUTH",
            Self::Mail => "at MAIL",
            Self::Rcpt => "at RCPT",
            Self::Data => "at DATA",
            Self::Content => "at the content",
            Self::Reset => "at RSET",
            Self::Noop => "at NOOP",
            Self::Quit => "at QUIT",
            Self::Idle => "between messages",
            Self::Closed => "after the end",
        })
    }
}
