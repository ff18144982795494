//! Knowing when all who take part in something are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::wakers::Wakers;

/// A guard to wait for the drop of, and the means to wait.
pub(crate) fn completion() -> (CompletionGuard, Completion) {
    let shared = Arc::new(Shared::default());
    (
        CompletionGuard(Arc::new(CompleteOnDrop(Arc::clone(&shared)))),
        Completion(shared),
    )
}

/// One who takes part. Clones are more of them; the last one dropped completes.
#[derive(Debug, Clone)]
pub(crate) struct CompletionGuard(
    #[expect(dead_code, reason = "held for its drop")] Arc<CompleteOnDrop>,
);

/// Waits for the last [`CompletionGuard`].
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
struct CompleteOnDrop(Arc<Shared>);

impl Drop for CompleteOnDrop {
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
