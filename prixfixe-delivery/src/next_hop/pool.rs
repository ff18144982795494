//! Connections that wait for their next transaction.

#![expect(
    clippy::vec_box,
    reason = "they change hands for each message, and are large"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::link::Link;

/// Connections that wait for their next transaction. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    idle: Mutex<Vec<Box<Link>>>,
    most: usize,
    /// A task closes those that have waited for too long.
    is_swept: AtomicBool,
}

/// How long a connection may wait: less than servers do, so that it seldom turns out dead.
const MAX_IDLE: Duration = Duration::from_secs(10);
/// A connection is not used for ever, so that a change of addresses or of balancing takes hold.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Servers have such a limit too, and refuse what comes beyond it.
const MAX_TRANSACTIONS: u32 = 1000;

impl Pool {
    /// At most so many wait.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            idle: Mutex::default(),
            most,
            is_swept: AtomicBool::new(false),
        }))
    }

    /// One that is alive, as far as can be seen from here: the one used last.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        loop {
            let mut link = self.0.idle().pop()?;
            if link.idle_for() < MAX_IDLE && link.is_alive() {
                return Some(link);
            }
        }
    }

    /// A connection that is at rest. It is closed where it has served for long enough.
    pub(super) fn put(&self, mut link: Box<Link>) {
        link.rest();
        let offered = link.dialogue.extensions().limits.mail;
        let most = offered.map_or(MAX_TRANSACTIONS, |most| most.min(MAX_TRANSACTIONS));
        let is_used_up = link.transactions() >= most || link.age() >= MAX_AGE;
        let mut idle = self.0.idle();
        if is_used_up || idle.len() >= self.0.most {
            drop(idle);
            link.leave();
            return;
        }
        idle.push(link);
        drop(idle);
        self.sweep();
    }

    /// Nothing that waits is to be trusted any more.
    pub(super) fn clear(&self) {
        let links = std::mem::take(&mut *self.0.idle());
        drop(links);
    }

    /// Has a task close what waits for too long, while anything waits.
    fn sweep(&self) {
        if self.0.is_swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let guard = Sweeping(Arc::downgrade(&self.0));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(MAX_IDLE / 4).await;
                    let is_empty = guard.0.upgrade().is_none_or(|shared| shared.close_old());
                    if is_empty {
                        break;
                    }
                }
            });
        }
    }
}

/// The task that closes connections is there; it may end with its runtime.
struct Sweeping(Weak<Shared>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.is_swept.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Box<Link>>> {
        // Nothing that can panic runs under the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when none are left.
    fn close_old(&self) -> bool {
        let mut idle = self.idle();
        let old: Vec<Box<Link>> = idle
            .extract_if(.., |link| link.idle_for() >= MAX_IDLE || !link.is_alive())
            .collect();
        let is_empty = idle.is_empty();
        if is_empty {
            // Under the lock: whoever puts one in after this starts the next task.
            self.is_swept.store(false, Ordering::Release);
        }
        drop(idle);
        old.into_iter().for_each(|link| link.leave());
        is_empty
    }
}
