//! What is told of a session in the log: one event a message, one a connection end.
//!
//! Fields come from parsed commands, but internationalised ones may hold any printable or formatting character:
//! a subscriber escapes what could deceive its reader.

use std::fmt;
use std::time::{Duration, Instant};

use prixfixe_core::{Abort, ForwardPath, Question, Reply, ReversePath};
use tracing::{debug, error, info};

use super::delivery::Delivery;
use crate::metrics::{Cause, Counts, Note, Times};
use crate::{Client, FailureReason, IncidentKind, Recipient, replies};

/// Counts and circumstances of one connection.
#[derive(Debug)]
pub(super) struct Record {
    since: Instant,
    last: Instant,
    /// Octets of content received.
    pub(super) octets: u64,
    accepted: u64,
    refused: u64,
    pub(super) end: EndReason,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EndReason {
    /// The client left, or was sent away by a reply.
    Closed,
    Timeout,
    Shutdown,
    Tls(Box<str>),
}

/// What became of a message.
pub(super) enum MessageResult<'a> {
    Accepted,
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
            end: EndReason::Closed,
        }
    }

    pub(super) fn message(
        &mut self,
        counts: &Counts,
        now: Instant,
        client: &Client,
        delivery: &Delivery,
        result: MessageResult<'_>,
    ) {
        match result {
            MessageResult::Accepted => self.accepted += 1,
            _ => self.refused += 1,
        }
        result.count(counts, now, client, delivery);
        let transaction = &delivery.transaction;
        info!(
            target: "prixfixe",
            id = %delivery.id,
            peer = %client.peer(),
            from = %transaction.envelope.reverse_path(),
            recipients = %Recipients(transaction.envelope.recipients()),
            size = delivery.size,
            duration = seconds(now.saturating_duration_since(transaction.started)),
            result = %result,
            "message"
        );
    }

    /// The connection is gone with a message under way, in the middle of its content or of the handler's answer.
    pub(super) fn message_lost(&mut self, counts: &Counts, client: &Client, delivery: &Delivery) {
        let result = match self.end {
            EndReason::Shutdown => MessageResult::Stopped,
            _ => MessageResult::Aborted(&Abort::Eof),
        };
        self.message(counts, self.last, client, delivery, result);
    }

    pub(super) fn sender_refused(&self, client: &Client, from: &ReversePath, reply: &Reply) {
        debug!(target: "prixfixe", peer = %client.peer(), %from, %reply, "sender refused");
    }

    pub(super) fn recipient_refused(&self, client: &Client, to: &ForwardPath, reply: &Reply) {
        debug!(target: "prixfixe", peer = %client.peer(), %to, %reply, "recipient refused");
    }

    pub(super) fn handler_panicked(&self, client: &Client, question: Option<Question>) {
        let question = name(question);
        error!(target: "prixfixe", peer = %client.peer(), question, "the handler panicked; the connection is closed");
    }

    pub(super) fn handler_timed_out(&self, client: &Client, question: Option<Question>) {
        let question = name(question);
        error!(target: "prixfixe", peer = %client.peer(), question, "the handler did not answer in time");
    }

    /// The session was looked at: it lasts at least until now.
    pub(super) fn seen(&mut self, now: Instant) {
        self.last = now;
    }

    pub(super) fn connection_closed(&self, client: &Client) {
        let duration = seconds(self.last.saturating_duration_since(self.since));
        // Every second from every balancer: nothing that an operator wants to read.
        if client.is_health_check() && self.accepted + self.refused == 0 {
            debug!(target: "prixfixe", peer = %client.peer(), duration, result = %self.end, "health check");
            return;
        }
        info!(
            target: "prixfixe",
            peer = %client.peer(),
            balancer = client.balancer().map(display),
            helo = client.helo(),
            tls = client.tls().map(|tls| tls.version.as_str()),
            tls_subject = client.tls().and_then(|tls| tls.client_subject.as_deref()),
            accepted = self.accepted,
            refused = self.refused,
            octets = self.octets,
            duration,
            result = %self.end,
            "connection"
        );
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
        let answered = matches!(self, Self::Accepted | Self::Refused(_));
        let times = Times {
            now,
            processing: since(transaction.started),
            delivery: delivery.finished.filter(|_| answered).map(since),
        };
        let (reason, cause) = match self {
            Self::Accepted => return counts.message_succeeded(times),
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
        counts.recent.note(Note {
            sender: Some(transaction.envelope.reverse_path().clone()),
            recipient: transaction
                .envelope
                .recipients()
                .first()
                .map(|it| it.path.clone()),
            ..Note::new(IncidentKind::MessageFailed, cause, client)
        });
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

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl fmt::Display for MessageResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Refused(reply) => write!(f, "refused: {reply}"),
            Self::Aborted(Abort::Refused(reply)) => write!(f, "refused: {reply}"),
            Self::Aborted(Abort::Reset) => f.write_str("given up by the client"),
            Self::Aborted(Abort::Eof) | Self::Stopped => f.write_str("cut off"),
            Self::Aborted(Abort::Timeout) => f.write_str("timed out"),
            Self::Aborted(_) => f.write_str("closed"),
        }
    }
}

struct Recipients<'a>(&'a [Recipient]);

impl fmt::Display for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, recipient) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{recipient}")?;
        }
        Ok(())
    }
}
