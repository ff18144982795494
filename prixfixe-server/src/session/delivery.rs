//! A message on its way to the handler.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prixfixe_core::{Abort, Reply};

use super::call::{Asked, Panicked, poll_contained};
use crate::body::{self, BodyWriter};
use crate::message::Head;
use crate::{Accepted, BodyError, Handler, Message, MessageId, replies};

/// The message whose content is being received, or was and waits for the handler's answer.
pub(super) struct Delivery {
    pub(super) id: MessageId,
    pub(super) body: BodyWriter,
    state: State,
    /// When the handler's time is over: set while the client waits for it, be it for the answer or for room in the body.
    deadline: Option<Instant>,
}

enum State {
    /// The handler is at work.
    Handling(Asked<Result<Accepted, Reply>>),
    /// It has answered, perhaps before the end of the content.
    Answered(Result<Accepted, Reply>),
    /// The content will never be complete: the handler may look once more, then it is dropped.
    Aborted(Option<Asked<Result<Accepted, Reply>>>),
}

impl Delivery {
    pub(super) fn new<H: Handler>(handler: Arc<H>, head: Head) -> Self {
        let (writer, body) = body::channel();
        let id = head.id;
        let message = Message { head, body };
        let future: Asked<_> = Box::pin(async move { handler.message(message).await });
        Self {
            id,
            body: writer,
            state: State::Handling(future),
            deadline: None,
        }
    }

    /// Lets the handler work on what is there. To be called after each time that bytes came. An error: it panicked, and
    /// that is its answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Panicked> {
        self.body.wake_reader(cx);
        let State::Handling(future) = &mut self.state else {
            return Ok(());
        };
        match poll_contained(future, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(result)) => {
                self.state = State::Answered(result);
                Ok(())
            }
            Poll::Ready(Err(Panicked)) => {
                self.state = State::Answered(Err(replies::HANDLER_PANICKED));
                Err(Panicked)
            }
        }
    }

    /// True once the content is known never to be complete.
    pub(super) fn is_aborted(&self) -> bool {
        matches!(self.state, State::Aborted(_))
    }

    /// Lets the handler of a message that was aborted look once more, so that it sees the error, and drops it.
    pub(super) fn settle_abort(&mut self, cx: &mut Context<'_>) {
        if let State::Aborted(future) = &mut self.state
            && let Some(mut future) = future.take()
        {
            self.body.wake_reader(cx);
            let _ = poll_contained(&mut future, cx);
        }
    }

    /// The content is complete: from now on the client waits for the answer.
    pub(super) fn finish(&mut self, deadline: Instant) {
        self.body.finish();
        self.deadline = Some(deadline);
    }

    /// The content will never be complete.
    pub(super) fn abort(&mut self, reason: &Abort) {
        self.body.fail(match reason {
            Abort::Refused(reply) => BodyError::Refused(reply.clone()),
            Abort::Timeout => BodyError::TimedOut,
            Abort::Reset | Abort::Eof | Abort::Closed => BodyError::Incomplete,
        });
        let state = std::mem::replace(&mut self.state, State::Aborted(None));
        if let State::Handling(future) = state {
            self.state = State::Aborted(Some(future));
        }
        self.deadline = None;
    }

    /// True while the handler has more of the content before it than it should. Its time then runs.
    pub(super) fn is_stalled(
        &mut self,
        cx: &Context<'_>,
        deadline: impl FnOnce() -> Instant,
    ) -> bool {
        let full = matches!(self.state, State::Handling(_)) && self.body.is_full(cx);
        if full {
            self.deadline.get_or_insert_with(deadline);
        } else {
            self.deadline = None;
        }
        full
    }

    /// When the handler's time is over, where it runs.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
            .filter(|_| matches!(self.state, State::Handling(_)))
    }

    /// The handler's time is over: its answer is no longer wanted, the rest of the content is thrown away.
    pub(super) fn give_up(&mut self) {
        self.state = State::Answered(Err(replies::HANDLER_TIMED_OUT));
        self.deadline = None;
    }

    /// The connection is gone, with the message under way.
    pub(super) fn lose(&mut self, stopped: bool) {
        self.body.fail(if stopped {
            BodyError::Stopped
        } else {
            BodyError::Incomplete
        });
    }

    /// The handler's answer, once it is there; it is given once.
    pub(super) fn take_answer(&mut self) -> Option<Result<Accepted, Reply>> {
        if matches!(self.state, State::Handling(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Aborted(None)) {
            State::Answered(result) => Some(result),
            State::Handling(_) | State::Aborted(_) => Some(Err(replies::LOCAL_ERROR)),
        }
    }
}
