//! Threads for slow hashes, so that no connection waits for another one's login.

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use async_channel::{Receiver, Sender, TrySendError};

/// Logins that wait. With 15,000 iterations the last one of them has its turn after a few seconds.
const MAX_WAITING: usize = 256;
/// Argon2 may take 256 MiB in each.
const MAX_THREADS: usize = 8;

/// A bounded number of threads, with a bounded queue before them.
pub(crate) struct Workers {
    queue: Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Too many wait already, or the job has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

impl Workers {
    /// One thread for each core.
    pub(crate) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with(cores.min(MAX_THREADS), MAX_WAITING)
    }

    fn with(threads: usize, waiting: usize) -> io::Result<Self> {
        let (queue, jobs) = async_channel::bounded(waiting);
        for _ in 0..threads {
            let jobs: Receiver<Job> = jobs.clone();
            let thread = thread::Builder::new().name("prixfixe-auth".to_owned());
            thread.spawn(move || work(&jobs))?;
        }
        Ok(Self { queue })
    }

    /// Runs the job on one of the threads. It is not begun when nobody waits for it any more.
    pub(crate) async fn run<T, F>(&self, job: F) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.submit(job)?.await
    }

    fn submit<T, F>(
        &self,
        job: F,
    ) -> Result<impl Future<Output = Result<T, Busy>> + use<T, F>, Busy>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (result, outcome) = async_channel::bounded(1);
        let job: Job = Box::new(move || {
            if !result.is_closed() {
                let _ = result.try_send(job());
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => Ok(async move { outcome.recv().await.map_err(|_| Busy) }),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Err(Busy),
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

fn work(jobs: &Receiver<Job>) {
    give_way();
    while let Ok(job) = jobs.recv_blocking() {
        // Its result is dropped, so that who waits for it hears of it; the panic hook has logged it.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Mail goes before logins where both want the processor.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        // Linux has a priority for each thread. Where it is not to be had, all share alike.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn over_the_bound_is_busy_and_what_is_given_up_is_not_begun() {
        let workers = Workers::with(1, 2).unwrap();
        let (release, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let first = workers.submit(move || {
            begun.send(()).unwrap();
            wait.recv().unwrap();
            1
        });
        let first = first.unwrap();
        has_begun.recv().unwrap();

        let runs = Arc::new(AtomicUsize::new(0));
        let count = || {
            let runs = runs.clone();
            move || runs.fetch_add(1, Ordering::SeqCst)
        };
        let given_up = workers.submit(count()).unwrap();
        let second = workers.submit(count()).unwrap();
        assert!(workers.submit(count()).is_err());
        drop(given_up);
        release.send(()).unwrap();
        assert_eq!(pollster::block_on(first), Ok(1));
        assert_eq!(pollster::block_on(second), Ok(0));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_ends_one_job_alone() {
        let workers = Workers::with(1, 2).unwrap();
        let panics = workers.run(|| Vec::<u8>::new()[0]);
        assert_eq!(pollster::block_on(panics), Err(Busy));
        assert_eq!(pollster::block_on(workers.run(|| 2)), Ok(2));
    }
}
