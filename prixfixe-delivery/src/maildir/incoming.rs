//! A message on its way into the Maildir.

use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use async_channel::Sender;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::FileSystem;
use super::batch::Batch;
use super::pool::{Job, Task};
use super::store::{Answer, Store, Temporary};
use crate::{Disk, StoreError};

/// A message that is being written. It becomes visible in `new/` by [`commit`](Self::commit),
/// whole, or never.
///
/// Up to 128 KiB of it are gathered in memory and need one hop to a thread; a longer one is written
/// in batches of that size, and a batch is filled while the one before is written. So it costs at
/// most two of them, whatever its length, and no thread ever waits for the rest of it.
///
/// # Cancellation
///
/// Dropping it, or a future of it, gives the message up: its file in `tmp/` is removed. A commit
/// whose future is dropped is undone too, unless its file was renamed already: then it stays, whole
/// and as durable as any other. Its client has not got its `250` and will send it once more, as
/// after any reply that is lost on the way (RFC 1047).
pub struct Incoming<F: FileSystem = Disk> {
    store: Arc<Store<F>>,
    tasks: Sender<Task<F>>,
    batch: Batch,
    progress: Progress<F>,
}

enum Progress<F: FileSystem> {
    /// No file yet: the message has been small so far.
    Gathering,
    /// A batch is being written.
    Writing(oneshot::Receiver<Result<Temporary<F>, StoreError>>),
    /// All batches so far are written.
    Written(Temporary<F>),
    /// It will never be complete.
    Failed(StoreError),
}

impl<F: FileSystem> Incoming<F> {
    pub(crate) fn new(store: Arc<Store<F>>, tasks: Sender<Task<F>>, head: Vec<u8>) -> Self {
        Self {
            store,
            tasks,
            batch: Batch::with_head(head),
            progress: Progress::Gathering,
        }
    }

    /// Adds a piece of any length. Waits, on any executor, while two batches are full.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a batch could not be written, this time and from then on.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        if !self.batch.has_room_for(piece.len()) {
            let temporary = self.settle().await?;
            let batch = mem::take(&mut self.batch);
            let (back, written) = oneshot::channel();
            self.progress = Progress::Writing(written);
            self.send(Job::Append {
                temporary,
                batch,
                back,
                ticket: self.store.ticket(),
            })
            .await?;
        }
        self.batch.push(piece);
        Ok(())
    }

    /// Makes the message durable and visible, and gives its file in `new/`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that was not to be done; nothing of it is left then.
    pub async fn commit(mut self) -> Result<PathBuf, StoreError> {
        let temporary = self.settle().await?;
        let batch = mem::take(&mut self.batch);
        let (sender, committed) = oneshot::channel();
        let answer = Answer {
            sender,
            ticket: self.store.ticket(),
        };
        self.send(Job::Finish {
            temporary,
            batch,
            answer,
        })
        .await?;
        committed.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Waits for the batch under way and takes the file out. What it leaves behind is a failure
    /// until there is more to say.
    async fn settle(&mut self) -> Result<Option<Temporary<F>>, StoreError> {
        if let Progress::Writing(written) = &mut self.progress {
            self.progress = match written.await.unwrap_or(Err(StoreError::Stopped)) {
                Ok(temporary) => Progress::Written(temporary),
                Err(error) => Progress::Failed(error),
            };
        }
        match mem::replace(&mut self.progress, Progress::Failed(StoreError::Stopped)) {
            Progress::Written(temporary) => Ok(Some(temporary)),
            Progress::Gathering => Ok(None),
            // Settled above: it cannot be under way.
            Progress::Writing(_) => Err(StoreError::Stopped),
            Progress::Failed(error) => {
                self.progress = Progress::Failed(error.clone());
                Err(error)
            }
        }
    }

    async fn send(&mut self, job: Job<F>) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        let sent = self.tasks.send(Task { store, job }).await;
        sent.map_err(|_| StoreError::Stopped)
    }
}

impl<F: FileSystem> Drop for Incoming<F> {
    fn drop(&mut self) {
        let temporary = match mem::replace(&mut self.progress, Progress::Gathering) {
            Progress::Written(temporary) => temporary,
            Progress::Writing(mut written) => {
                // From here on the worker keeps what it has written.
                written.close();
                match written.try_recv() {
                    Ok(Ok(temporary)) => temporary,
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            Progress::Gathering | Progress::Failed(_) => return,
        };
        // Removing a file may block, and this may be an event loop. Where the queue is full a
        // worker finds it later.
        let ticket = self.store.ticket();
        let store = Arc::clone(&self.store);
        let job = Job::Abandon { temporary, ticket };
        drop(self.tasks.try_send(Task { store, job }));
    }
}

impl<F: FileSystem> fmt::Debug for Incoming<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
