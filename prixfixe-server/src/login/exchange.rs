//! The way from a hook that speaks a mechanism to the client, and back.

use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use prixfixe_core::{Reply, Secret};

/// What a hook asks of its session while it runs: one thing at a time.
#[derive(Debug, Default)]
pub(crate) struct Exchange(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    step: Step,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Nothing,
    Asked(Request),
    /// The session is at it.
    Taken,
    Answered(Result<Secret, Reply>),
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// To send this, and for the client's answer.
    Challenge(Vec<u8>),
    /// Whether the client may try to be this user.
    Claim(Box<str>),
}

impl Exchange {
    pub(super) async fn challenge(&self, data: Vec<u8>) -> Result<Secret, Reply> {
        self.ask(Request::Challenge(data)).await
    }

    pub(super) async fn claim(&self, user: &str) -> Result<(), Reply> {
        self.ask(Request::Claim(user.into())).await.map(drop)
    }

    async fn ask(&self, request: Request) -> Result<Secret, Reply> {
        self.lock().step = Step::Asked(request);
        poll_fn(|cx| {
            let mut slot = self.lock();
            match mem::take(&mut slot.step) {
                Step::Answered(answer) => Poll::Ready(answer),
                step => {
                    slot.step = step;
                    slot.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// What the hook waits for, once.
    pub(crate) fn take_request(&self) -> Option<Request> {
        let mut slot = self.lock();
        match mem::replace(&mut slot.step, Step::Taken) {
            Step::Asked(request) => Some(request),
            step => {
                slot.step = step;
                None
            }
        }
    }

    /// Answers what was asked.
    pub(crate) fn answer(&self, answer: Result<Secret, Reply>) {
        let waker = {
            let mut slot = self.lock();
            slot.step = Step::Answered(answer);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
