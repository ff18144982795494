//! A tokio runtime for handlers that need one, where the transport has none.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

/// The runtime whose sockets and timers the hooks of a server use. It is started when it is wanted
/// for the first time.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    runtime: OnceLock<Option<Runtime>>,
    /// The threads that ask hooks are inside of a runtime for as long as they live. To find that
    /// out anew for each question would count references that all threads share.
    everywhere: AtomicBool,
}

impl Surroundings {
    /// Starts the runtime, if it does not run yet.
    pub(crate) fn start(&self) -> io::Result<()> {
        if self.runtime.get().is_none() {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("prixfixe-hooks")
                .enable_all()
                .build()?;
            // Two at once: the second is dropped unused.
            if let Err(Some(unused)) = self.runtime.set(Some(runtime)) {
                unused.shutdown_background();
            }
        }
        Ok(())
    }

    /// From now on every thread of the transport is inside of a runtime.
    pub(crate) fn are_everywhere(&self) {
        self.everywhere.store(true, Ordering::Relaxed);
    }

    /// As [`enter`](Self::enter), on a thread of the transport.
    pub(super) fn enter_to_ask(&self) -> Option<EnterGuard<'_>> {
        match self.everywhere.load(Ordering::Relaxed) {
            true => None,
            false => self.enter(),
        }
    }

    /// Inside of the runtime from here to the end of the guard. Nothing where there is a runtime
    /// already.
    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        if Handle::try_current().is_ok() {
            return None;
        }
        // Here after `auto` fell back. Without a thread for it the hook panics where it needs it,
        // and says so.
        if self.start().is_err() {
            let _ = self.runtime.set(None);
        }
        self.runtime.get()?.as_ref().map(Runtime::enter)
    }
}

/// The last session of a server may end on a thread of a runtime, which must not wait for another
/// one.
impl Drop for Surroundings {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
