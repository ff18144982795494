//! The questions of the dialogue: what they ask of the application, and what becomes of its
//! answers.

use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use prixfixe_core::{Answer, Event, Question as Open, Reply, replies as core_replies};

use super::counting::as_sent;
use super::delivery::{Delivery, Transaction};
use super::record::EndReason;
use super::{Pending, SmtpSession};
use crate::client::Greeting;
use crate::conversation::{self, About, Panicked, Question};
use crate::handler::Outcome;
use crate::message::Head;
use crate::observe::MessageResult;
use crate::{AuthMode, Envelope, MessageId, Recipient, replies};

impl SmtpSession {
    /// Asks whether the client is wanted.
    pub(super) fn ask_connect(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.refuse_over_limit(now, cx) {
            return;
        }
        let polled = self.conversation.connect(self.client.clone(), cx);
        self.asked(now, polled, cx);
    }

    /// Asks what the event asks. Other events are none of this one's.
    pub(super) fn ask_event(&mut self, now: Instant, event: Event<'_>, cx: &mut Context<'_>) {
        let question = match event {
            Event::Hello { name, extended } => Question::Hello(Greeting {
                name: name.into(),
                extended,
            }),
            Event::Mail {
                reverse_path,
                parameters,
            } => {
                let envelope = Envelope::new(reverse_path.to_owned(), parameters);
                return self.ask_mail(now, envelope, cx);
            }
            Event::Rcpt {
                forward_path,
                parameters,
            } => {
                let recipient = Recipient::new(forward_path.to_owned());
                let recipient = recipient.with_parameters(parameters);
                return self.ask_rcpt(now, recipient, cx);
            }
            Event::Data => match &self.transaction {
                Some(transaction) => Question::Data(transaction.envelope.clone()),
                None => return,
            },
            Event::Command { verb, argument } => Question::Command {
                verb: verb.into(),
                argument: argument.into(),
            },
            _ => return,
        };
        self.ask(now, question, cx);
    }

    fn ask_mail(&mut self, now: Instant, envelope: Envelope, cx: &mut Context<'_>) {
        let in_force = self.shared.in_force.now();
        let was_exempt = in_force.login_epoch != self.shared.login_epoch;
        // Nobody has checked who the clients of such a session are, and users may be allowed more
        // now.
        let took_anybody = in_force.anybody_epoch != self.shared.anybody_epoch
            && self.shared.auth.mode == AuthMode::Any;
        let transaction = Transaction::new(envelope, now, in_force);
        let transaction = self.transaction.insert(transaction);
        let envelope = transaction.envelope.clone();
        let is_limited = !self.client.is_health_check();
        let address = self.client.peer().ip().filter(|_| is_limited);
        if address.is_some_and(|it| !self.shared.clients.allows_message(now, it)) {
            return self.answer(now, Err(replies::TOO_MANY_MESSAGES), About::Nothing, cx);
        }
        // Logins may bound now what domains did before, and a session keeps the mode that it began
        // with.
        if took_anybody || was_exempt && self.client.identity().is_none() {
            return self.answer(now, Err(replies::CONNECT_AGAIN), About::Nothing, cx);
        }
        if self.is_another_sender(envelope.reverse_path()) {
            return self.answer(now, Err(replies::ANOTHER_SENDER), About::Nothing, cx);
        }
        self.ask(now, Question::Mail(envelope), cx);
    }

    fn ask_rcpt(&mut self, now: Instant, recipient: Recipient, cx: &mut Context<'_>) {
        let Some(transaction) = &self.transaction else {
            return;
        };
        let in_force = &transaction.envelope.in_force;
        if !in_force.accepts(&self.client, recipient.path()) {
            let about = About::Recipient(recipient);
            return self.answer(now, Err(replies::NO_SUCH_DOMAIN), about, cx);
        }
        let envelope = transaction.envelope.clone();
        self.ask(now, Question::Rcpt(envelope, recipient), cx);
    }

    fn ask(&mut self, now: Instant, question: Question, cx: &mut Context<'_>) {
        let polled = self.conversation.ask(question, cx);
        self.asked(now, polled, cx);
    }

    fn asked(
        &mut self,
        now: Instant,
        polled: Poll<Result<conversation::Answer, Panicked>>,
        cx: &mut Context<'_>,
    ) {
        match polled {
            Poll::Ready(outcome) => self.settle(now, outcome, cx),
            Poll::Pending => self.pending = Pending::Answer(now + self.shared.handler_timeout),
        }
    }

    /// The application has answered a question about anything but a message, or will not any more.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        outcome: Result<conversation::Answer, Panicked>,
        cx: &mut Context<'_>,
    ) {
        self.pending = Pending::Nothing;
        let question = self.connection.question();
        match outcome {
            Ok(conversation::Answer {
                result: Ok(_),
                about,
            }) if matches!(question, Some(Open::Mail | Open::Rcpt)) => {
                self.accept_address(now, about);
            }
            Ok(answer) if question == Some(Open::Command) => {
                let result = answer.result.and_then(|accepted| accepted.command_reply());
                let answer = match result {
                    Ok(reply) => Answer::AcceptWith(reply),
                    Err(reply) => {
                        self.count_closing_refusal(now, &reply);
                        Answer::Refuse(reply)
                    }
                };
                self.say_answer(now, answer);
            }
            Ok(answer) => self.answer(now, answer.result.map(drop), answer.about, cx),
            Err(Panicked) => {
                self.record
                    .handler_panicked(&self.shared.log, now, &self.client, question);
                if question == Some(Open::Rcpt) {
                    self.refuse_unanswered(now, &replies::HANDLER_PANICKED);
                }
                self.answer(now, Err(replies::HANDLER_PANICKED), About::Nothing, cx);
            }
        }
    }

    /// MAIL or RCPT is accepted. Nothing ends by that, and nobody is told of it.
    fn accept_address(&mut self, now: Instant, about: About) {
        self.refused = false;
        if let (About::Recipient(recipient), Some(transaction)) = (about, &mut self.transaction) {
            transaction.add(recipient);
        }
        let before = self.output.held_len();
        self.connection
            .answer(now, Answer::Accept, self.output.back());
        self.group_since(before);
    }

    /// What stands in the output behind these octets is a reply to MAIL or RCPT.
    fn group_since(&mut self, before: usize) {
        let length = self.output.held_len() - before;
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.grouped = self.grouped.saturating_add(length);
    }

    /// Answers a question about anything but a message or a command that is none of SMTP's.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        result: Result<(), Reply>,
        about: About,
        cx: &mut Context<'_>,
    ) {
        self.refused = result.is_err();
        self.count_answer(now, result.as_ref().err());
        match (self.connection.question(), &result, about) {
            (Some(Open::Hello), Ok(()), About::Client(client)) => {
                self.client = client;
                self.end_transaction(now, cx);
            }
            (Some(Open::Hello), Err(reply), _) => self.refuse_answered(now, Some("EHLO"), reply),
            (Some(Open::Mail), Err(reply), _) => self.refuse_sender(now, reply),
            (Some(Open::Rcpt), Err(reply), About::Recipient(recipient)) => {
                self.refuse_recipient(now, &recipient.path, reply);
            }
            (Some(Open::Data), Ok(()), _) => self.begin_message(),
            (Some(Open::Data), Err(reply), _) => {
                self.refuse_answered(now, Some("DATA"), reply);
                self.end_transaction(now, cx);
            }
            _ => {}
        }
        let answer = match result {
            Ok(()) => Answer::Accept,
            Err(reply) => Answer::Refuse(reply),
        };
        self.say_answer(now, answer);
    }

    /// Passes an answer on. A refusal may end the session: by itself, or as one too many since the
    /// last message.
    pub(super) fn say_answer(&mut self, now: Instant, answer: Answer) {
        let is_first = self.connection.question() == Some(Open::Connect);
        match &answer {
            Answer::Refuse(reply) if is_first || reply.code() == 421 || reply.closes() => {
                self.record.end = EndReason::Refused(Box::new(as_sent(reply).clone()));
            }
            Answer::AcceptWith(reply) if reply.closes() && reply.is_positive() => {
                self.record.end = EndReason::Dismissed;
            }
            _ => {}
        }
        let is_grouped = matches!(self.connection.question(), Some(Open::Mail | Open::Rcpt));
        let before = self.output.held_len();
        self.connection.answer(now, answer, self.output.back());
        if is_grouped {
            self.group_since(before);
        }
        let is_explained = matches!(
            self.record.end,
            EndReason::Refused(_) | EndReason::Dismissed | EndReason::Shutdown
        );
        if self.connection.is_closed() && !is_explained {
            self.record.end = EndReason::Refused(Box::new(core_replies::TOO_MANY_IDLE_COMMANDS));
        }
    }

    fn begin_message(&mut self) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        let received_at = SystemTime::now();
        let head = Head {
            id: MessageId::new(received_at),
            received_at,
            domain: self.shared.domain.clone(),
            client: self.client.clone(),
            envelope: transaction.envelope.clone(),
            gathering: self.shared.gathering.clone(),
            verdict: None,
            #[cfg(feature = "digest")]
            sent: None,
            #[cfg(feature = "digest")]
            is_part: false,
        };
        self.pending = Pending::Message(Box::new(Delivery::new(transaction, head)));
    }

    /// Answers about the message if the application has; true when the dialogue may go on.
    pub(super) fn settle_message(&mut self, now: Instant) -> bool {
        let Pending::Message(delivery) = &mut self.pending else {
            return true;
        };
        let Some(told) = delivery.take_answer(self.client.protocol()) else {
            return false;
        };
        let result = match &told {
            Outcome::One(Ok(_)) => MessageResult::Accepted,
            Outcome::One(Err(reply)) => MessageResult::Refused(as_sent(reply)),
            Outcome::Each {
                accepted: 0,
                common,
                ..
            } => MessageResult::Refused(as_sent(common)),
            Outcome::Each {
                replies,
                accepted,
                common,
            } => MessageResult::InPart {
                accepted: *accepted,
                recipients: replies.len(),
                refusal: common,
            },
        };
        self.record
            .message(self.shared.observer(), now, &self.client, delivery, result);
        self.pending = Pending::Nothing;
        let answer = match told {
            Outcome::One(Ok(reply)) => Answer::AcceptWith(reply),
            Outcome::One(Err(reply)) => Answer::Refuse(reply),
            Outcome::Each { replies, .. } => Answer::Each(replies),
        };
        self.say_answer(now, answer);
        true
    }
}
