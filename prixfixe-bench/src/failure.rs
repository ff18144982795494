//! What went wrong, and where in the dialogue.

use std::fmt;
use std::io;

use prixfixe_client::{Extension, Fault};

use crate::dialogue::quote;

/// Where in the dialogue something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Waiting for a free connection: an open loop whose rate the server does not keep up with.
    Queue,
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake, and anything wrong with TLS later.
    Tls,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO, or HELO where EHLO is refused.
    Ehlo,
    /// STARTTLS, before the handshake.
    StartTls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The content and the reply to its end, or BDAT.
    Content,
    /// RSET, after a message that was refused.
    Rset,
    /// Between messages.
    Idle,
}

impl Stage {
    /// The name in tables and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Content => "content",
            Self::Rset => "rset",
            Self::Idle => "idle",
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The server refused: the code of its reply, 4xx or 5xx.
    Reply(u16),
    /// A well-formed reply that cannot stand where it stood, such as a 250 to DATA.
    Unexpected(u16),
    /// Something that is no SMTP reply.
    Garbage,
    /// The server does not offer an extension that was asked for.
    NotOffered,
    /// Nobody listens.
    Refused,
    /// No route, or the network is down.
    Unreachable,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the last reply.
    Closed,
    /// The time for it ran out.
    Timeout,
    /// The TLS handshake or a TLS record failed.
    Tls,
    /// The server's certificate is not good.
    Certificate,
    /// This machine has no local port left for another connection (EADDRNOTAVAIL).
    NoLocalPort,
    /// This process has no file descriptor left (EMFILE, ENFILE).
    NoDescriptor,
    /// Another error of the operating system.
    Io,
}

impl Kind {
    /// The name in tables and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reply(_) => "reply",
            Self::Unexpected(_) => "unexpected-reply",
            Self::Garbage => "garbage",
            Self::NotOffered => "not-offered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::NoLocalPort => "no-local-port",
            Self::NoDescriptor => "no-descriptor",
            Self::Io => "io",
        }
    }

    /// The reply code that says it, where a reply does.
    pub(crate) const fn code(self) -> Option<u16> {
        match self {
            Self::Reply(code) | Self::Unexpected(code) => Some(code),
            _ => None,
        }
    }
}

/// One failure of one message, or of the connection made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Where.
    pub(crate) stage: Stage,
    /// What.
    pub(crate) kind: Kind,
    /// The reply's text or the system's words; empty where there are none.
    pub(crate) detail: String,
}

impl Failure {
    /// A failure that needs no words.
    pub(crate) const fn new(stage: Stage, kind: Kind) -> Self {
        Self {
            stage,
            kind,
            detail: String::new(),
        }
    }

    /// A failure in the words of whoever found it.
    pub(crate) fn with_detail(stage: Stage, kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            stage,
            kind,
            detail: detail.into(),
        }
    }

    /// What an error of a socket amounts to.
    pub(crate) fn from_io(stage: Stage, error: &io::Error) -> Self {
        use io::ErrorKind as E;
        let kind = match error.kind() {
            E::ConnectionRefused => Kind::Refused,
            // Of a Unix socket: there is none, or its queue is full.
            E::NotFound | E::WouldBlock if stage == Stage::Connect => Kind::Refused,
            E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe | E::NotConnected => {
                Kind::Reset
            }
            E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => Kind::Unreachable,
            E::AddrNotAvailable | E::AddrInUse => Kind::NoLocalPort,
            E::TimedOut => Kind::Timeout,
            // EMFILE and ENFILE have no kind of their own in std.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Kind::NoDescriptor,
            _ => Kind::Io,
        };
        Self::with_detail(stage, kind, error.to_string())
    }
}

impl From<prixfixe_client::Error> for Failure {
    fn from(error: prixfixe_client::Error) -> Self {
        let (kind, detail) = match error.fault() {
            Fault::Refused(reply) => (Kind::Reply(reply.code()), reply.to_string()),
            Fault::Unexpected(reply) => (Kind::Unexpected(reply.code()), reply.to_string()),
            Fault::NotOffered(Extension::StartTls) => (Kind::NotOffered, "STARTTLS".to_owned()),
            Fault::Closed => (Kind::Closed, String::new()),
            Fault::TimedOut => (Kind::Timeout, String::new()),
            Fault::Malformed { said, .. } => (Kind::Garbage, said.clone()),
            other => (Kind::Garbage, other.to_string()),
        };
        Self::with_detail(error.stage().into(), kind, quote(&detail))
    }
}

impl From<prixfixe_client::Stage> for Stage {
    fn from(stage: prixfixe_client::Stage) -> Self {
        use prixfixe_client::Stage as S;
        match stage {
            S::Greeting => Self::Greeting,
            S::Hello => Self::Ehlo,
            S::StartTls => Self::StartTls,
            S::Tls => Self::Tls,
            S::Mail => Self::Mail,
            S::Rcpt => Self::Rcpt,
            S::Data => Self::Data,
            S::Content => Self::Content,
            S::Reset => Self::Rset,
            _ => Self::Idle,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind.name(), self.stage.name())?;
        if let Some(code) = self.kind.code() {
            write!(f, " {code}")?;
        }
        if self.detail.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.detail)
        }
    }
}
