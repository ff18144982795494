//! Knowing when all who take part in something are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::wakers::Wakers;

/// A party to wait for, and the means to wait.
pub(crate) fn completion() -> (Party, Completion) {
    let shared = Arc::new(Shared::default());
    (
        Party(Arc::new(Member(Arc::clone(&shared)))),
        Completion(shared),
    )
}

/// One who takes part. Clones are more of them; the last one dropped completes.
#[derive(Debug, Clone)]
pub(crate) struct Party(#[expect(dead_code, reason = "held for its drop")] Arc<Member>);

/// Waits for the last [`Party`].
#[derive(Debug)]
pub(crate) struct Completion(Arc<Shared>);

impl Completion {
    pub(crate) async fn wait(&self) {
        self.0
            .wakers
            .until(|| self.0.done.load(Ordering::Acquire))
            .await;
    }
}

#[derive(Debug)]
struct Member(Arc<Shared>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
        self.0.wakers.wake_all();
    }
}

#[derive(Debug, Default)]
struct Shared {
    done: AtomicBool,
    wakers: Wakers,
}
