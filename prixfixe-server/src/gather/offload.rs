//! Work that blocks, on threads that may block.
//!
//! Not `tokio::task::spawn_blocking`: the raw transport has no runtime.

use std::future::Future;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Threads of the process for this. What limits them is the disk.
const THREADS: usize = 4;

static JOBS: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Job>();
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..THREADS {
        let receiver = Arc::clone(&receiver);
        let work = move || work(&receiver);
        // Fewer threads do the same work, and without any the answer is an error.
        let _ = thread::Builder::new()
            .name(format!("gather-{number}"))
            .spawn(work);
    }
    sender
});

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            // A job that panics has told whoever waits by dropping its channel; the others' jobs go
            // on.
            Ok(job) => drop(panic::catch_unwind(AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

/// Does the job elsewhere. The future can be awaited on any executor, and dropped.
pub(super) fn offload<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> impl Future<Output = io::Result<T>> + Send {
    let receiver = begin(job);
    async {
        receiver
            .await
            .unwrap_or_else(|_| Err(io::Error::other("no thread works")))
    }
}

/// Begins the job; its result comes through the channel.
pub(super) fn begin<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> oneshot::Receiver<io::Result<T>> {
    let (sender, receiver) = oneshot::channel();
    // Whoever waited may have gone.
    let job = move || drop(sender.send(job()));
    let _ = JOBS.send(Box::new(job));
    receiver
}

/// What takes long to drop, as the last handle of a large file without a name: the system frees its
/// blocks then. An event loop that drops it only passes it on.
#[derive(Debug)]
pub(super) struct DroppedElsewhere<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> DroppedElsewhere<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// An error only while it is being dropped, when nobody can ask.
    pub(super) fn get(&self) -> io::Result<&T> {
        self.0
            .as_ref()
            .ok_or_else(|| io::Error::other("it is dropped"))
    }
}

impl<T: Send + 'static> Drop for DroppedElsewhere<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            drop(begin(move || {
                drop(value);
                Ok(())
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells the name of the thread that drops it.
    struct Dropped(Sender<Option<String>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let name = thread::current().name().map(String::from);
            let _ = self.0.send(name);
        }
    }

    #[test]
    fn what_takes_long_to_drop_is_dropped_on_a_thread_that_may_block() {
        let (sender, receiver) = mpsc::channel();
        drop(DroppedElsewhere::new(Dropped(sender)));
        let name = receiver.recv().unwrap().unwrap();
        assert!(name.starts_with("gather-"), "{name}");
    }
}
