//! The threads behind [`Health`](super::Health): one that tries, and one that never touches a disk
//! and so never hangs with it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Monitor;
use crate::Fault;

/// What a keeper looks after.
pub(crate) trait Kept: Sized + Send + Sync + 'static {
    fn monitor(&self) -> &Monitor;

    /// Tries whether a message could be kept.
    fn probe(self: &Arc<Self>) -> Result<(), Fault>;

    /// Looks at what costs next to nothing to look at, in every probe interval.
    fn look(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Called once in [`TIDY_INTERVAL`].
    fn tidy(&self) {}
}

const TIDY_INTERVAL: Duration = Duration::from_hours(1);

/// While all is well, probes are so many times rarer.
const RARER: u32 = 6;

/// The shortest time between two looks, however often somebody asks for one.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Both threads. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    threads: [Thread; 2],
}

impl Keeper {
    pub(crate) fn spawn<K: Kept>(
        name: &str,
        kept: Arc<K>,
        probe_interval: Duration,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let prober = spawn(format!("{name}-keeper"), {
            let (kept, stop) = (Arc::clone(&kept), Arc::clone(&stop));
            move || Prober::new(kept, probe_interval).run(&stop)
        })?;
        let watcher = spawn(format!("{name}-watch"), {
            let (kept, stop) = (Arc::clone(&kept), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Acquire) {
                    let now = Instant::now();
                    let wake_at = kept.monitor().watch(now);
                    // It may return early and for no reason.
                    thread::park_timeout(wake_at.saturating_duration_since(now));
                }
            }
        })?;
        // What happened before this line has found nobody to wake: they look once more.
        kept.monitor().is_kept_by(&prober, &watcher);
        prober.unpark();
        watcher.unpark();
        Ok(Self {
            stop,
            threads: [prober, watcher],
        })
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    let handle = thread::Builder::new().name(name).spawn(work)?;
    Ok(handle.thread().clone())
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in &self.threads {
            thread.unpark();
        }
    }
}

struct Prober<K> {
    kept: Arc<K>,
    interval: Duration,
    was_failing: bool,
    tidy_at: Instant,
    look_at: Instant,
    probe_at: Instant,
}

impl<K: Kept> Prober<K> {
    fn new(kept: Arc<K>, interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            kept,
            interval,
            was_failing: false,
            tidy_at: now + TIDY_INTERVAL,
            look_at: now,
            probe_at: now + interval.saturating_mul(RARER),
        }
    }

    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let now = Instant::now();
            self.turn(now);
            let wake_at = self.tidy_at.min(self.look_at).min(self.probe_at);
            // It may return early and for no reason.
            thread::park_timeout(wake_at.saturating_duration_since(now));
        }
    }

    fn turn(&mut self, now: Instant) {
        if self.tidy_at <= now {
            self.tidy_at = now + TIDY_INTERVAL;
            if catch_unwind(AssertUnwindSafe(|| self.kept.tidy())).is_err() {
                tracing::error!("tidying up after deliveries panicked");
            }
        }
        let was_asked = self.kept.monitor().look_is_wanted();
        if was_asked || self.look_at <= now {
            self.look_at = now + self.interval;
            attempt(&self.kept, |kept| kept.look(), |_| {});
            if was_asked {
                thread::sleep(LOOK_PAUSE.min(self.interval));
            }
        }
        let is_due = self.probe_at <= now;
        if is_due {
            attempt(&self.kept, Kept::probe, Monitor::succeeded);
        }
        let is_failing = self.kept.monitor().is_failing();
        if is_due || is_failing != self.was_failing {
            self.probe_at = now
                + match is_failing {
                    true => self.interval,
                    false => self.interval.saturating_mul(RARER),
                };
        }
        self.was_failing = is_failing;
    }
}

/// A panic must not end the thread: nobody else would find that mail can be kept again.
fn attempt<K: Kept>(
    kept: &Arc<K>,
    work: impl FnOnce(&Arc<K>) -> Result<(), Fault>,
    succeeded: impl FnOnce(&Monitor),
) {
    let monitor = kept.monitor();
    let ticket = monitor.outstanding().run(Instant::now());
    let result = catch_unwind(AssertUnwindSafe(|| work(kept)));
    drop(ticket);
    match result {
        Ok(Ok(())) => succeeded(monitor),
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
