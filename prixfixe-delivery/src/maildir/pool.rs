//! The threads that do what blocks.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use async_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::FileSystem;
use super::batch::Batch;
use super::store::{Answer, Store, Temporary};
use crate::StoreError;

/// Jobs that wait for a thread. Each message has one at the most, so that this bounds no memory that its sender would
/// not hold anyway; beyond it senders wait.
const QUEUE_LENGTH: usize = 1024;

/// A piece of work with no waiting for a client in it: a slow client never holds a thread.
pub(crate) enum Job<F: FileSystem> {
    /// Writes a batch of a large message and hands the file back.
    Append {
        temporary: Option<Temporary<F>>,
        batch: Batch,
        back: oneshot::Sender<Result<Temporary<F>, StoreError>>,
    },
    /// Writes the last batch, of a small message its only one, and commits the message.
    Finish {
        temporary: Option<Temporary<F>>,
        batch: Batch,
        answer: Answer,
    },
    /// Removes the file of a message that will not be complete.
    Abandon(Temporary<F>),
}

/// Starts the threads. They end when the last sender is gone and the queue is empty.
pub(crate) fn spawn<F: FileSystem>(
    store: &Arc<Store<F>>,
    workers: NonZeroUsize,
) -> io::Result<Sender<Job<F>>> {
    let (sender, receiver) = async_channel::bounded(QUEUE_LENGTH);
    for number in 0..workers.get() {
        let (store, receiver) = (Arc::clone(store), receiver.clone());
        thread::Builder::new()
            .name(format!("maildir-{number}"))
            .spawn(move || work(&store, &receiver))?;
    }
    Ok(sender)
}

fn work<F: FileSystem>(store: &Arc<Store<F>>, jobs: &Receiver<Job<F>>) {
    while let Ok(job) = jobs.recv_blocking() {
        match job {
            Job::Append {
                temporary,
                batch,
                back,
            } => {
                let result = store
                    .append(temporary, &batch)
                    .map_err(|fault| store.failed(fault));
                // Nobody there to take it back: it is dropped here, and so removed.
                drop(back.send(result));
            }
            Job::Finish {
                temporary,
                batch,
                answer,
            } => store.finish(temporary, &batch, answer),
            Job::Abandon(temporary) => drop(temporary),
        }
    }
}
