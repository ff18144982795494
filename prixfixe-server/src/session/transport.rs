//! A session as its transport and TLS see it.

use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use prixfixe_network::{OutputBuffer, Session};

use super::record::EndReason;
use super::{INPUT_LIMIT, Pending, SmtpSession};
use crate::inspect::{Inspect, Usage};
use crate::observe::Observation;
use crate::tls::{HandshakeError, TlsInfo, Upgrade};

impl Inspect for SmtpSession {
    fn usage(&self) -> Usage {
        let (transaction, body) = match &self.pending {
            Pending::Message(delivery) => (Some(&delivery.transaction), delivery.body.waiting()),
            _ => (self.transaction.as_ref(), 0),
        };
        Usage {
            under_way: self.connection.in_transaction()
                || matches!(self.pending, Pending::Answer(_) | Pending::Login(_)),
            input: self.input.len(),
            output: self.output.held_len(),
            body,
            recipients: transaction.map_or(0, |it| it.envelope.recipients().len()),
            tls_input: 0,
            tls_output: 0,
        }
    }
}

impl Session for SmtpSession {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.shared.counts.octets(bytes.len());
        self.record.has_spoken = true;
        let waker = mem::replace(&mut self.waker, Waker::noop().clone());
        let mut cx = Context::from_waker(&waker);
        if self.refuse_early_talker(now, &mut cx) {
            // Nothing more is read.
        } else if self.input.is_empty() {
            let taken = self.advance(now, bytes, &mut cx);
            self.input.append(bytes.get(taken..).unwrap_or_default());
        } else {
            self.input.append(bytes);
            self.advance_waiting(now, &mut cx);
        }
        self.waker = waker;
    }

    fn receive_eof(&mut self, now: Instant) {
        if self.record.end == EndReason::Lost {
            self.record.end = EndReason::Closed;
        }
        self.connection.receive_eof(now);
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.record.seen(now);
        self.waker.clone_from(cx.waker());
        // Commands that wait behind replies which nobody reads are no sign of life: what has just
        // come was looked at when it was received.
        if !self.input.is_empty() {
            self.end_late_client(now, cx);
        }
        self.work(now, cx);
        // An answer that is there counts, however late it is seen.
        if self.handle_deadlines(now, cx) {
            self.work(now, cx);
        }
        self.watch_body(now, cx);
        self.hold_grouped(now);
        if self.connection.is_closed() {
            self.permit = None;
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.input.len() < INPUT_LIMIT.max(self.connection.max_line())
            && !self.stalled
            && !self.connection.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        let application = match &self.pending {
            Pending::Nothing => None,
            Pending::Answer(deadline) | Pending::Quiet(deadline) => Some(*deadline),
            Pending::Login(login) => login.deadline,
            Pending::Message(delivery) => delivery.deadline(),
        };
        application.or_else(|| self.connection.deadline())
    }

    fn shutdown(&mut self, now: Instant) {
        self.record.end = EndReason::Shutdown;
        if let Pending::Quiet(deadline) = &mut self.pending {
            *deadline = now;
        }
        self.connection.shutdown(now, self.output.back());
    }

    fn peer_is_done(&self) -> bool {
        self.connection.has_quit() && self.input.is_empty()
    }
}

impl Upgrade for SmtpSession {
    fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    fn tls_established(&mut self, now: Instant, info: TlsInfo) {
        self.wants_tls = false;
        self.observe(now, &Observation::Handshake(info.version));
        self.client.secured(info);
        self.conversation.set_client(self.client.clone());
        self.connection.tls_established(now);
        self.offer_mechanisms();
    }

    fn clear_text_instead_of_handshake(&mut self, now: Instant) {
        self.wants_tls = false;
        self.refuse_clear_text(now);
        self.connection
            .clear_text_after_starttls(now, self.output.back());
    }

    fn tls_failed(&mut self, now: Instant, error: &HandshakeError) {
        self.wants_tls = false;
        self.record.seen(now);
        self.observe(now, &Observation::HandshakeFailed(error));
        self.record.end = EndReason::Tls(Box::new(error.clone()));
    }
}

impl SmtpSession {
    /// The client ended the session by itself: did it mean to?
    fn find_out_the_end(&mut self) {
        let in_transaction =
            self.transaction.is_some() || matches!(self.pending, Pending::Message(_));
        if self.connection.has_quit() {
            self.record.end = EndReason::Quit;
        } else if self.record.end == EndReason::Closed && in_transaction {
            self.record.end = EndReason::Lost;
        }
    }
}

impl Drop for SmtpSession {
    fn drop(&mut self) {
        self.find_out_the_end();
        if let Pending::Message(delivery) = &mut self.pending {
            delivery.lose(self.record.end == EndReason::Shutdown);
            self.record
                .message_lost(self.shared.observer(), &self.client, delivery);
        }
        self.count_end(self.record.last);
        let was_told = self.connection.is_closed();
        self.record
            .connection_closed(&self.shared.log, &self.client, was_told);
    }
}
