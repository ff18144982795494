//! An answer that comes after a sync: for a future, or for a thread that waits.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::AppendError;

/// Where somebody waits for a ticket: a runtime, say. All who wait there are woken by one call when their answers come
/// together.
pub trait Together: fmt::Debug + Send + Sync {
    /// The same for all who wait at the same place.
    fn key(&self) -> u64;

    /// Wakes them: all of them, whatever has become of the place.
    fn wake(&self, wakers: Vec<Waker>);
}

#[derive(Debug)]
struct Slot<T> {
    answer: Option<Result<T, AppendError>>,
    waker: Option<Waker>,
    place: Option<Box<dyn Together>>,
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
        place: None,
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

    /// The same, and whoever waits is woken with others.
    pub(crate) fn give_with_others(mut self, answer: T, woken: &mut Woken) {
        if let Some((waker, place)) = self.fill(Ok(answer)) {
            woken.add(waker, place);
        }
    }

    fn put(&mut self, answer: Result<T, AppendError>) {
        if let Some((waker, _)) = self.fill(answer) {
            waker.wake();
        }
    }

    fn fill(
        &mut self,
        answer: Result<T, AppendError>,
    ) -> Option<(Waker, Option<Box<dyn Together>>)> {
        let slot = self.0.take()?;
        let mut slot = lock(&slot);
        slot.answer = Some(answer);
        let waker = slot.waker.take()?;
        Some((waker, slot.place.take()))
    }
}

/// Those whose answers are there, and who are to be woken.
#[derive(Default)]
pub(crate) struct Woken {
    alone: Vec<Waker>,
    together: Vec<(Box<dyn Together>, Vec<Waker>)>,
}

impl Woken {
    fn add(&mut self, waker: Waker, place: Option<Box<dyn Together>>) {
        let Some(place) = place else {
            return self.alone.push(waker);
        };
        let mut places = self.together.iter_mut();
        match places.find(|(it, _)| it.key() == place.key()) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.together.push((place, vec![waker])),
        }
    }

    pub(crate) fn wake(self) {
        self.alone.into_iter().for_each(Waker::wake);
        for (place, mut wakers) in self.together {
            match wakers.pop() {
                // One alone is woken as quickly without a detour.
                Some(waker) if wakers.is_empty() => waker.wake(),
                Some(waker) => {
                    wakers.push(waker);
                    place.wake(wakers);
                }
                None => {}
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
    /// Whoever waits for it does so at this place, and is woken there together with others.
    pub fn together(self, place: impl Together + 'static) -> Self {
        lock(&self.0).place = Some(Box::new(place));
        self
    }

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
