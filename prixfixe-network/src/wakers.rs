//! Those who want to be woken.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use slab::Slab;

/// Wakers that stay until they are removed, so that who waits registers once and pays nothing while
/// nothing happens.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    wakers: Mutex<Slab<Waker>>,
}

impl Wakers {
    /// The key is for [`remove`](Self::remove).
    pub(crate) fn insert(&self, waker: Waker) -> usize {
        self.lock().insert(waker)
    }

    pub(crate) fn remove(&self, key: usize) {
        let removed = self.lock().try_remove(key);
        // Dropping a waker may run foreign code: outside of the lock.
        drop(removed);
    }

    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> = self.lock().iter().map(|(_, waker)| waker.clone()).collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits, on any executor, for a condition whose change is followed by
    /// [`wake_all`](Self::wake_all).
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        let mut waiting = Waiting {
            wakers: self,
            registered: None,
        };
        poll_fn(|cx| {
            // Registered before the condition is looked at, so that no change falls in between.
            waiting.register(cx.waker());
            if condition() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<'w> {
    wakers: &'w Wakers,
    registered: Option<(usize, Waker)>,
}

impl Waiting<'_> {
    fn register(&mut self, waker: &Waker) {
        if self
            .registered
            .as_ref()
            .is_some_and(|(_, known)| known.will_wake(waker))
        {
            return;
        }
        let key = self.wakers.insert(waker.clone());
        if let Some((old, _)) = self.registered.replace((key, waker.clone())) {
            self.wakers.remove(old);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.registered.take() {
            self.wakers.remove(key);
        }
    }
}
