//! A proxy says whose session this is: it begins anew.

use std::task::Context;
use std::time::Instant;

use prixfixe_core::Xclient;

use super::SmtpSession;
use crate::conversation::About;
use crate::replies;

impl SmtpSession {
    /// From here on the client is the one that the proxy names. It takes its place among the
    /// clients, and the application's session is another one. TLS is the connection's, and stays.
    pub(super) fn become_another(&mut self, now: Instant, told: &Xclient) {
        self.client = self.client.renamed(told);
        self.conversation = self.shared.application.begin();
        if self.client.tls().is_some() {
            self.offer_mechanisms();
        }
        self.refused = false;
        if told.address.is_unsaid() {
            return;
        }
        self.permit = None;
        if let Some(address) = told.address.value() {
            match self.shared.clients.connect(now, *address) {
                Ok(permit) => self.permit = permit.map(Box::new),
                Err(_) => self.is_over_limit = true,
            }
        }
    }

    /// Refuses that client where it is over a limit; false where it is not.
    pub(super) fn refuse_over_limit(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let is_over_limit = std::mem::take(&mut self.is_over_limit);
        if is_over_limit {
            self.answer(now, Err(replies::TOO_MANY_OF_CLIENT), About::Nothing, cx);
        }
        is_over_limit
    }
}
