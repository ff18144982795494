//! An answer that comes after a sync: for a future, or for a thread that waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::AppendError;

#[derive(Debug)]
struct Slot<T> {
    answer: Option<Result<T, AppendError>>,
    waker: Option<Waker>,
}

/// The answer to an append. A future; dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "nothing is promised before the answer"]
pub struct Ticket<T>(Arc<Mutex<Slot<T>>>);

/// Its other end. Dropped without an answer it says that the log is closed.
#[derive(Debug)]
pub(crate) struct Answer<T>(Option<Arc<Mutex<Slot<T>>>>);

pub(crate) fn ticket<T>() -> (Answer<T>, Ticket<T>) {
    let slot = Arc::new(Mutex::new(Slot {
        answer: None,
        waker: None,
    }));
    (Answer(Some(Arc::clone(&slot))), Ticket(slot))
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Answer<T> {
    pub(crate) fn give(mut self, answer: Result<T, AppendError>) {
        self.put(answer);
    }

    fn put(&mut self, answer: Result<T, AppendError>) {
        if let Some(slot) = self.0.take() {
            let waker = {
                let mut slot = lock(&slot);
                slot.answer = Some(answer);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.put(Err(AppendError::Closed));
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Ticket<T> {
    /// Waits on this thread.
    ///
    /// # Errors
    ///
    /// [`AppendError`]: the message is not stored.
    pub fn wait(self) -> Result<T, AppendError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut ticket = pin!(self);
        loop {
            match ticket.as_mut().poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
