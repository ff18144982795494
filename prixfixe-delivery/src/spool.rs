//! A durable queue in front of targets.
//!
//! A client's `250` means that its message is on the disk. It is delivered afterwards, as often as
//! it takes, and to as many targets as its routes name.
//!
//! | file | its subject |
//! |---|---|
//! | `store`, `waiters` | a message on its way in |
//! | `envelope`, `client`, `summary`, `state` | what is stored of it |
//! | `queue` | which message is next, in memory |
//! | `kept` | messages that have just come in, in memory |
//! | `engine` | the task that delivers |
//! | `attempt`, `ending`, `content` | an attempt, and what comes of it |
//! | `undelivered`, `failed` | what the sender hears, and what lies in `failed/` |
//! | `operations`, `entry` | what an operator sees and does |

mod attempt;
mod client;
mod clock;
mod content;
mod core;
mod ending;
mod engine;
mod entry;
mod envelope;
mod failed;
mod kept;
mod operations;
mod options;
mod queue;
mod schedule;
mod state;
pub(crate) mod store;
mod summary;
mod undelivered;
mod waiters;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prixfixe_server::{Mail, Message, Reply};
use prixfixe_spool::{Disk, MessageId, OpenError, OsDisk};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::core::Core;
use self::engine::Order;
use self::store::Incoming;
use crate::fault::NO_SPACE;
use crate::routes::Routes;
use crate::{Asked, Failure, Health, MinFree, Storage, Target, TargetStatus, Transaction};

pub use self::client::{StoredClient, StoredTls};
pub use self::entry::{
    EntryId, EntryState, EntryTarget, InvalidEntryId, QueueStatus, SpoolEntry, SpoolStatus,
};
pub use self::envelope::{
    InvalidEnvelope, StoredEnvelope, StoredFinding, StoredRecipient, StoredTarget,
};
pub use self::failed::{FailedMessage, FailedRecipient};
pub use self::operations::OperationError;
pub use self::options::SpoolOptions;
pub use self::schedule::RetrySchedule;
pub use self::state::{DeliveryState, TargetState};
pub use self::undelivered::{Bouncer, Ended, Ending, NoBounces, Notice, Report};

/// A durable queue in front of targets. Clones share everything.
///
/// It is a [`Target`] and a handler itself: a server's mail goes into it, and is on the disk when
/// its client is told `250`. A task of tokio's delivers it by the routes.
///
/// ```no_run
/// use prixfixe_delivery::{Maildir, MaildirOptions, Routes, Spool, SpoolOptions};
/// use prixfixe_server::Server;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let routes = Routes::all_to("keep", Maildir::open("mail", MaildirOptions::default())?);
/// let spool = Spool::start("spool", routes, SpoolOptions::default())?;
/// let server = Server::builder().listen(([127, 0, 0, 1], 2525)).handler(spool.clone()).start()?;
/// server.stopped().await;
/// spool.stop(std::time::Duration::from_secs(30)).await;
/// # Ok(())
/// # }
/// ```
///
/// After `250` each target of each recipient gets the message at least once, or it lies in
/// `failed/`. A failed attempt is repeated by the [schedule](SpoolOptions::retry) until it has been
/// tried [for too long](SpoolOptions::give_up_after). A target that refuses a recipient for good
/// ends that recipient at once. A target that cannot be reached is tried by one message at a time,
/// and delays nobody else's mail. A target that the routes do not know keeps its mail.
pub struct Spool<D: Disk = OsDisk>(Arc<Handle<D>>);

struct Handle<D: Disk> {
    core: Arc<Core<D>>,
    orders: watch::Sender<Order>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens the spool in a directory, which is made where it is missing, and starts to deliver: at
    /// once, or as soon as the process that delivers from it now has stopped. Call it in a runtime
    /// of tokio's.
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's.
    pub fn start(
        path: impl AsRef<Path>,
        routes: Routes,
        options: SpoolOptions,
    ) -> Result<Self, OpenError> {
        let spool = Self::open_on(OsDisk, path.as_ref(), routes, options, true)?;
        spool.deliver();
        Ok(spool)
    }

    /// Opens the spool of a server that does not run, to look into it and to act on it. Nothing is
    /// delivered. `None`: a process delivers from it.
    ///
    /// This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    pub fn inspect(
        path: impl AsRef<Path>,
        routes: Routes,
        options: SpoolOptions,
    ) -> Result<Option<Self>, OpenError> {
        let spool = Self::open_on(OsDisk, path.as_ref(), routes, options, true)?;
        let core = &spool.0.core;
        let taken = core.take_over()?;
        core.is_delivering
            .store(taken, std::sync::atomic::Ordering::Release);
        Ok(taken.then_some(spool))
    }
}

impl<D: Disk + Clone> Spool<D> {
    /// Opens a spool on a disk of the program's own. Without threads everything is written where it
    /// is asked for. Nothing is delivered before [`deliver`](Self::deliver). For tests.
    ///
    /// # Errors
    ///
    /// [`OpenError`], with the path that it is about.
    #[doc(hidden)]
    pub fn open_on(
        disk: D,
        path: &Path,
        routes: Routes,
        options: SpoolOptions,
        has_threads: bool,
    ) -> Result<Self, OpenError> {
        let core = Core::open(disk, path, routes, options, has_threads)?;
        Ok(Self(Arc::new(Handle {
            core: Arc::new(core),
            orders: watch::Sender::new(Order::Deliver),
            task: Mutex::default(),
        })))
    }
}

impl<D: Disk> Spool<D> {
    /// Starts to deliver.
    #[doc(hidden)]
    pub fn deliver(&self) {
        let orders = self.0.orders.subscribe();
        let task = tokio::spawn(engine::run(Arc::clone(&self.0.core), orders));
        *self.task() = Some(task);
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.0.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops delivering: no new attempts begin, those under way have so long, and then a successor
    /// may deliver. Messages are still taken, for it.
    pub async fn stop(&self, drain: Duration) {
        self.0.orders.send_replace(Order::Stop(drain));
        let task = self.task().take();
        if let Some(task) = task {
            // A panic there was told by the hook already.
            let _ = task.await;
        }
    }

    /// Other routes, for messages that come and attempts that begin from now on. A target under a
    /// name that it had before keeps its numbers.
    pub fn set_routes(&self, routes: Routes) {
        self.0.core.set_routes(routes);
    }

    /// Other options, from now on. Of those of the log this is
    /// [the size](prixfixe_spool::LogOptions::max_size) alone.
    pub fn set_options(&self, options: SpoolOptions) {
        self.0.core.set_options(options);
    }

    /// The targets that mail is routed to, and what has become of it.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let routes = self.0.core.routes();
        routes.targets().map(|target| target.status()).collect()
    }

    /// Messages by state and target. It looks at each of them in memory.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        self.0.core.status()
    }

    /// Stores a message of the program's own, by the routes. It is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Failure`], with the reply that a client would get.
    pub async fn submit(&self, message: Message) -> Result<EntryId, Failure> {
        let core = &self.0.core;
        Ok(EntryId::Queued(core.store(&core.routes(), message).await?))
    }

    /// Messages behind this one, at most so many: first those in the log, in the order of their
    /// ids, then those in `failed/`.
    ///
    /// It reads each of them, and so waits for the disk.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn list(
        &self,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, OperationError> {
        let core = &self.0.core;
        let mut found = Vec::new();
        let mut last: Option<MessageId> = match after {
            None => None,
            Some(EntryId::Queued(id)) => Some(*id),
            Some(EntryId::Failed(_)) => Some(MessageId::from_bits(u64::MAX)),
        };
        while found.len() < limit {
            let ids = core.queue().ids_after(last, (limit - found.len()).min(256));
            let Some(end) = ids.last() else {
                break;
            };
            last = Some(*end);
            for id in ids {
                match core.queued_entry(id) {
                    Ok(entry) => found.push(entry),
                    Err(OperationError::Read(prixfixe_spool::ReadError::Unknown)) => {}
                    Err(error) => tracing::warn!(%id, %error, "a message cannot be listed"),
                }
            }
        }
        let names = core.failed_names()?;
        let names = names.iter().filter(|name| match after {
            Some(EntryId::Failed(after)) => *name > after,
            _ => true,
        });
        for name in names.take(limit - found.len()) {
            match core.failed_entry(name) {
                Ok(entry) => found.push(entry),
                Err(error) => tracing::warn!(name, %error, "a message in failed/ cannot be listed"),
            }
        }
        Ok(found)
    }

    /// A message. This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn show(&self, id: &EntryId) -> Result<SpoolEntry, OperationError> {
        match id {
            EntryId::Queued(queued) => self.0.core.queued_entry(*queued),
            EntryId::Failed(name) => self.0.core.failed_entry(name),
        }
        .map_err(|error| match error {
            OperationError::Read(prixfixe_spool::ReadError::Unknown) => {
                OperationError::Unknown(id.clone())
            }
            error => error,
        })
    }

    /// Writes a message with the headers of a mailbox: `Return-Path`, `Delivered-To`, `Received`.
    /// This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn export(
        &self,
        id: &EntryId,
        write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), OperationError> {
        self.0.core.export(id, write)
    }

    /// Tries a message now, unless it is held. One in `failed/` goes back into the queue, for those
    /// who did not get it, and is removed there. This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn retry(&self, id: &EntryId) -> Result<(), OperationError> {
        match id {
            EntryId::Queued(_) => self.0.core.retry_queued(id),
            EntryId::Failed(name) => self.0.core.retry_failed(name),
        }
    }

    /// Tries all messages of the queue now, or those of a target. Gives how many waited.
    pub fn retry_all(&self, target: Option<&str>) -> u64 {
        let count = self.0.core.queue().retry_all(target);
        self.0.core.wake.notify_one();
        count
    }

    /// Holds a message: it is not tried until it is released. An attempt under way goes on.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn hold(&self, id: &EntryId) -> Result<(), OperationError> {
        self.0.core.set_held(id, true)
    }

    /// Releases a message: it is tried at once.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn release(&self, id: &EntryId) -> Result<(), OperationError> {
        self.0.core.set_held(id, false)
    }

    /// Removes a message: nobody gets it any more, and nobody is told.
    ///
    /// # Errors
    ///
    /// [`OperationError`].
    pub fn remove(&self, id: &EntryId) -> Result<(), OperationError> {
        self.0.core.remove(id)
    }
}

impl<D: Disk> Target for Spool<D> {
    fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        let size = mail.parameters().size.unwrap_or(0);
        let core = &self.0.core;
        match core.log.has_room(size) && core.gauge.has_room_for(size) {
            true => core.monitor.admit(),
            false => Err(NO_SPACE),
        }
    }

    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(Incoming::new(&self.0.core, mail))))
    }

    fn health(&self) -> Health {
        self.0.core.monitor.health()
    }

    fn storage(&self) -> Vec<Storage> {
        let core = &self.0.core;
        core.gauge.storage(core.root.clone()).into_iter().collect()
    }

    fn set_min_free(&self, min_free: MinFree) {
        self.0.core.set_min_free(min_free);
    }

    fn is_local(&self) -> bool {
        true
    }
}

impl<D: Disk> Drop for Handle<D> {
    fn drop(&mut self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.abort();
        }
    }
}

impl<D: Disk> Clone for Spool<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Disk> fmt::Debug for Spool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("path", &self.0.core.root)
            .finish_non_exhaustive()
    }
}
