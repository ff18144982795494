//! What a session says to those who count, note and log.

use std::fmt::Display;
use std::mem;
use std::time::Instant;

use prixfixe_core::{ForwardPath, Question, Reply, replies as core_replies};

use super::record::EndReason;
use super::refused_line::RefusedLine;
use super::{Pending, SmtpSession};
use crate::log::What;
use crate::observe::{Late, Observation, Refusal, Said, To};
use crate::{ConnectionResult, IncidentKind, TimeoutPhase, replies};

impl SmtpSession {
    pub(super) fn observe(&self, now: Instant, observation: &Observation<'_>) {
        let observer = self.shared.observer();
        observer.observe(now, (&self.client).into(), observation);
    }

    /// The open question is answered: with this refusal, or yes.
    pub(super) fn count_answer(&mut self, now: Instant, refusal: Option<&Reply>) {
        let refusal = refusal.map(as_sent);
        match (self.connection.question(), refusal) {
            // It is told 421 in place of a greeting.
            (Some(Question::Connect), None) if self.record.end == EndReason::Shutdown => {}
            // A proxy's connection counts once, whoever comes by it.
            (Some(Question::Connect), None) if self.counted => {}
            (Some(Question::Connect), None) => {
                self.counted = true;
                self.count_connection(now, ConnectionResult::Accepted);
            }
            (Some(Question::Connect), Some(reply)) => {
                self.counted = true;
                self.observe(now, &Observation::ConnectionRefused(reply));
            }
            (Some(_), Some(reply)) => {
                self.observe(now, &Observation::CommandRefused(reply.code()));
            }
            _ => {}
        }
    }

    /// A load balancer that comes by itself is no mail client.
    fn count_connection(&self, now: Instant, result: ConnectionResult) {
        let result = match self.client.is_health_check() {
            true => ConnectionResult::HealthCheck,
            false => result,
        };
        self.observe(now, &Observation::Connection(result));
    }

    /// With the sender and the recipients of the transaction, where there is one and nothing else
    /// was said.
    fn within<'a>(&'a self, refusal: Refusal<'a>) -> Refusal<'a> {
        let Some(transaction) = &self.transaction else {
            return refusal;
        };
        let sender = Said::Path(transaction.envelope.reverse_path());
        Refusal {
            from: refusal.from.or(Some(sender)),
            to: match (refusal.to, refusal.what) {
                // Of a recipient that is not known the others are not to be taken for it.
                (To::Nobody, what) if what != What::Rcpt => {
                    To::All(transaction.envelope.recipients())
                }
                (to, _) => to,
            },
            ..refusal
        }
    }

    fn refuse(&self, now: Instant, refusal: Refusal<'_>) {
        self.observe(now, &Observation::Refused(self.within(refusal)));
    }

    pub(super) fn refuse_sender(&mut self, now: Instant, reply: &Reply) {
        let kind = IncidentKind::SenderRefused;
        self.refuse(now, Refusal::new(kind, What::Mail, as_sent(reply)));
        self.transaction = None;
    }

    pub(super) fn refuse_recipient(&self, now: Instant, to: &ForwardPath, reply: &Reply) {
        let refusal = Refusal::new(IncidentKind::RecipientRefused, What::Rcpt, as_sent(reply));
        let to = To::One(Said::Path(to));
        self.refuse(now, Refusal { to, ..refusal });
    }

    /// The application panicked over a recipient, so that nobody knows any more which it was.
    pub(super) fn refuse_unanswered(&self, now: Instant, reply: &Reply) {
        let kind = IncidentKind::RecipientRefused;
        self.refuse(now, Refusal::new(kind, What::Rcpt, reply));
    }

    /// The application has refused a command.
    pub(super) fn refuse_answered(
        &self,
        now: Instant,
        command: Option<&'static str>,
        reply: &Reply,
    ) {
        let kind = IncidentKind::CommandRefused;
        let refusal = Refusal::new(kind, What::Command, as_sent(reply));
        self.refuse(now, Refusal { command, ..refusal });
    }

    /// A command that is none of SMTP's is refused. The dialogue reports that by itself, unless the
    /// refusal ends the session.
    pub(super) fn count_closing_refusal(&self, now: Instant, reply: &Reply) {
        let reply = as_sent(reply);
        if reply.code() == 421 || reply.closes() {
            self.observe(now, &Observation::CommandRefused(reply.code()));
            self.refuse_answered(now, None, reply);
        }
    }

    /// A command was refused by the rules of the protocol or a limit.
    pub(super) fn refuse_command(&mut self, now: Instant, line: &[u8], reply: &Reply) {
        self.observe(now, &Observation::CommandRefused(reply.code()));
        if *reply == core_replies::TOO_MANY_ERRORS {
            self.record.end = EndReason::TooManyErrors;
        } else if self.connection.is_closed() {
            self.record.end = EndReason::Refused(Box::new(reply.clone()));
        }
        // DATA behind a refused RCPT, in one write: the refusal before it is told, and says more.
        let follows = mem::replace(&mut self.refused, true);
        if follows && *reply == core_replies::OUT_OF_ORDER {
            return;
        }
        // A chunk over the limit was told when its line came: the transaction was there then.
        if mem::take(&mut self.chunk_is_told) && *reply == core_replies::TOO_LARGE {
            return;
        }
        let line = RefusedLine::new(line);
        let argument = line.argument.as_ref().map(|it| it as &dyn Display);
        let mut refusal = Refusal {
            command: line.verb,
            ..Refusal::new(IncidentKind::CommandRefused, What::Command, as_sent(reply))
        };
        match line.verb {
            Some("MAIL") => {
                refusal.what = What::Mail;
                refusal.from = argument.map(Said::AsSent);
            }
            Some("RCPT") => {
                refusal.what = What::Rcpt;
                refusal.to = argument.map_or(To::Nobody, |it| To::One(Said::AsSent(it)));
            }
            _ => {}
        }
        self.refuse(now, refusal);
    }

    /// A transaction ends. If a first chunk over the size limit ends it, that is told now: its
    /// reply comes when its octets are skipped, and nobody remembers whose it was by then.
    pub(super) fn refuse_large_chunk(&mut self, now: Instant) {
        if !self.connection.expects_content() {
            return;
        }
        self.chunk_is_told = true;
        let reply = core_replies::TOO_LARGE;
        let refusal = Refusal::new(IncidentKind::CommandRefused, What::Message, &reply);
        let command = Some("BDAT");
        self.refuse(now, Refusal { command, ..refusal });
    }

    /// The client was too slow. A message that this ends has its own line. Nothing was refused to a
    /// client that was idle: there the line of the connection says enough.
    pub(super) fn count_timeout(&self, now: Instant, phase: TimeoutPhase) {
        let reply = replies::TIMED_OUT;
        let late = if matches!(self.pending, Pending::Message(_)) {
            Late::Elsewhere
        } else if self.transaction.is_none() && self.input.is_empty() {
            Late::Idle
        } else {
            let refusal = Refusal::new(IncidentKind::Timeout, What::Command, &reply);
            Late::Refused(self.within(refusal))
        };
        self.observe(now, &Observation::Timeout(phase, late));
    }

    pub(super) fn refuse_clear_text(&mut self, now: Instant) {
        // Nobody was greeted where TLS comes first.
        let (what, command, reply) = match self.counted {
            true => (
                What::Command,
                Some("STARTTLS"),
                replies::CLEAR_TEXT_AFTER_STARTTLS,
            ),
            false => (What::Connect, None, core_replies::TLS_BEFORE_ANYTHING),
        };
        let refusal = Refusal {
            command,
            ..Refusal::new(IncidentKind::TlsFailed, what, &reply)
        };
        self.observe(now, &Observation::ClearText(refusal));
        self.record.end = EndReason::Refused(Box::new(reply));
    }

    /// The connection is gone: what did not come to its end counts now.
    pub(super) fn count_end(&self, now: Instant) {
        if self.wants_tls {
            self.observe(now, &Observation::HandshakeGone);
        }
        if !self.counted {
            self.count_connection(now, ConnectionResult::Unfinished);
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
