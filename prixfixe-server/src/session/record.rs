//! What is remembered of a connection, for what is told at the end of each message and at its own.

use std::time::Instant;

use crate::tls::HandshakeError;
use prixfixe_core::{Abort, Question, Reply, replies as core_replies};
use tracing::{Level, debug};

use super::delivery::Delivery;
use crate::log::{Cut, Grant, Log, granted, seconds};
use crate::observe::{Ended, MessageResult, Observation, Observer};
use crate::{Client, replies};

/// Counts and circumstances of one connection.
#[derive(Debug)]
pub(super) struct Record {
    since: Instant,
    /// When it was last looked at.
    pub(super) last: Instant,
    /// Octets of content received.
    pub(super) octets: u64,
    accepted: u64,
    refused: u64,
    /// The client has sent something that may be a command.
    pub(super) has_spoken: bool,
    pub(super) end: EndReason,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EndReason {
    /// It broke, or its client left in the middle of a transaction.
    Lost,
    /// The client closed it between two transactions.
    Closed,
    Quit,
    Timeout,
    TooManyErrors,
    /// The client was sent away with this.
    Refused(Box<Reply>),
    /// The application closed it with a positive reply.
    Dismissed,
    /// A TLS handshake did not come to its end.
    Tls(Box<HandshakeError>),
    Shutdown,
}

impl Record {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            last: now,
            octets: 0,
            accepted: 0,
            refused: 0,
            has_spoken: false,
            end: EndReason::Lost,
        }
    }

    /// It is known what becomes of a message.
    pub(super) fn message(
        &mut self,
        observer: Observer<'_>,
        now: Instant,
        client: &Client,
        delivery: &Delivery,
        result: MessageResult<'_>,
    ) {
        match result.is_accepted() {
            true => self.accepted += 1,
            false => self.refused += 1,
        }
        let since = |then: Instant| now.saturating_duration_since(then);
        let ended = Ended {
            now,
            id: delivery.id,
            user: client.identity(),
            envelope: &delivery.transaction.envelope,
            size: delivery.size,
            duration: since(delivery.transaction.started),
            since_content: delivery.finished.map(since),
            result,
        };
        observer.observe(now, client.into(), &Observation::Message(ended));
    }

    /// The connection is gone with a message under way, in the middle of its content or of the
    /// handler's answer.
    pub(super) fn message_lost(
        &mut self,
        observer: Observer<'_>,
        client: &Client,
        delivery: &Delivery,
    ) {
        let result = match self.end {
            EndReason::Shutdown => MessageResult::Stopped,
            _ => MessageResult::Aborted(&Abort::Eof),
        };
        self.message(observer, self.last, client, delivery, result);
    }

    pub(super) fn handler_panicked(
        &self,
        log: &Log,
        now: Instant,
        client: &Client,
        question: Option<Question>,
    ) {
        let question = name(question);
        let grant = log.grant(Level::ERROR, now, client.peer().ip());
        granted!(grant, error, peer = %client.peer(), question, "the handler panicked; the connection is closed");
    }

    pub(super) fn handler_timed_out(
        &self,
        log: &Log,
        now: Instant,
        client: &Client,
        question: Option<Question>,
    ) {
        let question = name(question);
        let grant = log.grant(Level::ERROR, now, client.peer().ip());
        granted!(grant, error, peer = %client.peer(), question, "the handler did not answer in time");
    }

    /// The session was looked at: it lasts at least until now.
    pub(super) fn seen(&mut self, now: Instant) {
        self.last = now;
    }

    /// `was_told`: the server ended the session by a reply, so that the client knows why.
    pub(super) fn connection_closed(&self, log: &Log, client: &Client, was_told: bool) {
        let duration = seconds(self.last.saturating_duration_since(self.since));
        log.tick(self.last);
        // Every second from every balancer: nothing that an operator wants to read.
        if client.is_health_check() && self.accepted + self.refused == 0 {
            debug!(target: "prixfixe", peer = %client.peer(), duration, result = self.end.word(), "health check");
            return;
        }
        let grant = if self.accepted > 0 {
            Grant::Line
        } else if self.left_without_a_command() {
            Grant::Debug
        } else {
            log.grant(Level::INFO, self.last, client.peer().ip())
        };
        let subject = client.tls().and_then(|tls| tls.client_subject.as_deref());
        granted!(
            grant,
            info,
            peer = %client.peer(),
            balancer = client.balancer().map(display),
            helo = client.helo().map(|helo| display(Cut(helo))),
            user = client.identity().map(|user| display(Cut(user))),
            tls = client.tls().map(|tls| tls.version.as_str()),
            tls_subject = subject.map(|subject| display(Cut(subject))),
            accepted = self.accepted,
            refused = self.refused,
            octets = self.octets,
            duration,
            result = self.end.word(),
            reply = self.end.reply().filter(|_| was_told).map(|reply| display(Cut(reply))),
            tls_error = self.end.tls_error().map(|error| display(Cut(error))),
            "connection"
        );
    }

    /// A look whether the port is open, or a client that was told why it is not wanted.
    fn left_without_a_command(&self) -> bool {
        let left = match &self.end {
            EndReason::Lost | EndReason::Closed | EndReason::Refused(_) => true,
            EndReason::Tls(error) => **error == HandshakeError::Closed,
            _ => false,
        };
        left && !self.has_spoken
    }
}

impl EndReason {
    /// The word for it in the log.
    fn word(&self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Closed | Self::Dismissed => "closed",
            Self::Quit => "quit",
            Self::Timeout => "timeout",
            Self::TooManyErrors => "too-many-errors",
            Self::Refused(_) => "refused",
            Self::Tls(error) => match **error {
                HandshakeError::Closed => "lost",
                HandshakeError::TimedOut => "timeout",
                _ => "refused",
            },
            Self::Shutdown => "shutdown",
        }
    }

    /// What a client is told that is sent away for it.
    fn reply(&self) -> Option<&Reply> {
        static TOO_MANY_ERRORS: Reply = core_replies::TOO_MANY_ERRORS;
        static TIMED_OUT: Reply = replies::TIMED_OUT;
        static SHUTTING_DOWN: Reply = core_replies::SHUTTING_DOWN;
        match self {
            Self::TooManyErrors => Some(&TOO_MANY_ERRORS),
            Self::Timeout => Some(&TIMED_OUT),
            Self::Shutdown => Some(&SHUTTING_DOWN),
            Self::Refused(reply) => Some(reply),
            _ => None,
        }
    }

    fn tls_error(&self) -> Option<&HandshakeError> {
        match self {
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

/// The hook that a question is asked by.
const fn name(question: Option<Question>) -> &'static str {
    match question {
        Some(Question::Connect) => "connect",
        Some(Question::Hello) => "hello",
        Some(Question::Mail) => "mail",
        Some(Question::Rcpt) => "rcpt",
        Some(Question::Data) => "data",
        Some(Question::Message) => "message",
        Some(Question::Command) => "command",
        Some(Question::Auth) => "authenticate",
        _ => "reset",
    }
}

#[cfg(test)]
mod tests;
