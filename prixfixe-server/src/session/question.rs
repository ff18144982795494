//! The questions of the dialogue: what they ask of the handler, and what becomes of its answers.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prixfixe_core::{
    Answer, ForwardPath, MailParameters, Question, Reply, ReversePath, replies as core_replies,
};

use super::SmtpSession;
use super::call::{Call, Outcome, Panicked};
use super::counting::as_sent;
use super::record::{EndReason, MessageResult};
use super::transaction::Transaction;
use crate::{Handler, replies};

impl<H: Handler> SmtpSession<H> {
    /// Answers a question about anything but a message.
    pub(super) fn answer(&mut self, now: Instant, result: Result<(), Reply>) {
        self.refused = result.is_err();
        self.count_answer(now, result.as_ref().err());
        let answer = match result {
            Ok(()) => Answer::Accept,
            Err(reply) => Answer::Refuse(reply),
        };
        self.say_answer(now, answer);
    }

    /// Passes an answer on. A refusal may end the session: by itself, or as one too many since the last message.
    fn say_answer(&mut self, now: Instant, answer: Answer) {
        let is_first = self.connection.question() == Some(Question::Connect);
        if let Answer::Refuse(reply) = &answer
            && (is_first || reply.code() == 421)
        {
            self.record.end = EndReason::Refused(Box::new(as_sent(reply).clone()));
        }
        self.connection.answer(now, answer, self.output.back());
        let is_explained = matches!(self.record.end, EndReason::Refused(_) | EndReason::Shutdown);
        if self.connection.is_closed() && !is_explained {
            self.record.end = EndReason::Refused(Box::new(core_replies::TOO_MANY_IDLE_COMMANDS));
        }
    }

    /// Answers the open question if the handler has; true when the dialogue may go on.
    pub(super) fn settle_question(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        self.settle_delivery(now, cx);
        match self.connection.question() {
            None => true,
            Some(Question::Message) => self.settle_message(now),
            Some(Question::Connect) if self.call.is_none() => {
                self.ask_connect(now);
                self.settle_call(now, cx)
            }
            Some(Question::Connect | Question::Mail | Question::Rcpt) => self.settle_call(now, cx),
        }
    }

    pub(super) fn ask_connect(&mut self, now: Instant) {
        let deadline = now + self.shared.handler_timeout;
        self.call = Some(Call::connect(
            Arc::clone(&self.shared.handler),
            Arc::clone(&self.client),
            deadline,
        ));
    }

    pub(super) fn ask_mail(
        &mut self,
        now: Instant,
        arrived: Instant,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) {
        let is_limited = !self.client.is_health_check();
        if is_limited
            && !self
                .shared
                .clients
                .allows_message(now, self.client.peer.ip())
        {
            let reply = replies::TOO_MANY_MESSAGES;
            self.refuse_sender(now, reverse_path, &reply);
            return self.answer(now, Err(reply));
        }
        let deadline = now + self.shared.handler_timeout;
        let (handler, client) = (Arc::clone(&self.shared.handler), Arc::clone(&self.client));
        self.call = Some(Call::mail(
            handler,
            client,
            reverse_path,
            parameters,
            arrived,
            deadline,
        ));
    }

    pub(super) fn ask_rcpt(&mut self, now: Instant, forward_path: ForwardPath) {
        let Some(transaction) = &self.transaction else {
            // The dialogue asks about recipients only inside a transaction.
            return self.answer(now, Err(replies::LOCAL_ERROR));
        };
        if !self.shared.accepted_domains.accept(&forward_path) {
            self.refuse_recipient(now, forward_path, &replies::NO_SUCH_DOMAIN);
            return self.answer(now, Err(replies::NO_SUCH_DOMAIN));
        }
        let deadline = now + self.shared.handler_timeout;
        let (handler, client) = (Arc::clone(&self.shared.handler), Arc::clone(&self.client));
        let envelope = Arc::clone(&transaction.envelope);
        self.call = Some(Call::rcpt(
            handler,
            client,
            envelope,
            forward_path,
            deadline,
        ));
    }

    pub(super) fn settle_call(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Some(call) = &mut self.call else {
            self.answer(now, Err(replies::LOCAL_ERROR));
            return true;
        };
        let Poll::Ready(outcome) = call.poll(cx) else {
            return false;
        };
        self.call = None;
        let result = match outcome {
            Ok(Outcome::Connect(result)) => result,
            Ok(Outcome::Mail {
                reverse_path,
                parameters,
                started,
                result,
            }) => {
                match &result {
                    Ok(()) => {
                        self.transaction =
                            Some(Transaction::begin(reverse_path, parameters, started))
                    }
                    Err(reply) => self.refuse_sender(now, reverse_path, reply),
                }
                result
            }
            Ok(Outcome::Rcpt {
                forward_path,
                result,
            }) => {
                match (&result, &mut self.transaction) {
                    (Ok(()), Some(transaction)) => transaction.add(forward_path),
                    (Err(reply), _) => self.refuse_recipient(now, forward_path, reply),
                    (Ok(()), None) => {}
                }
                result
            }
            Err(Panicked) => {
                self.record
                    .handler_panicked(&self.shared.log, now, &self.client);
                self.refuse_unanswered(now, replies::HANDLER_PANICKED);
                Err(replies::HANDLER_PANICKED)
            }
        };
        self.answer(now, result);
        true
    }

    pub(super) fn settle_message(&mut self, now: Instant) -> bool {
        let Some(mut transaction) = self.transaction.take() else {
            self.answer(now, Err(replies::LOCAL_ERROR));
            return true;
        };
        let answer = transaction
            .delivery
            .as_mut()
            .map(|delivery| (delivery.id, delivery.take_answer()));
        let (id, result) = match answer {
            Some((id, Some(result))) => (id, result),
            Some((_, None)) => {
                self.transaction = Some(transaction);
                return false;
            }
            None => {
                self.answer(now, Err(replies::LOCAL_ERROR));
                return true;
            }
        };
        let answer = match result {
            Ok(accepted) => {
                let result = MessageResult::Accepted;
                self.record
                    .message(self.shared.told(), now, &self.client, &transaction, result);
                Answer::AcceptWith(accepted.into_reply(id))
            }
            Err(reply) => {
                let result = MessageResult::Refused(as_sent(&reply));
                self.record
                    .message(self.shared.told(), now, &self.client, &transaction, result);
                Answer::Refuse(reply)
            }
        };
        self.say_answer(now, answer);
        true
    }
}
