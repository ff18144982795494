//! What happens is told in one place: to the log, to the counters and to the list of recent
//! incidents.
//!
//! Whoever sees something says what it was, as an [`Observation`]; which of the three want to know,
//! and in what words, is decided here. A fourth would be one function more.

mod message;

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::time::Instant;

use prixfixe_core::{ForwardPath, Reply, ReversePath};
use tracing::Level;

pub(crate) use self::message::{Ended, MessageResult};
use crate::clients::OverLimit;
use crate::log::{Cut, Log, Recipients, Refused, What, Who, granted};
use crate::metrics::{Address, Cause, Counts, RawIncident};
use crate::proxy::HeaderError;
use crate::tls::{HandshakeError, TlsVersion};
use crate::{ConnectionResult, HandshakeFailure, IncidentKind, Recipient, TimeoutPhase, replies};

/// Where it is told.
#[derive(Clone, Copy)]
pub(crate) struct Observer<'a> {
    pub(crate) log: &'a Log,
    pub(crate) counts: &'a Counts,
}

/// What happened.
pub(crate) enum Observation<'a> {
    /// It is known what comes of a connection, and nobody needs more than the number.
    Connection(ConnectionResult),
    /// A connection over the connection limit.
    Crowded,
    /// A client over a limit of its own.
    ClientLimit(OverLimit),
    /// The client was refused before its greeting.
    ConnectionRefused(&'a Reply),
    /// A balancer's connection came to its end without a header.
    NoHeader(NoHeader<'a>),
    /// A command was answered with this code, of which more is said elsewhere.
    CommandRefused(u16),
    /// Somebody was refused something in a session.
    Refused(Refusal<'a>),
    /// A client was too slow.
    Timeout(TimeoutPhase, Late<'a>),
    /// TLS is there.
    Handshake(TlsVersion),
    /// TLS did not come about.
    HandshakeFailed(&'a HandshakeError),
    /// The connection was gone before the end of a handshake, which the line of the connection
    /// tells.
    HandshakeGone,
    /// There was clear text where a handshake should have been.
    ClearText(Refusal<'a>),
    /// It is known what becomes of a message.
    Message(Ended<'a>),
}

/// Why there is no header of a balancer's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoHeader<'a> {
    Bad(&'a HeaderError),
    TimedOut,
    CutOff,
    /// Nothing came at all: the balancer looks whether the port is open.
    Nothing,
    /// The server goes away.
    Shutdown,
}

/// What a client lost by being late.
pub(crate) enum Late<'a> {
    /// A message, which has a line of its own, or nothing of a session's.
    Elsewhere,
    /// Nothing: it was idle. The line of the connection says enough.
    Idle,
    /// A transaction, or commands that wait.
    Refused(Refusal<'a>),
}

/// What was refused to whom, and how.
#[derive(Clone, Copy)]
pub(crate) struct Refusal<'a> {
    pub(crate) kind: IncidentKind,
    pub(crate) what: What,
    /// The verb, if it is one of SMTP's.
    pub(crate) command: Option<&'static str>,
    pub(crate) from: Option<Said<'a, ReversePath>>,
    pub(crate) to: To<'a>,
    /// Whom a login was for.
    pub(crate) user: Option<&'a str>,
    pub(crate) reply: &'a Reply,
}

/// An address, or what a client sent in place of one.
pub(crate) enum Said<'a, T> {
    Path(&'a T),
    AsSent(&'a dyn Display),
}

/// Whom mail was for.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    Nobody,
    One(Said<'a, ForwardPath>),
    /// Those of the transaction.
    All(&'a [Recipient]),
}

impl Observer<'_> {
    /// Tells everybody who wants to know.
    pub(crate) fn observe(self, now: Instant, who: Who<'_>, observation: &Observation<'_>) {
        observation.count(self.counts, who);
        observation.write(self.log, now, who);
        if let Some(note) = observation.note(who.peer.ip()) {
            self.counts.note(note);
        }
    }
}

impl Observation<'_> {
    fn count(&self, counts: &Counts, who: Who<'_>) {
        match self {
            Self::Connection(result) => counts.connection(*result),
            Self::Crowded => counts.connection(ConnectionResult::OverLimit),
            Self::ClientLimit(_) => counts.connection(ConnectionResult::ClientLimit),
            Self::ConnectionRefused(_) => counts.connection(ConnectionResult::Refused),
            Self::NoHeader(end) => end.count(counts),
            Self::CommandRefused(code) => counts.command_refused(*code),
            Self::Timeout(phase, _) => counts.timeout(*phase),
            Self::Handshake(version) => counts.handshake(*version),
            Self::HandshakeFailed(error) => {
                counts.handshake_failed(HandshakeFailure::of(error));
                if **error == HandshakeError::TimedOut {
                    counts.timeout(TimeoutPhase::Handshake);
                }
            }
            Self::HandshakeGone => counts.handshake_failed(HandshakeFailure::Closed),
            Self::ClearText(_) => counts.handshake_failed(HandshakeFailure::ClearText),
            Self::Message(ended) => ended.count(counts, who.peer.ip()),
            Self::Refused(_) => {}
        }
    }

    fn write(&self, log: &Log, now: Instant, who: Who<'_>) {
        match self {
            Self::Crowded => log.crowded(now, who.peer, &replies::TOO_MANY_CONNECTIONS),
            Self::ClientLimit(limit) => {
                let reply = replies::TOO_MANY_OF_CLIENT;
                let refused = Refused {
                    limit: Some(limit),
                    ..Refused::new(What::Connect, &reply)
                };
                log.refused(now, who, &refused);
            }
            Self::ConnectionRefused(reply) => {
                log.refused(now, who, &Refused::new(What::Connect, reply));
            }
            Self::NoHeader(end) => end.write(log, now, who),
            Self::Refused(refusal)
            | Self::ClearText(refusal)
            | Self::Timeout(_, Late::Refused(refusal)) => refusal.write(log, now, who),
            Self::Message(ended) => ended.write(log, who),
            Self::Connection(_)
            | Self::CommandRefused(_)
            | Self::Timeout(..)
            | Self::Handshake(_)
            | Self::HandshakeFailed(_)
            | Self::HandshakeGone => {}
        }
    }

    fn note(&self, client: Option<IpAddr>) -> Option<RawIncident> {
        let refused =
            |reply: &Reply| (IncidentKind::ConnectionRefused, Cause::Reply(reply.clone()));
        let (kind, cause) = match self {
            Self::Crowded => refused(&replies::TOO_MANY_CONNECTIONS),
            Self::ClientLimit(_) => refused(&replies::TOO_MANY_OF_CLIENT),
            Self::ConnectionRefused(reply) => refused(reply),
            Self::NoHeader(end) => (IncidentKind::ConnectionRefused, end.cause()?),
            Self::Refused(refusal)
            | Self::ClearText(refusal)
            | Self::Timeout(_, Late::Refused(refusal)) => return Some(refusal.note(client)),
            Self::Timeout(_, Late::Idle) => {
                (IncidentKind::Timeout, Cause::Reply(replies::TIMED_OUT))
            }
            Self::HandshakeFailed(error) => (
                IncidentKind::TlsFailed,
                Cause::Text(error.to_string().into()),
            ),
            Self::Message(ended) => return ended.note(client),
            Self::Connection(_)
            | Self::CommandRefused(_)
            | Self::Timeout(_, Late::Elsewhere)
            | Self::Handshake(_)
            | Self::HandshakeGone => return None,
        };
        Some(RawIncident::new(kind, cause, client))
    }
}

impl NoHeader<'_> {
    fn count(self, counts: &Counts) {
        counts.connection(match self {
            Self::Bad(_) | Self::TimedOut | Self::CutOff => ConnectionResult::BadProxyHeader,
            Self::Nothing => ConnectionResult::HealthCheck,
            Self::Shutdown => ConnectionResult::Unfinished,
        });
        if matches!(self, Self::TimedOut) {
            counts.timeout(TimeoutPhase::ProxyHeader);
        }
    }

    /// A balancer that is set up wrongly is told of; one that only looks whether the port is open
    /// is not.
    fn write(self, log: &Log, now: Instant, who: Who<'_>) {
        let peer = who.peer;
        let grant = || log.grant(Level::WARN, now, peer.ip());
        match self {
            Self::Bad(error) => {
                granted!(grant(), warn, %peer, error = %Cut(error), "bad PROXY header");
            }
            Self::TimedOut => granted!(grant(), warn, %peer, "no PROXY header in time"),
            Self::CutOff => granted!(grant(), warn, %peer, "PROXY header cut off"),
            Self::Nothing | Self::Shutdown => {
                tracing::debug!(target: "prixfixe", %peer, "closed before a PROXY header");
            }
        }
    }

    fn cause(self) -> Option<Cause> {
        Some(Cause::Text(match self {
            Self::Bad(error) => error.to_string().into(),
            Self::TimedOut => "no PROXY header in time".into(),
            Self::CutOff => "PROXY header cut off".into(),
            Self::Nothing | Self::Shutdown => return None,
        }))
    }
}

impl<'a> Refusal<'a> {
    /// Of which no more is known.
    pub(crate) const fn new(kind: IncidentKind, what: What, reply: &'a Reply) -> Self {
        Self {
            kind,
            what,
            command: None,
            from: None,
            to: To::Nobody,
            user: None,
            reply,
        }
    }

    fn write(&self, log: &Log, now: Instant, who: Who<'_>) {
        let user = self.user.map(Cut);
        let (one, all);
        let to: Option<&dyn Display> = match self.to {
            To::Nobody | To::All([]) => None,
            To::One(said) => {
                one = said;
                Some(&one)
            }
            To::All(list) => {
                all = Recipients::in_short(list);
                Some(&all)
            }
        };
        let refused = Refused {
            command: self.command,
            from: self.from.as_ref().map(|it| it as &dyn Display),
            to,
            user: user.as_ref().map(|it| it as &dyn Display),
            ..Refused::new(self.what, self.reply)
        };
        log.refused(now, who, &refused);
    }

    fn note(&self, client: Option<IpAddr>) -> RawIncident {
        RawIncident {
            sender: self.from.map(Said::address),
            recipient: match self.to {
                To::Nobody => None,
                To::One(said) => Some(said.address()),
                To::All(list) => list.first().map(|it| Address::Path(it.path().clone())),
            },
            ..RawIncident::new(self.kind, Cause::Reply(self.reply.clone()), client)
        }
    }
}

impl<T> Clone for Said<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Said<'_, T> {}

impl<T: Clone> Said<'_, T> {
    fn address(self) -> Address<T> {
        match self {
            Self::Path(path) => Address::Path(path.clone()),
            Self::AsSent(text) => Address::AsSent(text.to_string().into()),
        }
    }
}

impl<T: Display> Display for Said<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::AsSent(text) => text.fmt(f),
        }
    }
}
