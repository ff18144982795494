//! Sessions that wake from elsewhere: another thread, or their own turn.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use mio::{Registry, Token};

/// The connections of one event loop that want a turn.
#[derive(Debug)]
pub(super) struct Woken {
    keys: Mutex<Vec<usize>>,
    poller: mio::Waker,
    /// The loop will look at the keys before it waits, so that it needs no waking itself.
    awake: AtomicBool,
}

impl Woken {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            keys: Mutex::default(),
            poller: mio::Waker::new(registry, token)?,
            awake: AtomicBool::new(true),
        })
    }

    /// The loop is about to wait. False: it needn't, something has woken.
    pub(super) fn may_sleep(&self) -> bool {
        self.awake.store(false, Ordering::SeqCst);
        self.lock().is_empty()
    }

    /// The loop doesn't wait any more. Moves the keys to `taken`, which is empty.
    pub(super) fn take(&self, taken: &mut Vec<usize>) {
        self.awake.store(true, Ordering::SeqCst);
        mem::swap(&mut *self.lock(), taken);
    }

    fn push(&self, key: usize) {
        self.lock().push(key);
        if !self.awake.swap(true, Ordering::SeqCst) {
            // It fails only if the loop is gone.
            let _ = self.poller.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the loop itself, every time, and no connection.
#[derive(Debug)]
pub(super) struct LoopWaker(pub(super) Arc<Woken>);

/// The key of no connection.
const NO_KEY: usize = usize::MAX;

impl Wake for LoopWaker {
    fn wake(self: Arc<Self>) {
        self.0.push(NO_KEY);
    }
}

/// Wakes one connection. However often it is woken it stands in the queue once, also when it is
/// gone: then whoever has its key meanwhile gets a turn too many, which does no harm.
#[derive(Debug)]
pub(super) struct KeyWaker {
    woken: Arc<Woken>,
    key: usize,
    queued: AtomicBool,
}

impl KeyWaker {
    pub(super) fn new(woken: &Arc<Woken>, key: usize) -> Arc<Self> {
        Arc::new(Self {
            woken: Arc::clone(woken),
            key,
            queued: AtomicBool::new(false),
        })
    }

    /// A turn follows: what wakes from now on isn't seen by it.
    pub(super) fn reset(&self) {
        self.queued.store(false, Ordering::SeqCst);
    }
}

impl Wake for KeyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.woken.push(self.key);
        }
    }
}
