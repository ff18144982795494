//! Handing a message to its target, and telling what became of it.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_server::{Digest, Envelope, Message, MessageId, Recipient};

use crate::hand_over::{checked, hand_over, next_of};
use crate::memory::{Final, Memory};
use crate::tracked::Tracked;
use crate::{Delivered, Failure, FailureKind, Outcomes, Transaction};

/// One message on its way to one target.
pub(crate) struct Attempt {
    target: Arc<Tracked>,
    envelope: Arc<Envelope>,
    id: MessageId,
    since: Instant,
}

impl Attempt {
    pub(crate) fn new(target: &Arc<Tracked>, message: &Message) -> Self {
        Self {
            target: Arc::clone(target),
            envelope: message.shared_envelope(),
            id: message.id(),
            since: Instant::now(),
        }
    }

    /// Hands the message over.
    pub(crate) async fn make(
        &self,
        transaction: Box<dyn Transaction>,
        message: Message,
    ) -> Outcomes {
        let envelope = message.shared_envelope();
        let recipients = envelope.recipients();
        let outcomes = checked(transaction.deliver(message).await, recipients.len());
        self.tell(recipients, &outcomes);
        outcomes
    }

    fn tell(&self, recipients: &[Recipient], outcomes: &Outcomes) {
        self.target.count(outcomes, self.since.elapsed());
        if !self.target.target().is_local() {
            self.log(recipients, outcomes);
        }
    }

    /// Whether a later attempt of the client's can find some recipients served and others not.
    pub(crate) fn may_repeat(&self) -> bool {
        !self.target.target().is_local() && self.envelope.recipients().len() > 1
    }

    /// Hands the message over, but not to those recipients who have it, or are refused for good,
    /// since an earlier attempt of its client's.
    pub(crate) async fn repeatable(
        &self,
        memory: &Memory,
        transaction: Box<dyn Transaction>,
        mut message: Message,
    ) -> Outcomes {
        if !memory.may_know(&self.envelope) {
            message.hash_while_read();
            let outcomes = self.make(transaction, message).await;
            if let Some(digest) = self.envelope.digest() {
                memory.remember(digest, &self.envelope, &outcomes);
            }
            return outcomes;
        }
        let digest = match message.digest().await {
            Ok(digest) => digest,
            Err(reply) => return Failure::said(reply).into(),
        };
        match memory.recall(&digest) {
            None => {
                let outcomes = self.make(transaction, message).await;
                memory.remember(digest, &self.envelope, &outcomes);
                outcomes
            }
            // The target was told of those too who need it no more.
            Some(known) => {
                drop(transaction);
                self.make_rest(memory, digest, &known, message).await
            }
        }
    }

    /// Hands the message to the recipients of whom nothing final is known.
    async fn make_rest(
        &self,
        memory: &Memory,
        digest: Digest,
        known: &Final,
        message: Message,
    ) -> Outcomes {
        let recipients = self.envelope.recipients();
        let rest: Vec<Recipient> = recipients
            .iter()
            .filter(|recipient| known.of(recipient).is_none())
            .cloned()
            .collect();
        let mut outcomes = match rest.is_empty() {
            true => Vec::new(),
            false => self.begin_again(rest, message).await,
        }
        .into_iter();
        let merged = recipients
            .iter()
            .map(|recipient| match known.of(recipient) {
                Some(Ok(())) => Ok(Delivered::saying("it has it since an earlier attempt")),
                Some(Err(reply)) => Err(Failure::said(reply.clone())),
                None => next_of(&mut outcomes),
            });
        let merged = Outcomes::Each(merged.collect());
        memory.remember(digest, &self.envelope, &merged);
        merged
    }

    /// One outcome for each of these recipients.
    async fn begin_again(
        &self,
        recipients: Vec<Recipient>,
        message: Message,
    ) -> Vec<Result<Delivered, Failure>> {
        let count = recipients.len();
        let message = message.with_recipients(recipients);
        let envelope = message.shared_envelope();
        let outcomes = hand_over(self.target.target(), message).await;
        self.tell(envelope.recipients(), &outcomes);
        outcomes.each_of(count)
    }

    /// One line for each answer of the target's.
    fn log(&self, recipients: &[Recipient], outcomes: &Outcomes) {
        match (outcomes, recipients) {
            (Outcomes::All(outcome), [first, others @ ..]) => {
                self.log_line(first, others.len(), outcome);
            }
            (Outcomes::All(_), []) => {}
            (Outcomes::Each(outcomes), recipients) => {
                for (recipient, outcome) in recipients.iter().zip(outcomes) {
                    self.log_line(recipient, 0, outcome);
                }
            }
        }
    }

    fn log_line(&self, recipient: &Recipient, others: usize, outcome: &Result<Delivered, Failure>) {
        let digest = self.envelope.digest().map(tracing::field::display);
        let target = self.target.name();
        let recipient = recipient.to_string();
        let recipient = cut(&recipient);
        let others = (others > 0).then_some(others);
        let duration = self.since.elapsed().as_secs_f64();
        macro_rules! line {
            ($reply:expr, $cause:expr, $word:literal) => {
                tracing::info!(
                    target: "prixfixe", id = %self.id, digest, target, recipient, others,
                    reply = $reply, cause = $cause, duration, $word
                )
            };
        }
        match outcome {
            Ok(delivered) => {
                line!(
                    delivered.detail.as_deref().map(cut),
                    None::<&str>,
                    "delivered"
                );
            }
            Err(failure) => {
                let reply = failure.reply().to_string();
                let (reply, cause) = (cut(&reply), failure.detail().map(cut));
                match failure.kind() {
                    FailureKind::Never => line!(Some(reply), cause, "refused"),
                    FailureKind::NotNow | FailureKind::Unknown => {
                        line!(Some(reply), cause, "deferred");
                    }
                }
            }
        }
    }
}

/// A line of the log is at most 4 KiB.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(512)).unwrap_or(text)
}
