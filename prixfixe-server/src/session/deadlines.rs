//! What ends by time: an answer of the application's, a client that says nothing.

use std::task::Context;
use std::time::Instant;

use prixfixe_core::Question as Open;

use super::record::EndReason;
use super::{Pending, SmtpSession};
use crate::TimeoutPhase;
use crate::conversation::Panicked;

impl SmtpSession {
    /// Ends what took too long; true if something did.
    pub(super) fn handle_deadlines(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut ended = false;
        match &mut self.pending {
            Pending::Quiet(deadline) if *deadline <= now => {
                self.pending = Pending::Nothing;
                self.ask_connect(now, cx);
                ended = true;
            }
            Pending::Answer(deadline) if *deadline <= now => {
                self.record.handler_timed_out(
                    &self.shared.log,
                    now,
                    &self.client,
                    self.connection.question(),
                );
                let outcome = self.conversation.abandon(cx);
                self.settle(now, outcome, cx);
                ended = true;
            }
            Pending::Login(login) if login.deadline.is_some_and(|deadline| deadline <= now) => {
                self.record.handler_timed_out(
                    &self.shared.log,
                    now,
                    &self.client,
                    self.connection.question(),
                );
                let outcome = self.conversation.abandon(cx);
                self.settle_login(now, outcome);
                ended = true;
            }
            Pending::Message(delivery)
                if delivery.deadline().is_some_and(|deadline| deadline <= now) =>
            {
                self.record.handler_timed_out(
                    &self.shared.log,
                    now,
                    &self.client,
                    Some(Open::Message),
                );
                if let Err(Panicked) = delivery.give_up(&mut self.conversation, cx) {
                    self.record.handler_panicked(
                        &self.shared.log,
                        now,
                        &self.client,
                        Some(Open::Message),
                    );
                }
                ended = true;
            }
            _ => {}
        }
        self.end_late_client(now, cx) || ended
    }

    /// Ends the session of a client that took too long; true if it did.
    pub(super) fn end_late_client(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let deadline = self.connection.deadline();
        let is_late = deadline.is_some_and(|deadline| deadline <= now);
        if is_late {
            let phase = match self.connection.expects_content() {
                true => TimeoutPhase::Message,
                false => TimeoutPhase::Command,
            };
            self.connection.handle_timeout(now, self.output.back());
            self.record.end = EndReason::Timeout;
            self.count_timeout(now, phase);
            self.advance(now, &[], cx);
        }
        is_late
    }

    /// While the application keeps the client waiting, the client's own clock stands still.
    pub(super) fn watch_body(&mut self, now: Instant, cx: &Context<'_>) {
        let timeout = self.shared.handler_timeout;
        let asked = self.connection.question().is_some();
        self.stalled = match &mut self.pending {
            Pending::Message(delivery) if !asked => delivery.is_stalled(cx, || now + timeout),
            _ => false,
        };
        if self.stalled {
            self.connection.pause(now);
        } else {
            self.connection.resume(now);
        }
    }
}
