//! Threads for slow hashes, so that no connection waits for another one's login.

mod queue;

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

pub(crate) use self::queue::Origin;
use self::queue::{Full, Job, Queue};

/// Logins that wait. With 15,000 iterations the last one of them has its turn after a few seconds.
const MAX_WAITING: usize = 256;
/// Argon2 may take 256 MiB in each.
const MAX_THREADS: usize = 8;

/// A bounded number of threads, with a bounded queue before them, in which clients take turns.
pub(crate) struct Workers {
    queue: Arc<Queue>,
}

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
        // Dropped where a thread is not to be had, so that the others end.
        let workers = Self {
            queue: Arc::new(Queue::new(waiting)),
        };
        for _ in 0..threads {
            let queue = Arc::clone(&workers.queue);
            let thread = thread::Builder::new().name("prixfixe-auth".to_owned());
            thread.spawn(move || work(&queue))?;
        }
        Ok(workers)
    }

    /// Runs the job on one of the threads. It is not begun when nobody waits for it any more.
    pub(crate) async fn run<T, F>(&self, origin: Origin, job: F) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.submit(origin, job)?.await
    }

    fn submit<T, F>(
        &self,
        origin: Origin,
        job: F,
    ) -> Result<impl Future<Output = Result<T, Busy>> + use<T, F>, Busy>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (result, outcome) = async_channel::bounded(1);
        let waited_for = result.clone();
        let job = Job {
            run: Box::new(move || {
                if !result.is_closed() {
                    let _ = result.try_send(job());
                }
            }),
            is_wanted: Box::new(move || !waited_for.is_closed()),
        };
        match self.queue.push(origin, job) {
            Ok(()) => Ok(async move { outcome.recv().await.map_err(|_| Busy) }),
            Err(Full) => Err(Busy),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

fn work(queue: &Queue) {
    give_way();
    while let Some(Job { run, is_wanted }) = queue.pop() {
        drop(is_wanted);
        // Its result is dropped, so that who waits for it hears of it; the panic hook has logged
        // it.
        let _ = catch_unwind(AssertUnwindSafe(run));
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
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::of(Some(address.parse::<IpAddr>().unwrap()))
    }

    /// One thread that is kept busy until the sender says so.
    fn held(waiting: usize) -> (Workers, mpsc::Sender<()>) {
        let workers = Workers::with(1, waiting).unwrap();
        let (release, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let first = workers.submit(origin("192.0.2.250"), move || {
            begun.send(()).unwrap();
            let _ = wait.recv();
        });
        // Dropped when the thread is at it already.
        has_begun.recv().unwrap();
        drop(first);
        (workers, release)
    }

    #[test]
    fn over_the_bound_is_busy_and_what_is_given_up_is_not_begun() {
        let (workers, release) = held(2);
        let runs = Arc::new(AtomicUsize::new(0));
        let count = || {
            let runs = runs.clone();
            move || runs.fetch_add(1, Ordering::SeqCst)
        };
        let from = origin("192.0.2.1");
        let given_up = workers.submit(from, count()).unwrap();
        let second = workers.submit(from, count()).unwrap();
        assert!(workers.submit(from, count()).is_err());
        // It leaves its place to others.
        drop(given_up);
        let third = workers.submit(from, count()).unwrap();
        release.send(()).unwrap();
        assert_eq!(pollster::block_on(second), Ok(0));
        assert_eq!(pollster::block_on(third), Ok(1));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_client_with_many_logins_holds_up_nobody_else() {
        let (workers, release) = held(8);
        let order = Arc::new(Mutex::new(Vec::new()));
        let submit = |address: &str, name: String| {
            let order = order.clone();
            workers.submit(origin(address), move || order.lock().unwrap().push(name))
        };
        // All of one /64: they fill the queue, and one more is refused.
        let flood =
            |number: u32| submit(&format!("2001:db8::{number:x}"), format!("flood {number}"));
        let flooded: Vec<_> = (1..=8).map(|number| flood(number).unwrap()).collect();
        assert!(flood(9).is_err());
        // Others come in all the same, and have their turn.
        let others = ["192.0.2.1", "192.0.2.2"].map(|it| submit(it, it.to_owned()).unwrap());
        release.send(()).unwrap();
        for other in others {
            assert_eq!(pollster::block_on(other), Ok(()));
        }
        let outcomes: Vec<_> = flooded.into_iter().map(pollster::block_on).collect();
        assert_eq!(outcomes[..6], [Ok(()); 6]);
        assert_eq!(outcomes[6..], [Err(Busy); 2], "the newest gave way");
        let order = order.lock().unwrap();
        assert_eq!(order[..3], ["flood 1", "192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn a_panic_ends_one_job_alone() {
        let workers = Workers::with(1, 2).unwrap();
        let from = Origin::of(None);
        let panics = workers.run(from, || Vec::<u8>::new()[0]);
        assert_eq!(pollster::block_on(panics), Err(Busy));
        assert_eq!(pollster::block_on(workers.run(from, || 2)), Ok(2));
    }
}
