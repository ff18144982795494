//! What a session counts, notes and logs beside its messages.

use std::fmt::Display;
use std::mem;
use std::time::Instant;

use crate::tls::HandshakeError;
use prixfixe_core::{ForwardPath, Question, Reply, ReversePath, replies as core_replies};

use super::record::EndReason;
use super::refused_line::RefusedLine;
use super::{Pending, SmtpSession};
use crate::log::{Recipients, Refused, What, Who};
use crate::metrics::{Address, Cause, Note};
use crate::{ConnectionResult, HandshakeFailure, IncidentKind, TimeoutPhase, replies};

impl SmtpSession {
    /// The open question is answered: with this refusal, or yes.
    pub(super) fn count_answer(&mut self, now: Instant, refusal: Option<&Reply>) {
        let refusal = refusal.map(as_sent);
        match (self.connection.question(), refusal) {
            // It is told 421 in place of a greeting.
            (Some(Question::Connect), None) if self.record.end == EndReason::Shutdown => {}
            // A proxy's connection counts once, whoever comes by it.
            (Some(Question::Connect), None) if self.counted => {}
            (Some(Question::Connect), None) => self.count_connection(ConnectionResult::Accepted),
            (Some(Question::Connect), Some(reply)) => {
                self.count_connection(ConnectionResult::Refused);
                self.log_refused(now, &Refused::new(What::Connect, reply));
                self.note(IncidentKind::ConnectionRefused, Cause::Reply(reply.clone()));
            }
            (Some(_), Some(reply)) => self.shared.counts.command_refused(reply.code()),
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

    pub(super) fn note_failed_login(&self, reply: &Reply) {
        self.note(IncidentKind::LoginFailed, Cause::Reply(reply.clone()));
    }

    fn note(&self, kind: IncidentKind, cause: Cause) {
        self.shared
            .counts
            .note(Note::new(kind, cause, &self.client));
    }

    pub(super) fn log_refused(&self, now: Instant, refused: &Refused<'_>) {
        self.shared
            .log
            .refused(now, Who::from(&self.client), refused);
    }

    /// A refusal, with the sender and the recipients of the transaction where there is one.
    fn log_refused_within(&self, now: Instant, refused: Refused<'_>) {
        let Some(transaction) = &self.transaction else {
            return self.log_refused(now, &refused);
        };
        let recipients = Recipients::in_short(transaction.envelope.recipients());
        let has_any = !transaction.envelope.recipients().is_empty();
        let sender = transaction.envelope.reverse_path();
        let refused = Refused {
            from: refused.from.or(Some(sender)),
            to: match refused.what {
                What::Rcpt => refused.to,
                _ => has_any.then_some(&recipients as &dyn Display),
            },
            ..refused
        };
        self.log_refused(now, &refused);
    }

    pub(super) fn refuse_sender(&mut self, now: Instant, reply: &Reply) {
        self.log_refused_within(now, Refused::new(What::Mail, as_sent(reply)));
        let sender = self.sender();
        self.transaction = None;
        self.shared.counts.note(Note {
            sender,
            ..self.refusal(IncidentKind::SenderRefused, reply)
        });
    }

    pub(super) fn refuse_recipient(&self, now: Instant, to: ForwardPath, reply: &Reply) {
        let refused = Refused {
            to: Some(&to),
            ..Refused::new(What::Rcpt, as_sent(reply))
        };
        self.log_refused_within(now, refused);
        self.shared.counts.note(Note {
            sender: self.sender(),
            recipient: Some(Address::Path(to)),
            ..self.refusal(IncidentKind::RecipientRefused, reply)
        });
    }

    fn sender(&self) -> Option<Address<ReversePath>> {
        let transaction = self.transaction.as_ref()?;
        Some(Address::Path(transaction.envelope.reverse_path().clone()))
    }

    fn refusal(&self, kind: IncidentKind, reply: &Reply) -> Note {
        Note::new(kind, Cause::Reply(as_sent(reply).clone()), &self.client)
    }

    /// The application panicked over a recipient, so that nobody knows any more which it was.
    pub(super) fn refuse_unanswered(&self, now: Instant, reply: Reply) {
        self.log_refused_within(now, Refused::new(What::Rcpt, &reply));
        self.note(IncidentKind::RecipientRefused, Cause::Reply(reply));
    }

    /// The application has refused a command.
    pub(super) fn refuse_answered(
        &self,
        now: Instant,
        command: Option<&'static str>,
        reply: &Reply,
    ) {
        let reply = as_sent(reply);
        let refused = Refused {
            command,
            ..Refused::new(What::Command, reply)
        };
        self.log_refused_within(now, refused);
        self.note(IncidentKind::CommandRefused, Cause::Reply(reply.clone()));
    }

    /// A command that is none of SMTP's is refused. The dialogue reports that by itself, unless the
    /// refusal ends the session.
    pub(super) fn count_closing_refusal(&self, now: Instant, reply: &Reply) {
        let reply = as_sent(reply);
        if reply.code() == 421 || reply.closes() {
            self.shared.counts.command_refused(reply.code());
            self.refuse_answered(now, None, reply);
        }
    }

    /// A command was refused by the rules of the protocol or a limit.
    pub(super) fn refuse_command(&mut self, now: Instant, line: &[u8], reply: Reply) {
        self.shared.counts.command_refused(reply.code());
        if reply == core_replies::TOO_MANY_ERRORS {
            self.record.end = EndReason::TooManyErrors;
        } else if self.connection.is_closed() {
            self.record.end = EndReason::Refused(Box::new(reply.clone()));
        }
        // DATA behind a refused RCPT, in one write: the refusal before it is told, and says more.
        let follows = mem::replace(&mut self.refused, true);
        if follows && reply == core_replies::OUT_OF_ORDER {
            return;
        }
        // A chunk over the limit was told when its line came: the transaction was there then.
        if mem::take(&mut self.chunk_is_told) && reply == core_replies::TOO_LARGE {
            return;
        }
        let line = RefusedLine::new(line);
        let mut refused = Refused {
            command: line.verb,
            ..Refused::new(What::Command, &reply)
        };
        let argument = line.argument.as_ref().map(|it| it as &dyn Display);
        match line.verb {
            Some("MAIL") => (refused.what, refused.from) = (What::Mail, argument),
            Some("RCPT") => (refused.what, refused.to) = (What::Rcpt, argument),
            _ => {}
        }
        self.log_refused_within(now, refused);
        let said = argument.map(|argument| argument.to_string().into_boxed_str());
        let (sender, recipient) = match line.verb {
            Some("MAIL") => (said.map(Address::AsSent), None),
            _ => (self.sender(), said.map(Address::AsSent)),
        };
        self.shared.counts.note(Note {
            sender,
            recipient,
            ..self.refusal(IncidentKind::CommandRefused, &reply)
        });
    }

    /// A transaction ends. If a first chunk over the size limit ends it, that is told now: its reply
    /// comes when its octets are skipped, and nobody remembers whose it was by then.
    pub(super) fn refuse_large_chunk(&mut self, now: Instant) {
        if !self.connection.expects_content() {
            return;
        }
        self.chunk_is_told = true;
        let reply = core_replies::TOO_LARGE;
        let refused = Refused {
            command: Some("BDAT"),
            ..Refused::new(What::Message, &reply)
        };
        self.log_refused_within(now, refused);
        let recipients = self.transaction.as_ref();
        let recipient = recipients.and_then(|it| it.envelope.recipients().first().cloned());
        self.shared.counts.note(Note {
            sender: self.sender(),
            recipient: recipient.map(|it| Address::Path(it.path)),
            ..self.refusal(IncidentKind::CommandRefused, &reply)
        });
    }

    /// The client was too slow. A message that this ends has its own line. Nothing was refused to a
    /// client that was idle: there the line of the connection says enough.
    pub(super) fn count_timeout(&self, now: Instant, phase: TimeoutPhase) {
        self.shared.counts.timeout(phase);
        let reply = replies::TIMED_OUT;
        match &self.transaction {
            _ if matches!(self.pending, Pending::Message(_)) => return,
            Some(_) => self.log_refused_within(now, Refused::new(What::Command, &reply)),
            None if !self.input.is_empty() => {
                self.log_refused(now, &Refused::new(What::Command, &reply));
            }
            None => {}
        }
        self.note(IncidentKind::Timeout, Cause::Reply(reply));
    }

    pub(super) fn refuse_clear_text(&mut self, now: Instant) {
        let failure = HandshakeFailure::ClearText;
        self.shared.counts.handshake_failed(failure);
        // Nobody was greeted where TLS comes first.
        let (what, command, reply) = match self.counted {
            true => (
                What::Command,
                Some("STARTTLS"),
                replies::CLEAR_TEXT_AFTER_STARTTLS,
            ),
            false => (What::Connect, None, core_replies::TLS_BEFORE_ANYTHING),
        };
        let refused = Refused {
            command,
            ..Refused::new(what, &reply)
        };
        self.log_refused(now, &refused);
        self.record.end = EndReason::Refused(Box::new(reply.clone()));
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
