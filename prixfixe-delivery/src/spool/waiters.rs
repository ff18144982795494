//! Whoever waits until a message is on the disk.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::task::Waker;

use prixfixe_spool::Together;
use tokio::runtime::Handle;

/// Those who wait in a runtime. One task there wakes them all: within a runtime that costs no system call.
#[derive(Debug)]
pub(super) struct Waiters {
    runtime: Handle,
    key: u64,
}

/// Woken when this is dropped: by the task, or by a runtime that takes no task any more.
struct Wakers(Vec<Waker>);

impl Waiters {
    /// Those of this runtime. `None`: this is not in one.
    pub(super) fn here() -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        let key = BuildHasherDefault::<DefaultHasher>::default().hash_one(runtime.id());
        Some(Self { runtime, key })
    }
}

impl Together for Waiters {
    fn key(&self) -> u64 {
        self.key
    }

    fn wake(&self, wakers: Vec<Waker>) {
        let wakers = Wakers(wakers);
        self.runtime.spawn(async move { drop(wakers) });
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.build().unwrap()
    }

    #[test]
    fn each_runtime_is_a_place_of_its_own() {
        let (one, other) = (runtime(), runtime());
        let key = |runtime: &tokio::runtime::Runtime| {
            let _here = runtime.enter();
            Waiters::here().unwrap().key()
        };
        assert_eq!(key(&one), key(&one));
        assert_ne!(key(&one), key(&other));
        assert!(Waiters::here().is_none());
    }

    #[test]
    fn all_are_woken_in_their_runtime_and_when_it_is_gone() {
        let count = Arc::new(Count::default());
        let wakers = || vec![Waker::from(Arc::clone(&count)); 3];
        let runtime = runtime();
        let place = runtime.block_on(async { Waiters::here().unwrap() });
        place.wake(wakers());
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        runtime.block_on(tokio::task::yield_now());
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        // One task that never has its turn, and one that is not taken.
        place.wake(wakers());
        drop(runtime);
        place.wake(wakers());
        assert_eq!(count.0.load(Ordering::Relaxed), 9);
    }
}
