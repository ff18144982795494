//! What a session counts and notes beside its messages.

use std::mem;

use prixfixe_core::{ForwardPath, Question, Reply, replies as core_replies};
use prixfixe_tls::HandshakeError;

use super::record::EndReason;
use super::{Pending, SmtpSession};
use crate::metrics::{Cause, Note};
use crate::{ConnectionResult, HandshakeFailure, IncidentKind, TimeoutPhase, replies};

impl SmtpSession {
    /// The open question is answered: with this refusal, or yes.
    pub(super) fn count_answer(&mut self, refusal: Option<&Reply>) {
        let refusal = refusal.map(as_sent);
        match (self.connection.question(), refusal) {
            // It is told 421 in place of a greeting.
            (Some(Question::Connect), None) if self.record.end == EndReason::Shutdown => {}
            (Some(Question::Connect), None) => self.count_connection(ConnectionResult::Accepted),
            (Some(Question::Connect), Some(reply)) => {
                self.count_connection(ConnectionResult::Refused);
                self.note(IncidentKind::ConnectionRefused, Cause::Reply(reply.clone()));
            }
            (Some(Question::Mail | Question::Rcpt), Some(reply)) => {
                self.shared.counts.command_refused(reply.code());
            }
            _ => {}
        }
    }

    fn count_connection(&mut self, result: ConnectionResult) {
        self.counted = true;
        self.shared.counts.connection(self.of_client(result));
    }

    /// A load balancer that comes by itself is no mail client.
    fn of_client(&self, result: ConnectionResult) -> ConnectionResult {
        match self.client.is_health_check() {
            true => ConnectionResult::HealthCheck,
            false => result,
        }
    }

    fn note(&self, kind: IncidentKind, cause: Cause) {
        self.shared
            .counts
            .recent
            .note(Note::new(kind, cause, &self.client));
    }

    pub(super) fn refuse_sender(&mut self, reply: &Reply) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        let from = transaction.envelope.reverse_path();
        self.record.sender_refused(&self.client, from, reply);
        self.shared.counts.recent.note(Note {
            sender: Some(from.clone()),
            ..self.refusal(IncidentKind::SenderRefused, reply)
        });
    }

    pub(super) fn refuse_recipient(&self, to: ForwardPath, reply: &Reply) {
        self.record.recipient_refused(&self.client, &to, reply);
        let transaction = self.transaction.as_ref();
        let sender = transaction.map(|it| it.envelope.reverse_path().clone());
        self.shared.counts.recent.note(Note {
            sender,
            recipient: Some(to),
            ..self.refusal(IncidentKind::RecipientRefused, reply)
        });
    }

    fn refusal(&self, kind: IncidentKind, reply: &Reply) -> Note {
        Note::new(kind, Cause::Reply(as_sent(reply).clone()), &self.client)
    }

    /// The handler failed over a question, so that nobody knows any more whom it was about.
    pub(super) fn note_unanswered(&self, reply: Reply) {
        let kind = match self.connection.question() {
            Some(Question::Rcpt) => IncidentKind::RecipientRefused,
            _ => return,
        };
        self.note(kind, Cause::Reply(reply));
    }

    pub(super) fn count_refused_command(&mut self, reply: Reply) {
        self.shared.counts.command_refused(reply.code());
        // DATA behind a refused RCPT, in one write: the refusal before it has its note, and says more.
        let follows = mem::replace(&mut self.refused, true);
        if follows && reply == core_replies::OUT_OF_ORDER {
            return;
        }
        self.note(IncidentKind::CommandRefused, Cause::Reply(reply));
    }

    /// The client was too slow. A message that this ends is told of by itself.
    pub(super) fn count_timeout(&self, phase: TimeoutPhase) {
        self.shared.counts.timeout(phase);
        if !matches!(self.pending, Pending::Message(_)) {
            self.note(IncidentKind::Timeout, Cause::Reply(replies::TIMED_OUT));
        }
    }

    pub(super) fn count_clear_text(&self) {
        let failure = HandshakeFailure::ClearText;
        self.shared.counts.handshake_failed(failure);
        // Nobody was greeted where TLS comes first.
        let reply = match self.counted {
            true => replies::CLEAR_TEXT_AFTER_STARTTLS,
            false => core_replies::TLS_BEFORE_ANYTHING,
        };
        self.note(IncidentKind::TlsFailed, Cause::Reply(reply));
    }

    pub(super) fn count_failed_handshake(&self, error: &HandshakeError) {
        let counts = &self.shared.counts;
        counts.handshake_failed(HandshakeFailure::of(error));
        if *error == HandshakeError::TimedOut {
            counts.timeout(TimeoutPhase::Handshake);
        }
        let text = error.to_string();
        self.note(IncidentKind::TlsFailed, Cause::Text(text.into()));
    }

    /// The connection is gone: what did not come to its end counts now.
    pub(super) fn count_end(&self) {
        if self.wants_tls {
            let failure = HandshakeFailure::Closed;
            self.shared.counts.handshake_failed(failure);
        }
        if !self.counted {
            let result = self.of_client(ConnectionResult::Unfinished);
            self.shared.counts.connection(result);
        }
    }
}

/// A refusal that contradicts itself is sent as another one (see [`Answer::Refuse`]).
pub(super) fn as_sent(refusal: &Reply) -> &Reply {
    static LOCAL_ERROR: Reply = replies::LOCAL_ERROR;
    if refusal.is_transient() || refusal.is_permanent() {
        refusal
    } else {
        &LOCAL_ERROR
    }
}
