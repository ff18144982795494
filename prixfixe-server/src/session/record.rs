//! What is told of a session in the log: one event a message, one a connection end.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::tls::HandshakeError;
use prixfixe_core::{Abort, Question, Reply, replies as core_replies};
use tracing::{Level, debug};

use super::delivery::Delivery;
use crate::log::{Cut, Grant, Log, Recipients, granted};
use crate::metrics::{AcceptedNote, Address, Cause, Counts, Note, Times};
use crate::{Client, FailureReason, IncidentKind, replies};

/// Counts and circumstances of one connection.
#[derive(Debug)]
pub(super) struct Record {
    since: Instant,
    last: Instant,
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

/// Where the end of a message is told.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) log: &'a Log,
    pub(crate) counts: &'a Counts,
}

/// What became of a message.
pub(super) enum MessageResult<'a> {
    Accepted,
    /// By LMTP: for some of its recipients.
    InPart {
        accepted: usize,
        recipients: usize,
        /// What an SMTP client would have been told.
        refusal: &'a Reply,
    },
    Refused(&'a Reply),
    Aborted(&'a Abort),
    /// The connection is gone; the server stops.
    Stopped,
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

    pub(super) fn message(
        &mut self,
        to: Told<'_>,
        now: Instant,
        client: &Client,
        delivery: &Delivery,
        result: MessageResult<'_>,
    ) {
        let is_accepted = matches!(
            result,
            MessageResult::Accepted | MessageResult::InPart { .. }
        );
        match is_accepted {
            true => self.accepted += 1,
            false => self.refused += 1,
        }
        result.count(to.counts, now, client, delivery);
        let transaction = &delivery.transaction;
        to.log.tick(now);
        let grant = match is_accepted {
            true => Grant::Line,
            false => to.log.grant(Level::INFO, now, client.peer().ip()),
        };
        granted!(
            grant,
            info,
            id = %delivery.id,
            digest = transaction.envelope.known_digest().map(display),
            peer = %client.peer(),
            user = client.identity().map(|user| display(Cut(user))),
            from = %Cut(transaction.envelope.reverse_path()),
            recipients = %Recipients::of_message(transaction.envelope.recipients()),
            size = delivery.size,
            duration = seconds(now.saturating_duration_since(transaction.started)),
            result = %Cut(result),
            "message"
        );
    }

    /// The connection is gone with a message under way, in the middle of its content or of the handler's answer.
    pub(super) fn message_lost(&mut self, to: Told<'_>, client: &Client, delivery: &Delivery) {
        let result = match self.end {
            EndReason::Shutdown => MessageResult::Stopped,
            _ => MessageResult::Aborted(&Abort::Eof),
        };
        self.message(to, self.last, client, delivery, result);
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

/// Seconds with microseconds, which is as fine as a log needs.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

impl MessageResult<'_> {
    fn count(&self, counts: &Counts, now: Instant, client: &Client, delivery: &Delivery) {
        let transaction = &delivery.transaction;
        let since = |then: Instant| now.saturating_duration_since(then);
        let answered = matches!(
            self,
            Self::Accepted | Self::InPart { .. } | Self::Refused(_)
        );
        let times = Times {
            now,
            processing: since(transaction.started),
            delivery: delivery.finished.filter(|_| answered).map(since),
        };
        let (reason, cause) = match self {
            // It was taken, and who was refused is the client's to know.
            Self::Accepted | Self::InPart { .. } => {
                let from = client.peer().ip();
                return counts.message_succeeded(times, from, delivery.size, || {
                    accepted_note(from, delivery, times.processing)
                });
            }
            Self::Refused(reply) => (
                FailureReason::of_answer(reply),
                Cause::Reply((*reply).clone()),
            ),
            Self::Aborted(abort) => (FailureReason::of_abort(abort), cause(abort)),
            Self::Stopped => (
                FailureReason::Shutdown,
                Cause::Text("the server stopped".into()),
            ),
        };
        counts.message_failed(reason, times);
        counts.note(Note {
            id: Some(delivery.id),
            sender: Some(Address::Path(transaction.envelope.reverse_path().clone())),
            recipient: transaction
                .envelope
                .recipients()
                .first()
                .map(|it| Address::Path(it.path.clone())),
            ..Note::new(IncidentKind::MessageFailed, cause, client)
        });
    }
}

fn accepted_note(client: Option<IpAddr>, delivery: &Delivery, duration: Duration) -> AcceptedNote {
    let envelope = &delivery.transaction.envelope;
    let recipients = envelope.recipients();
    AcceptedNote {
        id: delivery.id,
        client,
        sender: envelope.reverse_path().clone(),
        recipient: recipients.first().map(|it| it.path.clone()),
        recipients: recipients.len(),
        size: delivery.size,
        duration,
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

fn cause(abort: &Abort) -> Cause {
    match abort {
        Abort::Refused(reply) => Cause::Reply(reply.clone()),
        Abort::Timeout => Cause::Reply(replies::TIMED_OUT),
        Abort::Eof => Cause::Text("the connection was lost".into()),
        // Reset, Closed, and what is not known yet.
        _ => Cause::Text("given up by the client".into()),
    }
}

impl fmt::Display for MessageResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::InPart {
                accepted,
                recipients,
                refusal,
            } => write!(
                f,
                "accepted for {accepted} of {recipients} recipients: {refusal}"
            ),
            Self::Refused(reply) => write!(f, "refused: {reply}"),
            Self::Aborted(Abort::Refused(reply)) => write!(f, "refused: {reply}"),
            Self::Aborted(Abort::Eof) | Self::Stopped => f.write_str("cut off"),
            Self::Aborted(Abort::Timeout) => write!(f, "refused: {}", replies::TIMED_OUT),
            Self::Aborted(_) => f.write_str("given up by the client"),
        }
    }
}

#[cfg(test)]
mod tests;
