//! The message of a session on its way, and the end of a transaction.

use std::mem;
use std::task::Context;
use std::time::Instant;

use prixfixe_core::{Abort, Question as Open};

use super::record::EndReason;
use super::{Pending, SmtpSession};
use crate::conversation::Panicked;
use crate::observe::MessageResult;
use crate::replies;

impl SmtpSession {
    /// Lets the application work on the message under way.
    pub(super) fn settle_delivery(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Pending::Message(delivery) = &mut self.pending else {
            return;
        };
        if let Err(Panicked) = delivery.poll(&mut self.conversation, cx) {
            self.record
                .handler_panicked(&self.shared.log, now, &self.client, Some(Open::Message));
        }
        if self.connection.question().is_none()
            && let Some(reply) = delivery.closing_reply()
        {
            self.connection.close(reply, self.output.back());
            self.record.end = EndReason::Refused(Box::new(reply.clone()));
            let result = MessageResult::Refused(reply);
            self.record
                .message(self.shared.observer(), now, &self.client, delivery, result);
            self.pending = Pending::Nothing;
        }
    }

    pub(super) fn write_body(&mut self, piece: &[u8]) {
        self.record.octets += piece.len() as u64;
        if let Pending::Message(delivery) = &mut self.pending {
            delivery.write(piece);
        }
    }

    pub(super) fn finish_message(&mut self, now: Instant) {
        if let Pending::Message(delivery) = &mut self.pending {
            delivery.finish(now, now + self.shared.handler_timeout);
        }
    }

    /// The message will never be complete.
    pub(super) fn abort_message(&mut self, now: Instant, reason: &Abort, cx: &mut Context<'_>) {
        if let Pending::Message(delivery) = mem::replace(&mut self.pending, Pending::Nothing) {
            if *reason == Abort::Eof {
                self.record.end = EndReason::Lost;
            }
            let result = MessageResult::Aborted(reason);
            self.record
                .message(self.shared.observer(), now, &self.client, &delivery, result);
            let aborted = delivery.abort(reason, &mut self.conversation, cx);
            self.close_if_broken(now, aborted);
        }
    }

    /// The transaction is over without a message.
    pub(super) fn end_transaction(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.transaction.take().is_some() {
            let told = self.conversation.reset(cx);
            self.close_if_broken(now, told);
        }
    }

    pub(super) fn close_if_broken(&mut self, now: Instant, told: Result<(), Panicked>) {
        if let Err(Panicked) = told {
            self.record
                .handler_panicked(&self.shared.log, now, &self.client, None);
            self.connection
                .close(&replies::HANDLER_PANICKED, self.output.back());
        }
    }
}
