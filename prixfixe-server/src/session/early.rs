//! Clients that speak before they are greeted (RFC 5321 section 4.3.1 has them wait).

use std::task::Context;
use std::time::Instant;

use prixfixe_core::Question as Open;

use super::record::EndReason;
use super::{Pending, SmtpSession};
use crate::conversation::About;
use crate::{Peer, replies};

impl SmtpSession {
    /// Greets a client: where it has to keep quiet before, later.
    pub(super) fn greet(&mut self, now: Instant, cx: &mut Context<'_>) {
        match self.has_to_be_quiet() {
            true => self.pending = Pending::Quiet(now + self.shared.early_talker),
            false => self.ask_connect(now, cx),
        }
    }

    /// Refuses who speaks before its greeting; false where it may speak, or does not have to wait.
    pub(super) fn refuse_early_talker(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        if self.connection.question() != Some(Open::Connect) || !self.has_to_be_quiet() {
            return false;
        }
        // Whether it is wanted does not matter any more.
        if let Pending::Answer(_) = self.pending {
            let _ = self.conversation.abandon(cx);
        }
        self.pending = Pending::Nothing;
        self.answer(now, Err(replies::EARLY_TALKER), About::Nothing, cx);
        true
    }

    /// Processes of this machine, and who is trusted to speak for others, are no strangers.
    fn has_to_be_quiet(&self) -> bool {
        !self.shared.early_talker.is_zero()
            // A server that goes away waits for nobody.
            && self.record.end != EndReason::Shutdown
            && matches!(self.client.peer(), Peer::Ip(_))
            && !self.client.is_proxy()
            && !self.client.is_health_check()
    }
}
