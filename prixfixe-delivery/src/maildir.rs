//! Keeping mail as files.

mod batch;
mod commit;
mod file_system;
mod incoming;
mod name;
mod pool;
mod process;
mod root;
mod store;
mod tree;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_channel::Sender;
use prixfixe_server::{Body, Mail, Message, Recipient, Reply, header_separator};

pub use file_system::{Access, Disk, FileSystem, Identity};
pub use incoming::Incoming;
pub use pool::Hands;
pub use tree::{InvalidTemplate, MaildirTemplate, Maildirs, MaildirsOptions, PreparedMaildirs};

use crate::health::{Keeper, Kept};
use crate::{
    Asked, BoxFuture, Delivered, Failure, Fault, Health, MinFree, Outcomes, Storage, Target,
    Transaction,
};
use pool::Task;
use store::{Common, Store};

/// A Maildir: every message a file, and safe once it is there.
///
/// It is a [`Target`] and so a handler, and a store of its own for those who have messages from
/// elsewhere. Clones share everything; the threads end when the last clone and the last
/// [`Incoming`] are gone.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_delivery::{Maildir, MaildirOptions};
///
/// let maildir = Maildir::open("mail", MaildirOptions::default())?;
/// let mut message = maildir.begin(b"Delivered-To: you@example.com\r\n".to_vec());
/// message.write("Subject: hello\r\n\r\nA body.\r\n".into()).await?;
/// let file = message.commit().await?;
/// println!("it is in {}", file.display());
/// # Ok(())
/// # }
/// ```
pub struct Maildir<F: FileSystem = Disk> {
    shared: Arc<Shared<F>>,
}

struct Shared<F: FileSystem> {
    store: Arc<Store<F>>,
    tasks: Sender<Task<F>>,
    _keeper: Option<Keeper>,
}

/// How a Maildir is kept.
///
/// ```
/// let mut options = prixfixe_delivery::MaildirOptions::default();
/// options.fsync = false;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MaildirOptions {
    /// Whether a message is on the disk, and not only with the operating system, before its client
    /// is told so. Without it an acknowledged message outlives the server but not a loss of power.
    /// By default: true.
    pub fsync: bool,
    /// Threads that write. Each has a message under way: what limits them is how much the disk can
    /// do at once, not the number of cores. By default: 16.
    pub workers: NonZeroUsize,
    /// How often it is tried, while messages cannot be stored, whether they can be again. While
    /// they can, a sixth as often. By default: 5 s, and so 30 s. Free space is looked at in each
    /// such time, and sooner where much is written.
    pub probe_interval: Duration,
    /// The least free space with which mail is taken. By default: [`MinFree::OFF`];
    /// [`MinFree::for_messages_of`] is what goes with a server's `max_message_size`.
    pub min_free: MinFree,
    /// The permission bits of files, which their owner can read and write whatever is said here.
    /// Whom they let read, the directories let in. By default: 0600, and so 0700.
    pub mode: Option<u32>,
    /// The number of the group that files and directories belong to; the process has to be a member
    /// of it. By default: as the system gives it.
    pub group: Option<u32>,
}

impl MaildirOptions {
    /// `None`: as files are made anyway.
    fn access(&self) -> Option<Access> {
        let is_usual = self.mode.is_none_or(|mode| mode == 0o600) && self.group.is_none();
        (!is_usual).then(|| Access {
            mode: self.mode.unwrap_or_default() & 0o777 | 0o600,
            group: self.group,
        })
    }
}

impl Default for MaildirOptions {
    fn default() -> Self {
        Self {
            fsync: true,
            workers: WORKERS,
            probe_interval: Duration::from_secs(5),
            min_free: MinFree::OFF,
            mode: None,
            group: None,
        }
    }
}

const WORKERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// Why a Maildir could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path is empty, or it is relative and there is no working directory.
    #[error("cannot make the Maildir {path:?} absolute: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A directory cannot be made, or no file can be written in it.
    #[error(transparent)]
    Unusable(#[from] Fault),
    /// The target is at the other end of a network, or a program, and what is asked of it is wrong.
    #[error(transparent)]
    Remote(Box<dyn std::error::Error + Send + Sync>),
    /// No thread could be started.
    #[error("cannot start the threads of the delivery: {0}")]
    Threads(#[source] io::Error),
}

impl OpenError {
    pub(crate) fn remote(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Remote(Box::new(error))
    }
}

impl Maildir {
    /// Opens the Maildir at `path`, makes what is missing of it, and tries whether it can be
    /// written to. Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when messages cannot be stored there. A disk that is merely full is none:
    /// messages are refused until there is room.
    pub fn open(path: impl AsRef<Path>, options: MaildirOptions) -> Result<Self, OpenError> {
        Self::open_on(Disk, path, options)
    }

    /// Does all that [`open`](Self::open) does but for the threads: for a program that becomes
    /// another user afterwards. What is made here belongs to the user who calls this, what comes
    /// later to the one who calls [`PreparedMaildir::start`].
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn prepare(
        path: impl AsRef<Path>,
        options: MaildirOptions,
    ) -> Result<PreparedMaildir, OpenError> {
        let store = open_store(Disk, path.as_ref(), &options)?;
        Ok(PreparedMaildir { store, options })
    }
}

/// A Maildir that is there, with nobody at work yet.
pub struct PreparedMaildir {
    store: Arc<Store<Disk>>,
    options: MaildirOptions,
}

impl PreparedMaildir {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// [`OpenError::Threads`].
    pub fn start(self) -> Result<Maildir, OpenError> {
        Maildir::start(self.store, &self.options)
    }
}

impl fmt::Debug for PreparedMaildir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedMaildir")
            .field("path", &self.store.root)
            .finish_non_exhaustive()
    }
}

impl<F: FileSystem> Maildir<F> {
    /// [`open`](Maildir::open), on a file system of your own.
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn open_on(
        file_system: F,
        path: impl AsRef<Path>,
        options: MaildirOptions,
    ) -> Result<Self, OpenError> {
        let store = open_store(file_system, path.as_ref(), &options)?;
        Self::start(store, &options)
    }

    fn start(store: Arc<Store<F>>, options: &MaildirOptions) -> Result<Self, OpenError> {
        let tasks = pool::spawn(options.workers).map_err(OpenError::Threads)?;
        let keeper = Keeper::spawn("maildir", Arc::clone(&store), options.probe_interval)
            .map_err(OpenError::Threads)?;
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                tasks,
                _keeper: Some(keeper),
            }),
        })
    }

    /// [`open_on`](Self::open_on), without a thread: nothing is stored before [`Hands`] does the
    /// work, and nobody probes or sweeps later on. For simulations and tests in one thread.
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn open_by_hand(
        file_system: F,
        path: impl AsRef<Path>,
        options: &MaildirOptions,
    ) -> Result<(Self, Hands<F>), OpenError> {
        let store = open_store(file_system, path.as_ref(), options)?;
        let (sender, tasks) = pool::queue();
        let shared = Shared {
            store,
            tasks: sender,
            _keeper: None,
        };
        let maildir = Self {
            shared: Arc::new(shared),
        };
        Ok((maildir, Hands { tasks }))
    }

    /// Begins a message whose first bytes are `head`: its trace headers, say.
    #[must_use]
    pub fn begin(&self, head: Vec<u8>) -> Incoming<F> {
        Incoming::new(
            Arc::clone(&self.shared.store),
            self.shared.tasks.clone(),
            head,
        )
    }

    /// Whether messages can be stored.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.store.monitor().health()
    }

    /// Changes [`MaildirOptions::fsync`] from the next message on. Switched on, it blocks until the
    /// directories are on the disk; messages that were acknowledged before are as safe as they
    /// were.
    ///
    /// # Errors
    ///
    /// [`Fault`] when they cannot be synced. Then nothing has changed.
    pub fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        self.shared.store.set_fsync(fsync)
    }

    /// Changes [`MaildirOptions::min_free`] from now on.
    pub fn set_min_free(&self, min_free: MinFree) {
        self.shared.store.set_min_free(min_free);
    }

    /// The file system that messages are written to, as it was when it was last looked at. `None`
    /// where it does not say what is free.
    #[must_use]
    pub fn storage(&self) -> Option<Storage> {
        self.shared.store.storage()
    }

    /// Where it is, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.store.root
    }
}

/// Makes what is missing, tries whether it can be written to, and sweeps.
fn open_store<F: FileSystem>(
    file_system: F,
    path: &Path,
    options: &MaildirOptions,
) -> Result<Arc<Store<F>>, OpenError> {
    let root = std::path::absolute(path).map_err(|source| OpenError::Path {
        path: path.to_owned(),
        source,
    })?;
    let common = Arc::new(Common::new(file_system, &root, options));
    let store = Arc::new(Store::new(common, root));
    match store.probe() {
        Err(fault) if fault.is_no_space() => {
            store.failed(fault);
        }
        result => result?,
    }
    store.look()?;
    store.sweep(SystemTime::now());
    Ok(store)
}

/// Stores each message as its trace headers and then its content, with a [`header_separator`]
/// between them.
///
/// MAIL is refused while there is too little free space ([`MaildirOptions::min_free`]), and while
/// the disk owes an answer ([`Health`]).
impl<F: FileSystem> Target for Maildir<F> {
    fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        self.shared.store.common.admit(mail.parameters().size)
    }

    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(self.clone())))
    }

    fn health(&self) -> Health {
        self.health()
    }

    fn storage(&self) -> Vec<Storage> {
        self.storage().into_iter().collect()
    }

    fn set_min_free(&self, min_free: MinFree) {
        self.set_min_free(min_free);
    }

    fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        self.set_fsync(fsync)
    }

    fn is_local(&self) -> bool {
        true
    }
}

impl<F: FileSystem> Transaction for Maildir<F> {
    fn rcpt<'a>(&'a mut self, _: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let stored = self.store(message).await;
            Outcomes::All(stored.map(|()| Delivered::default()).map_err(Failure::said))
        })
    }
}

impl<F: FileSystem> Maildir<F> {
    /// `Ok` is the promise of [`Incoming::commit`].
    async fn store(&self, mut message: Message) -> Result<(), Reply> {
        let head = message.trace_headers(message.envelope().recipients());
        store(message.body(), head, |head| self.begin(head)).await
    }
}

/// Writes a copy: its trace headers and the content.
async fn store<F: FileSystem>(
    body: &mut Body,
    mut head: Vec<u8>,
    begin: impl FnOnce(Vec<u8>) -> Incoming<F>,
) -> Result<(), Reply> {
    let first = body.chunk().await?;
    head.extend_from_slice(header_separator(first.as_deref().unwrap_or_default()));
    let mut incoming = begin(head);
    if let Some(first) = first {
        incoming.write(first).await?;
    }
    while let Some(piece) = body.chunk().await? {
        incoming.write(piece).await?;
    }
    incoming.commit().await?;
    Ok(())
}

impl<F: FileSystem> Clone for Maildir<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: FileSystem> fmt::Debug for Maildir<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maildir")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
