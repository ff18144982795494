//! What all parts of a spool share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;

use prixfixe_spool::{Disk, Log, MessageId, OpenError};
use tokio::sync::Notify;

use super::clock::Clock;
use super::kept::Room;
use super::options::SpoolOptions;
use super::queue::Queue;
use crate::health::Monitor;
use crate::routes::Routes;
use crate::space::Gauge;
use crate::{FileSystem, MinFree};

/// Wakes the task that delivers.
#[derive(Default)]
pub(super) struct Wake(Notify);

impl Wake {
    pub(super) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(super) async fn notified(&self) {
        self.0.notified().await;
    }
}

impl std::task::Wake for Wake {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// All of a spool but the task that delivers.
pub(super) struct Core<D: Disk> {
    pub(super) log: Log<D>,
    pub(super) disk: D,
    pub(super) root: PathBuf,
    pub(super) clock: Clock,
    pub(super) monitor: Monitor,
    pub(super) gauge: Gauge,
    pub(super) wake: Arc<Wake>,
    /// For messages that are delivered as soon as they are stored.
    pub(super) room: Room,
    /// This process delivers.
    pub(super) is_delivering: AtomicBool,
    /// Messages in `failed/`.
    pub(super) failed: AtomicU64,
    queue: Mutex<Queue>,
    routes: RwLock<Arc<Routes>>,
    options: RwLock<Arc<SpoolOptions>>,
    /// The log writes in threads of its own.
    has_threads: bool,
}

impl<D: Disk + Clone> Core<D> {
    /// Opens the log. Without threads everything is written where it is asked for: for tests.
    pub(super) fn open(
        disk: D,
        root: &Path,
        routes: Routes,
        options: SpoolOptions,
        has_threads: bool,
    ) -> Result<Self, OpenError> {
        let mut log = Log::open(disk.clone(), root, options.log.clone())?;
        if has_threads {
            log.spawn().map_err(|source| OpenError::Io {
                path: root.to_owned(),
                source,
            })?;
        }
        let core = Self {
            log,
            disk,
            root: root.to_owned(),
            clock: Clock::new(),
            monitor: Monitor::new(format!("the spool {}", root.display())),
            gauge: Gauge::new(options.min_free),
            wake: Arc::default(),
            room: Room::default(),
            is_delivering: AtomicBool::new(false),
            failed: AtomicU64::new(0),
            queue: Mutex::default(),
            routes: RwLock::new(Arc::new(routes)),
            options: RwLock::new(Arc::new(options)),
            has_threads,
        };
        core.log.wake_for_fresh(Waker::from(Arc::clone(&core.wake)));
        core.set_known();
        core.count_failed();
        core.look();
        Ok(core)
    }
}

impl<D: Disk> Core<D> {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_routes(&self, routes: Routes) {
        let mut current = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(routes.with_numbers_of(&current));
        drop(current);
        self.set_known();
        self.warn_of_unknown();
        self.wake.notify_one();
    }

    pub(super) fn options(&self) -> Arc<SpoolOptions> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_options(&self, options: SpoolOptions) {
        self.set_min_free(options.min_free);
        self.log.set_max_size(options.log.max_size);
        let mut current = self.options.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(options);
        drop(current);
        self.set_known();
        self.wake.notify_one();
    }

    /// Tells the queue which targets there are.
    pub(super) fn set_known(&self) {
        let (routes, options) = (self.routes(), self.options());
        let mut queue = self.queue();
        for target in routes.all_targets() {
            queue.lane(target.name());
        }
        queue.set_known(|name| {
            let is_known = routes.named(name).is_some();
            is_known.then(|| options.concurrency_of(name))
        });
    }

    /// Looks at the free space, and tries whether something can be written, where it could not. It waits for the disk.
    pub(super) fn look(&self) {
        if let Ok(Some(free)) = crate::Disk.free_space(&self.root) {
            let shortage = self.gauge.sample(&self.root.display().to_string(), free);
            self.monitor.space(shortage);
        }
        if self.monitor.health().fault().is_some() {
            let written = self.log.large().and_then(|mut it| {
                it.write(b"try")?;
                it.finish()
            });
            if written.is_ok() {
                self.monitor.succeeded();
            }
        }
    }

    pub(super) fn set_min_free(&self, min_free: MinFree) {
        let subject = self.root.display().to_string();
        self.monitor
            .space(self.gauge.set_min_free(&subject, min_free));
    }

    pub(super) fn is_delivering(&self) -> bool {
        self.is_delivering.load(Ordering::Acquire)
    }

    /// Writes what was asked for, where no thread does.
    pub(super) fn settle(&self) {
        if !self.has_threads {
            while self.log.turn() {}
        }
    }

    /// Stores how far the delivery of a message is.
    pub(super) fn store_state(&self, id: MessageId) {
        let queue = self.queue();
        let Some(state) = queue.state(id) else {
            return;
        };
        let bytes = state.to_bytes();
        let stored = match queue.is_held(id) {
            true => self.log.hold(id, &bytes),
            false => self.log.attempt(id, &bytes),
        };
        // Not before it is in the log's queue: else an older state could come behind a newer one.
        drop(queue);
        if let Err(error) = stored {
            tracing::warn!(%id, %error, "the state of a delivery cannot be stored: a restart repeats it");
        }
        self.settle();
    }
}
