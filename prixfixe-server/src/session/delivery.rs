//! A transaction, and its message on the way to the application.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prixfixe_core::{Abort, Protocol, Reply};

use crate::body::{self, BodyWriter};
use crate::conversation::{Answer, Conversation, Panicked, Question};
use crate::handler::Outcome;
use crate::in_force::AtMail;
use crate::message::Head;
use crate::{Accepted, BodyError, Envelope, Message, MessageId, Recipient, replies};

/// A transaction before its content: the sender was asked about, and perhaps recipients.
pub(super) struct Transaction {
    pub(super) envelope: Arc<Envelope>,
    /// When MAIL was asked about.
    pub(super) started: Instant,
}

impl Transaction {
    pub(super) fn new(mut envelope: Envelope, started: Instant, in_force: Arc<AtMail>) -> Self {
        envelope.in_force = in_force.into();
        Self {
            envelope: Arc::new(envelope),
            started,
        }
    }

    pub(super) fn add(&mut self, recipient: Recipient) {
        // The hook's future is gone, so the envelope is not shared unless the application kept it.
        Arc::make_mut(&mut self.envelope).recipients.push(recipient);
    }
}

/// The message whose content is being received, or was and waits for the application's answer.
pub(super) struct Delivery {
    pub(super) id: MessageId,
    pub(super) transaction: Transaction,
    /// Octets of content so far.
    pub(super) size: u64,
    /// When the content came to its end.
    pub(super) finished: Option<Instant>,
    pub(super) body: BodyWriter,
    state: State,
    /// When the application's time is over: set while the client waits for it, be it for the answer
    /// or for room in the body.
    deadline: Option<Instant>,
}

enum State {
    /// The application is asked once some of the content is there.
    Unasked(Box<Message>),
    /// The application is at work.
    Working,
    /// It has answered, perhaps before the end of the content.
    Answered(Result<Accepted, Reply>),
    /// Its time was over: its session was told of the end of the transaction then.
    Abandoned(Reply),
}

impl Delivery {
    pub(super) fn new(transaction: Transaction, head: Head) -> Self {
        let (writer, body) = body::channel();
        Self {
            id: head.id,
            transaction,
            size: 0,
            finished: None,
            body: writer,
            state: State::Unasked(Box::new(Message { head, body })),
            deadline: None,
        }
    }

    pub(super) fn write(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.body.write(piece);
    }

    /// Lets the application work on what is there. To be called after each time that bytes came. An
    /// error: it panicked, and that is its answer.
    pub(super) fn poll(
        &mut self,
        conversation: &mut Conversation,
        cx: &mut Context<'_>,
    ) -> Result<(), Panicked> {
        self.body.wake_reader(cx);
        let polled = match std::mem::replace(&mut self.state, State::Working) {
            State::Unasked(message) => conversation.ask(Question::Message(message), cx),
            State::Working => conversation.poll(cx),
            answered @ (State::Answered(_) | State::Abandoned(_)) => {
                self.state = answered;
                return Ok(());
            }
        };
        match polled {
            Poll::Pending => Ok(()),
            Poll::Ready(answer) => self.answered(answer),
        }
    }

    /// The application's time is over: its answer is no longer wanted, the rest of the content is
    /// thrown away.
    pub(super) fn give_up(
        &mut self,
        conversation: &mut Conversation,
        cx: &mut Context<'_>,
    ) -> Result<(), Panicked> {
        self.deadline = None;
        // Whoever still has the body is not to take the rest for a message.
        self.body.fail(BodyError::Stopped);
        let outcome = self.answered(conversation.abandon(cx));
        self.state = match std::mem::replace(&mut self.state, State::Working) {
            State::Answered(Err(reply)) => State::Abandoned(reply),
            state => state,
        };
        outcome
    }

    fn answered(&mut self, answer: Result<Answer, Panicked>) -> Result<(), Panicked> {
        let (result, outcome) = match answer {
            Ok(answer) => (answer.result, Ok(())),
            Err(panicked) => (Err(replies::HANDLER_PANICKED), Err(panicked)),
        };
        self.state = State::Answered(result);
        outcome
    }

    /// The content will never be complete: the application may look once more, to see it, and its
    /// hook is dropped.
    pub(super) fn abort(
        mut self,
        reason: &Abort,
        conversation: &mut Conversation,
        cx: &mut Context<'_>,
    ) -> Result<(), Panicked> {
        self.body.fail(match reason {
            Abort::Refused(reply) => BodyError::Refused(reply.clone()),
            Abort::Timeout => BodyError::TimedOut,
            _ => BodyError::Incomplete,
        });
        self.poll(conversation, cx)?;
        match self.state {
            State::Answered(_) => conversation.reset(cx),
            State::Abandoned(_) => Ok(()),
            State::Unasked(_) | State::Working => conversation.abandon(cx).map(drop),
        }
    }

    /// The content is complete: from now on the client waits for the answer.
    pub(super) fn finish(&mut self, now: Instant, deadline: Instant) {
        self.body.finish();
        self.finished = Some(now);
        self.deadline = Some(deadline);
    }

    /// True while the application has more of the content before it than it should. Its time then
    /// runs.
    pub(super) fn is_stalled(
        &mut self,
        cx: &Context<'_>,
        deadline: impl FnOnce() -> Instant,
    ) -> bool {
        let full = !self.is_answered() && self.body.is_full(cx);
        if full {
            self.deadline.get_or_insert_with(deadline);
        } else {
            self.deadline = None;
        }
        full
    }

    /// When the application's time is over, where it runs.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.is_answered())
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered(_) | State::Abandoned(_))
    }

    /// The reply to give at once, without waiting for the rest of the content.
    pub(super) fn closing_reply(&self) -> Option<&Reply> {
        match &self.state {
            // Never a success in place of the reply to the whole message.
            State::Answered(Err(reply)) | State::Abandoned(reply) => {
                Some(reply).filter(|it| it.closes() && (it.is_transient() || it.is_permanent()))
            }
            _ => None,
        }
    }

    /// The connection is gone, with the message under way.
    pub(super) fn lose(&mut self, stopped: bool) {
        self.body.fail(if stopped {
            BodyError::Stopped
        } else {
            BodyError::Incomplete
        });
    }

    /// What the client is told in that protocol, once it is there; it is given once.
    pub(super) fn take_answer(&mut self, protocol: Protocol) -> Option<Outcome> {
        match std::mem::replace(&mut self.state, State::Working) {
            State::Answered(Ok(accepted)) => Some(accepted.told(self.id, protocol)),
            State::Answered(Err(reply)) | State::Abandoned(reply) => Some(Outcome::One(Err(reply))),
            unanswered => {
                self.state = unanswered;
                None
            }
        }
    }
}
