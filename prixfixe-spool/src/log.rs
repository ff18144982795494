//! The log: a queue, one writer, and whoever keeps it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};

use crate::assembly::{NewMessage, Submission};
use crate::delivering::Delivering;
use crate::disk::{Disk, OsDisk};
use crate::error::{AppendError, MessageId, OpenError};
use crate::keeper::{KeepError, keep};
use crate::large::{self, LargeFile, LargeWriter};
use crate::ledger::{Companion, Fresh, Segment, Writing};
use crate::prepare::prepare;
use crate::record::{MAX_PAYLOAD, MAX_STATE, MAX_SUMMARY, MessagePayload, PayloadContent};
use crate::recovery::{at, numbers};
use crate::segment;
use crate::shared::{LogOptions, Shared};
use crate::threads::{keep_until_closed, write_until_closed};
use crate::ticket::{Ticket, ticket};
use crate::writer::{Writer, random};

/// Bytes that one write and one sync take, if so many wait.
const BATCH: u64 = 8 << 20;

/// A message for the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draft<'a> {
    /// What a queue wants to know of it without reading it: at most 1 KiB.
    pub summary: &'a [u8],
    /// Whom it is from and for.
    pub envelope: &'a [u8],
    /// What is put above its content.
    pub headers: &'a [u8],
    /// What the client has sent, at most some 256 KiB. Longer ones go by [`Log::large`].
    pub content: &'a [u8],
}

/// What waits for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<Submission>,
    /// How many of them somebody waits for.
    pub(crate) awaited: usize,
    pub(crate) is_closing: bool,
    pub(crate) writer: Resting,
}

/// What the writer does, and so who has to wake it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Resting {
    /// It works, and looks into the queue afterwards.
    #[default]
    Not,
    /// It wakes up by itself in a moment: states need not wake it.
    Briefly,
    UntilWoken,
}

/// Whoever takes several of these locks takes them in this order: delivery, keeping, writer, queue, the ledger.
pub(crate) struct Inner<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) woken: Condvar,
    pub(crate) writer: Mutex<Writer<D>>,
    /// There while this process is the one who delivers.
    pub(crate) delivery: Mutex<Option<Delivering<D>>>,
    /// Locked during a chore.
    pub(crate) keeping: Mutex<()>,
    /// A lock that all processes that are about share.
    pub(crate) about: D::File,
    /// Whether the keeper is to end.
    pub(crate) keeper: Mutex<bool>,
    pub(crate) keeper_woken: Condvar,
}

/// A spool's log. See the [crate's documentation](crate).
pub struct Log<D: Disk = OsDisk> {
    pub(crate) inner: Arc<Inner<D>>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Opens the log in a directory of the operating system, which is made where it is missing, and starts its threads.
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    pub fn start(root: impl AsRef<Path>, options: LogOptions) -> Result<Self, OpenError> {
        let mut log = Self::open(OsDisk, root.as_ref(), options)?;
        log.spawn().map_err(at(root.as_ref()))?;
        Ok(log)
    }
}

impl<D: Disk> Log<D> {
    /// Opens a log without threads: whoever has it calls [`turn`](Self::turn) and [`keep`](Self::keep).
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    pub fn open(disk: D, root: &Path, options: LogOptions) -> Result<Self, OpenError> {
        let shared = Shared::new(disk, root, options);
        let about = prepare(&shared)?;
        let directory = segment::directory(root);
        let found = shared.disk.list(&directory).map_err(at(&directory))?;
        {
            let mut ledger = shared.ledger();
            for (name, length) in found {
                if let Some(number) = segment::number(&name) {
                    let segment = Segment::new(length, Writing::Elsewhere(0));
                    ledger.segments.insert(number, segment);
                }
            }
            let contents = large::directory(root);
            let found = shared.disk.list(&contents).map_err(at(&contents))?;
            ledger.large_bytes = found.iter().map(|(_, length)| length).sum();
        }
        shared.count();
        let last = numbers(&shared)?.last().copied().unwrap_or(0);
        let shared = Arc::new(shared);
        let inner = Inner {
            writer: Mutex::new(Writer::new(Arc::clone(&shared), last + 1)),
            shared,
            queue: Mutex::default(),
            woken: Condvar::new(),
            delivery: Mutex::default(),
            keeping: Mutex::default(),
            about,
            keeper: Mutex::default(),
            keeper_woken: Condvar::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            threads: Vec::new(),
        })
    }

    /// Starts the threads that write and keep.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn spawn(&mut self) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        let writer = thread::Builder::new().name("spool-writer".to_owned());
        self.threads
            .push(writer.spawn(move || write_until_closed(&inner))?);
        let inner = Arc::clone(&self.inner);
        let keeper = thread::Builder::new().name("spool-keeper".to_owned());
        self.threads
            .push(keeper.spawn(move || keep_until_closed(&inner))?);
        Ok(())
    }

    /// Stores a message. The ticket's answer comes after the sync.
    #[must_use = "nothing is promised before the answer"]
    pub fn append(&self, draft: Draft<'_>) -> Ticket<MessageId> {
        self.submit(draft, PayloadContent::Here(draft.content), None, || ())
    }

    /// The same, and whoever [takes](Self::take_fresh) it as a fresh message gets this with it: what would have to be read
    /// again otherwise. It is in memory alone, and gone where another process delivers.
    #[must_use = "nothing is promised before the answer"]
    pub fn append_with(&self, draft: Draft<'_>, companion: Companion) -> Ticket<MessageId> {
        let content = PayloadContent::Here(draft.content);
        self.submit(draft, content, Some(companion), || ())
    }

    /// Begins a long content. This waits for the disk.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn large(&self) -> io::Result<LargeWriter<D>> {
        // 0 and a number that is taken are equally unlikely.
        LargeWriter::create(Arc::clone(&self.inner.shared), random())
    }

    /// Stores a message whose content is in a file of its own. The content of the draft is not looked at.
    #[must_use = "nothing is promised before the answer"]
    pub fn append_large(&self, draft: Draft<'_>, content: LargeFile<D>) -> Ticket<MessageId> {
        let place = PayloadContent::Large(content.content());
        // Refused, it is dropped and so removed.
        self.submit(draft, place, None, || content.hand_over())
    }

    fn submit(
        &self,
        draft: Draft<'_>,
        content: PayloadContent<'_>,
        companion: Option<Companion>,
        accepted: impl FnOnce(),
    ) -> Ticket<MessageId> {
        let (answer, ticket) = ticket();
        let (bytes, large) = match content {
            PayloadContent::Here(content) => (content.len(), None),
            PayloadContent::Large(content) => (0, Some(content)),
        };
        let length = draft.envelope.len() + draft.headers.len() + bytes;
        let refused = if draft.summary.len() > MAX_SUMMARY || length > MAX_PAYLOAD / 2 {
            Some(AppendError::TooLong)
        } else if !self.has_room(length as u64) {
            Some(AppendError::Full)
        } else {
            None
        };
        if let Some(error) = refused {
            answer.give(Err(error));
            return ticket;
        }
        accepted();
        let payload = MessagePayload {
            id: None,
            from: 0,
            summary: draft.summary,
            envelope: draft.envelope,
            headers: draft.headers,
            content,
        };
        self.inner.push(Submission::Message(NewMessage {
            frame: payload.frame(),
            summary: draft.summary.into(),
            large,
            companion,
            answer,
        }));
        ticket
    }

    /// Whether a message of this length may come in.
    #[must_use]
    pub fn has_room(&self, length: u64) -> bool {
        let shared = &self.inner.shared;
        shared.used().saturating_add(length) <= shared.max_size()
    }

    /// Another [size](LogOptions::max_size), for messages that come from now on.
    pub fn set_max_size(&self, bytes: u64) {
        self.inner.shared.set_max_size(bytes);
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.shared.used()
    }

    /// Remembers how far a message's delivery is: at most 64 KiB, of which the log knows nothing. Nobody waits for it: it
    /// is written within a few milliseconds, or together with the next message.
    ///
    /// # Errors
    ///
    /// [`AppendError::TooLong`].
    pub fn attempt(&self, id: MessageId, state: &[u8]) -> Result<(), AppendError> {
        self.state(id, false, state)
    }

    /// The same, and the message is held.
    ///
    /// # Errors
    ///
    /// [`AppendError::TooLong`].
    pub fn hold(&self, id: MessageId, state: &[u8]) -> Result<(), AppendError> {
        self.state(id, true, state)
    }

    fn state(&self, id: MessageId, held: bool, state: &[u8]) -> Result<(), AppendError> {
        if state.len() > MAX_STATE {
            return Err(AppendError::TooLong);
        }
        let state = state.into();
        self.inner.push(Submission::State { id, held, state });
        Ok(())
    }

    /// A message's delivery is over: it is never heard of again. Nobody waits for it.
    pub fn done(&self, id: MessageId) {
        self.inner.push(Submission::Done(id));
    }

    /// Messages that were appended since the last call, by this process and by others that were [followed](Self::follow).
    #[must_use]
    pub fn take_fresh(&self) -> Vec<Fresh> {
        mem::take(&mut self.inner.shared.ledger().fresh)
    }

    /// Whom to wake when there are fresh messages of this process: once for all that were written together, after those who
    /// wait for their tickets. The first one counts.
    pub fn wake_for_fresh(&self, waker: Waker) {
        let _ = self.inner.shared.fresh.set(waker);
    }

    /// Writes what waits, and syncs it. `false`: nothing did. For a log without threads.
    pub fn turn(&self) -> bool {
        self.turn_with(true)
    }

    /// The same without a sync, where only states wait.
    pub fn turn_without_sync(&self) -> bool {
        self.turn_with(false)
    }

    pub(crate) fn turn_with(&self, sync: bool) -> bool {
        let mut writer = lock(&self.inner.writer);
        let batch = lock(&self.inner.queue).take();
        let is_work = !batch.is_empty() || writer.owes_a_sync();
        if is_work {
            writer.commit(batch, sync);
            self.inner.shared.count();
        }
        is_work && !lock(&self.inner.queue).waiting.is_empty()
    }

    /// Does a chore: removes a segment that is not needed, or copies what is left of one. `false`: there was none.
    /// For a log without threads.
    ///
    /// # Errors
    ///
    /// [`KeepError`]. It may be tried again.
    pub fn keep(&self) -> Result<bool, KeepError> {
        self.inner.keep(|tickets| {
            while self.turn_with(true) {}
            tickets.into_iter().try_for_each(Ticket::wait)
        })
    }

    /// Writes all that waits, ends the open segment and stops.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        lock(&self.inner.queue).is_closing = true;
        self.inner.woken.notify_all();
        *lock(&self.inner.keeper) = true;
        self.inner.keeper_woken.notify_all();
        let had_threads = !self.threads.is_empty();
        for thread in self.threads.drain(..) {
            // A panic there was told by the hook already.
            let _ = thread.join();
        }
        if had_threads {
            while self.turn_with(true) {}
            lock(&self.inner.writer).finish();
        }
    }

    /// Ends the open segment, so that the next start need not read its contents.
    pub fn finish(&self) {
        while self.turn_with(true) {}
        lock(&self.inner.writer).finish();
        self.inner.shared.count();
    }
}

impl<D: Disk> Drop for Log<D> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<D: Disk> fmt::Debug for Log<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("root", &self.inner.shared.root)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// As many as one write takes.
    pub(crate) fn take(&mut self) -> Vec<Submission> {
        let mut size = 0;
        let count = self.waiting.iter().take_while(|it| {
            let fits = size < BATCH;
            size += it.size();
            fits
        });
        let count = count.count();
        let taken: Vec<Submission> = self.waiting.drain(..count).collect();
        let awaited = taken.iter().filter(|it| it.is_awaited()).count();
        self.awaited = self.awaited.saturating_sub(awaited);
        taken
    }
}

impl<D: Disk> Inner<D> {
    fn push(&self, submission: Submission) {
        let mut queue = lock(&self.queue);
        // Dropped, its answer says so.
        if queue.is_closing {
            return;
        }
        let is_awaited = submission.is_awaited();
        queue.awaited += usize::from(is_awaited);
        queue.waiting.push_back(submission);
        let wakes = match queue.writer {
            Resting::Not => false,
            Resting::Briefly => is_awaited,
            Resting::UntilWoken => true,
        };
        if wakes {
            queue.writer = Resting::Not;
        }
        drop(queue);
        if wakes {
            self.woken.notify_one();
        }
    }

    /// Does a chore. `wait` returns when all of the tickets have their answers.
    pub(crate) fn keep(
        &self,
        mut wait: impl FnMut(Vec<Ticket<()>>) -> Result<(), AppendError>,
    ) -> Result<bool, KeepError> {
        let _keeping = lock(&self.keeping);
        keep(&self.shared, |again| {
            let submit = |again| {
                let (answer, ticket) = ticket();
                self.push(Submission::Again(again, answer));
                ticket
            };
            wait(again.into_iter().map(submit).collect())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn states_wake_no_writer_that_wakes_up_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(OsDisk, directory.path(), LogOptions::default()).unwrap();
        let resting = || lock(&log.inner.queue).writer;
        lock(&log.inner.queue).writer = Resting::Briefly;
        log.done(MessageId::new(1, 4128));
        assert_eq!(resting(), Resting::Briefly);
        let ticket = log.append(Draft::default());
        assert_eq!(resting(), Resting::Not);
        assert_eq!(lock(&log.inner.queue).awaited, 1);
        while log.turn() {}
        assert_eq!(lock(&log.inner.queue).awaited, 0);
        ticket.wait().unwrap();
        lock(&log.inner.queue).writer = Resting::UntilWoken;
        log.done(MessageId::new(1, 4128));
        assert_eq!(resting(), Resting::Not);
    }
}
