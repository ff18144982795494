//! Whether mail can be kept, and finding out when it can again.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::Fault;
use crate::refusals::Refusals;

/// Tells whether the last attempt to keep something went well.
///
/// A probe in the background tries now and then, and more often while there is a fault: so a fault is found, and its
/// end, with or without traffic. (Of standard output only the end: nothing can be written to it on trial.) Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Health {
    fault: watch::Receiver<Option<Arc<Fault>>>,
}

impl Health {
    /// Of something that cannot fail.
    pub(crate) fn always_good() -> Self {
        Self {
            fault: watch::channel(None).1,
        }
    }

    /// What stands in the way; `None` while mail can be kept.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<Fault>> {
        self.fault.borrow().clone()
    }

    /// Waits, on any executor, for the next change since the last call; for ever where there is none.
    pub async fn changed(&mut self) {
        if self.fault.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Where those who work report how it went.
#[derive(Debug)]
pub(crate) struct Monitor {
    fault: watch::Sender<Option<Arc<Fault>>>,
    refusals: Mutex<Refusals>,
    keeper: OnceLock<Thread>,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        Self {
            fault: watch::Sender::new(None),
            refusals: Mutex::default(),
            keeper: OnceLock::new(),
        }
    }

    pub(crate) fn health(&self) -> Health {
        Health {
            fault: self.fault.subscribe(),
        }
    }

    /// A message could not be kept.
    pub(crate) fn refused(&self, fault: Arc<Fault>) {
        self.refusals().add(Instant::now(), Arc::clone(&fault));
        self.failed(fault);
    }

    pub(crate) fn failed(&self, fault: Arc<Fault>) {
        let before = self.fault.send_replace(Some(fault));
        if before.is_none()
            && let Some(keeper) = self.keeper.get()
        {
            keeper.unpark();
        }
    }

    pub(crate) fn succeeded(&self) {
        if self.is_failing() && self.fault.send_if_modified(|fault| fault.take().is_some()) {
            self.refusals().end(Instant::now());
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // Nothing that can panic runs under the lock.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_failing(&self) -> bool {
        self.fault.borrow().is_some()
    }
}

/// What a keeper thread looks after.
pub(crate) trait Kept: Sized + Send + Sync + 'static {
    fn monitor(&self) -> &Monitor;

    /// Tries whether a message could be kept.
    fn probe(self: &Arc<Self>) -> Result<(), Fault>;

    /// Called once in [`TIDY_INTERVAL`].
    fn tidy(&self) {}
}

const TIDY_INTERVAL: Duration = Duration::from_hours(1);

/// While all is well, probes are so many times rarer.
const PATIENCE: u32 = 6;

/// A thread that probes, and tidies up now and then. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Keeper {
    pub(crate) fn spawn<K: Kept>(
        name: &str,
        kept: Arc<K>,
        probe_interval: Duration,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name(format!("{name}-keeper"))
            .spawn({
                let (kept, stop) = (Arc::clone(&kept), Arc::clone(&stop));
                move || run(&kept, &stop, probe_interval)
            })?
            .thread()
            .clone();
        // A fault from before this line has found nobody to wake: the thread looks once more.
        let _ = kept.monitor().keeper.set(thread.clone());
        thread.unpark();
        Ok(Self { stop, thread })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn run<K: Kept>(kept: &Arc<K>, stop: &AtomicBool, probe_interval: Duration) {
    let mut tidy_at = Instant::now() + TIDY_INTERVAL;
    let pause = |is_failing| match is_failing {
        true => probe_interval,
        false => probe_interval.saturating_mul(PATIENCE),
    };
    let mut was_failing = false;
    let mut probe_at = Instant::now() + pause(was_failing);
    while !stop.load(Ordering::Acquire) {
        let now = Instant::now();
        if tidy_at <= now {
            tidy_at = now + TIDY_INTERVAL;
            if catch_unwind(AssertUnwindSafe(|| kept.tidy())).is_err() {
                tracing::error!("tidying up after deliveries panicked");
            }
        }
        let is_due = probe_at <= now;
        if is_due {
            probe(kept);
        }
        let is_failing = kept.monitor().is_failing();
        if is_due || is_failing != was_failing {
            probe_at = now + pause(is_failing);
        }
        was_failing = is_failing;
        let wake_at = kept
            .monitor()
            .refusals()
            .tell_rest(now)
            .into_iter()
            .fold(tidy_at.min(probe_at), Instant::min);
        // It may return early and for no reason.
        thread::park_timeout(wake_at.saturating_duration_since(now));
    }
}

/// A panic must not end the thread: nobody else would find that mail can be kept again.
fn probe<K: Kept>(kept: &Arc<K>) {
    let monitor = kept.monitor();
    match catch_unwind(AssertUnwindSafe(|| kept.probe())) {
        Ok(Ok(())) => monitor.succeeded(),
        Ok(Err(fault)) => {
            if monitor.is_failing() {
                tracing::debug!(cause = %fault, "delivery still fails");
            } else {
                tracing::error!(path = fault.subject(), cause = %fault, "a message could not be stored if one came");
            }
            monitor.failed(Arc::new(fault));
        }
        Err(_) => tracing::error!("the attempt to deliver panicked"),
    }
}
