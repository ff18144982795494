//! A transaction: its envelope, and its content on the way to the handler.

use std::sync::Arc;
use std::task::Context;
use std::time::{Instant, SystemTime};

use prixfixe_core::{Abort, ForwardPath, MailParameters, ReversePath};

use super::SmtpSession;
use super::call::Panicked;
use super::delivery::Delivery;
use super::record::{EndReason, MessageResult};
use crate::message::Head;
use crate::{Envelope, Handler, MessageId};

/// A transaction, from the accepted MAIL on.
pub(super) struct Transaction {
    pub(super) envelope: Arc<Envelope>,
    /// When the first octet of MAIL came.
    pub(super) started: Instant,
    /// When the content came to its end.
    pub(super) finished: Option<Instant>,
    /// Octets of content so far.
    pub(super) size: u64,
    /// From DATA, or the first BDAT, on.
    pub(super) delivery: Option<Delivery>,
}

impl Transaction {
    pub(super) fn begin(
        reverse_path: ReversePath,
        parameters: MailParameters,
        started: Instant,
    ) -> Box<Self> {
        let envelope = Arc::new(Envelope {
            reverse_path,
            parameters,
            forward_paths: Vec::new(),
        });
        Box::new(Self {
            envelope,
            started,
            finished: None,
            size: 0,
            delivery: None,
        })
    }

    pub(super) fn add(&mut self, forward_path: ForwardPath) {
        // The handler's future is gone, so the envelope is not shared unless the handler kept it.
        Arc::make_mut(&mut self.envelope)
            .forward_paths
            .push(forward_path);
    }
}

impl<H: Handler> SmtpSession<H> {
    pub(super) fn start_message(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let received_at = SystemTime::now();
        let head = Head {
            id: MessageId::new(received_at),
            received_at,
            domain: Arc::clone(&self.shared.domain),
            client: Arc::clone(&self.client),
            envelope: Arc::clone(&transaction.envelope),
        };
        transaction.delivery = Some(Delivery::new(Arc::clone(&self.shared.handler), head));
    }

    pub(super) fn write_body(&mut self, piece: &[u8]) {
        let size = piece.len() as u64;
        self.record.octets += size;
        if let Some(transaction) = &mut self.transaction {
            transaction.size += size;
            if let Some(delivery) = &transaction.delivery {
                delivery.body.write(piece);
            }
        }
    }

    pub(super) fn finish_message(&mut self, now: Instant) {
        let deadline = now + self.shared.handler_timeout;
        if let Some(transaction) = &mut self.transaction {
            transaction.finished = Some(now);
            if let Some(delivery) = &mut transaction.delivery {
                delivery.finish(deadline);
            }
        }
    }

    pub(super) fn delivery(&mut self) -> Option<&mut Delivery> {
        self.transaction.as_mut()?.delivery.as_mut()
    }

    /// The transaction is over without an answer of the handler's.
    pub(super) fn end_transaction(&mut self, now: Instant, reason: Option<Abort>) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        match (&mut transaction.delivery, reason) {
            (Some(delivery), Some(reason)) => {
                delivery.abort(&reason);
                if reason == Abort::Eof {
                    self.record.end = EndReason::Lost;
                }
                let result = MessageResult::Aborted(&reason);
                self.record
                    .message(self.shared.told(), now, &self.client, transaction, result);
            }
            _ => self.transaction = None,
        }
    }

    /// Lets the handler of the message under way work on what is there, for the last time if that was aborted.
    pub(super) fn settle_delivery(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Some(delivery) = self.delivery() else {
            return;
        };
        if delivery.is_aborted() {
            delivery.settle_abort(cx);
            self.transaction = None;
        } else if let Err(Panicked) = delivery.poll(cx) {
            self.record
                .handler_panicked(&self.shared.log, now, &self.client);
        }
    }
}
