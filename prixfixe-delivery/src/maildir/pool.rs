//! The threads that do what blocks.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use async_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::FileSystem;
use super::batch::Batch;
use super::store::{Answer, Store, Temporary};
use crate::StoreError;
use crate::health::Ticket;

/// Jobs that wait for a thread. Each message has one at the most, so that this bounds no memory
/// that its sender would not hold anyway; beyond it senders wait.
const QUEUE_LENGTH: usize = 1024;

/// A job in a Maildir.
pub(crate) struct Task<F: FileSystem> {
    pub(crate) store: Arc<Store<F>>,
    pub(crate) job: Job<F>,
}

/// A piece of work with no waiting for a client in it: a slow client never holds a thread.
pub(crate) enum Job<F: FileSystem> {
    /// Writes a batch of a large message and hands the file back.
    Append {
        temporary: Option<Temporary<F>>,
        batch: Batch,
        back: oneshot::Sender<Result<Temporary<F>, StoreError>>,
        ticket: Ticket,
    },
    /// Writes the last batch, of a small message its only one, and commits the message.
    Finish {
        temporary: Option<Temporary<F>>,
        batch: Batch,
        answer: Answer,
    },
    /// Removes the file of a message that will not be complete.
    Abandon {
        temporary: Temporary<F>,
        ticket: Ticket,
    },
    /// Sees whether one Maildir of many is there, and makes it if it may.
    Find {
        make: bool,
        back: oneshot::Sender<Result<bool, StoreError>>,
        ticket: Ticket,
    },
}

impl<F: FileSystem> Job<F> {
    fn ticket(&mut self) -> &mut Ticket {
        match self {
            Self::Append { ticket, .. }
            | Self::Abandon { ticket, .. }
            | Self::Find { ticket, .. } => ticket,
            Self::Finish { answer, .. } => &mut answer.ticket,
        }
    }
}

/// The queue, with nobody at work yet.
pub(crate) fn queue<F: FileSystem>() -> (Sender<Task<F>>, Receiver<Task<F>>) {
    async_channel::bounded(QUEUE_LENGTH)
}

/// Starts the threads. They end when the last sender is gone and the queue is empty.
pub(crate) fn spawn<F: FileSystem>(workers: NonZeroUsize) -> io::Result<Sender<Task<F>>> {
    let (sender, receiver) = queue();
    for number in 0..workers.get() {
        let receiver = receiver.clone();
        thread::Builder::new()
            .name(format!("maildir-{number}"))
            .spawn(move || work(&receiver))?;
    }
    Ok(sender)
}

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may wait for the disk. Others serve connections.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// It may until this is dropped.
pub(crate) struct Allowed {
    before: bool,
}

pub(crate) fn allow_blocking() -> Allowed {
    Allowed {
        before: MAY_BLOCK.replace(true),
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        MAY_BLOCK.set(self.before);
    }
}

/// A panic is a defect, of ours or of a file system's. It costs the message at hand, which is
/// refused since its answer is dropped, and not the thread: with none left nothing would be stored
/// until the next start.
fn work<F: FileSystem>(tasks: &Receiver<Task<F>>) {
    let _allowed = allow_blocking();
    while let Ok(Task { store, job }) = tasks.recv_blocking() {
        let done = contained(|| run(&store, job)) && contained(|| store.common.remove_abandoned());
        if !done {
            // Others may have left it to this thread to sync for them. Each round answers some of
            // them.
            while !contained(|| store.commit_the_rest()) {}
        }
    }
}

/// False when it panicked.
fn contained(work: impl FnOnce()) -> bool {
    let done = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !done {
        tracing::error!(
            "a delivery thread panicked; the message is refused and the thread goes on"
        );
    }
    done
}

fn run<F: FileSystem>(store: &Arc<Store<F>>, mut job: Job<F>) {
    job.ticket().begin(Instant::now());
    match job {
        Job::Append {
            temporary,
            batch,
            back,
            ticket,
        } => {
            let result = store
                .append(temporary, &batch)
                .map_err(|fault| store.failed(fault));
            drop(ticket);
            // Nobody there to take it back: it is dropped here, and so removed.
            drop(back.send(result));
        }
        Job::Finish {
            temporary,
            batch,
            answer,
        } => store.finish(temporary, &batch, answer),
        Job::Abandon { temporary, ticket } => {
            drop(temporary);
            drop(ticket);
        }
        Job::Find { make, back, ticket } => {
            let found = store.find(make).map_err(|fault| store.failed(fault));
            drop(ticket);
            drop(back.send(found));
        }
    }
}

/// The work of a Maildir that has no threads: whoever calls it does it, a job at a time.
///
/// For tests in one thread. The other workers are there all the same where a [`FileSystem`] lets
/// more jobs be done while an operation lasts.
pub struct Hands<F: FileSystem> {
    pub(crate) tasks: Receiver<Task<F>>,
}

impl<F: FileSystem> Hands<F> {
    /// How many jobs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.tasks.len()
    }

    /// Does the job that has waited longest. False: there is none.
    pub fn work(&self) -> bool {
        let Ok(Task { store, job }) = self.tasks.try_recv() else {
            return false;
        };
        let _allowed = allow_blocking();
        run(&store, job);
        store.common.remove_abandoned();
        true
    }
}

impl<F: FileSystem> fmt::Debug for Hands<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}
