//! A Maildir for each recipient.

mod template;
mod volumes;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::SystemTime;

use async_channel::Sender;
use prixfixe_server::{
    Client, Envelope, ForwardPath, Mail, Message, Rcpt, Recipient, Reply, reply,
};
use tokio::sync::oneshot;

pub use template::{InvalidTemplate, MaildirTemplate};
pub(crate) use volumes::Volumes;

use super::pool::{self, Job, Task};
use super::store::{Common, Store};
use super::{Disk, FileSystem, Incoming, MaildirOptions, OpenError};
use crate::health::{Keeper, Kept, Monitor};
use crate::{
    AcceptRecipients, Asked, BoxFuture, Delivered, Failure, Fault, Health, MinFree, Outcomes,
    Storage, StoreError, Target, Transaction,
};

/// A Maildir for each recipient, below one directory.
///
/// Each recipient's Maildir gets a copy, which names that recipient alone; what becomes of a copy
/// is the recipient's own outcome. A message to one Maildir streams, to several it is gathered
/// first.
///
/// A Maildir that is not there is made for `postmaster` at the server's own domain, for whom
/// [`MaildirsOptions::recipients`] knows, and with [`MaildirsOptions::create`]. Anybody else
/// without one is `550 5.1.1`: strangers make no directories.
///
/// ```no_run
/// use prixfixe_delivery::{Maildirs, MaildirsOptions};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let maildirs = Maildirs::open(
///     "/var/mail/{domain}/{local}".parse()?,
///     MaildirsOptions::default(),
/// )?;
/// # drop(maildirs);
/// # Ok(()) }
/// ```
pub struct Maildirs<F: FileSystem = Disk>(Arc<Shared<F>>);

struct Shared<F: FileSystem> {
    tree: Arc<Tree<F>>,
    tasks: Sender<Task<F>>,
    template: MaildirTemplate,
    create: bool,
    domain: Box<str>,
    recipients: AcceptRecipients,
    _keeper: Keeper,
}

/// How a Maildir for each recipient is kept.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MaildirsOptions {
    /// How each of them is kept.
    pub maildir: MaildirOptions,
    /// Whether every recipient's Maildir is made, a stranger's invention too. By default: no.
    pub create: bool,
    /// The server's own domain, where a bare `postmaster` is.
    pub domain: String,
    /// Who is known: their Maildirs are made.
    pub recipients: AcceptRecipients,
}

/// What is there on the disk, and looked after.
struct Tree<F: FileSystem> {
    base: Arc<Store<F>>,
    /// Where the last copy went: what can be written to on trial.
    last: Mutex<Option<Arc<Store<F>>>>,
}

/// What is there, with nobody at work yet.
pub struct PreparedMaildirs {
    tree: Arc<Tree<Disk>>,
    template: MaildirTemplate,
    options: MaildirsOptions,
}

/// So many copies of one message are written at once.
const COPIES_AT_ONCE: usize = 4;

/// Each so many Maildirs that are found, one is swept.
const SWEPT_EACH: u64 = 64;

static FOUND: AtomicU64 = AtomicU64::new(0);

const LOST: Reply = reply!(451 4.3.0 "The delivery was interrupted, try again later");

impl Maildirs {
    /// Makes the directory that the Maildirs are in, where it is missing, and starts the threads.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it cannot be used.
    pub fn open(template: MaildirTemplate, options: MaildirsOptions) -> Result<Self, OpenError> {
        Self::prepare(template, options)?.start()
    }

    /// Does all that [`open`](Self::open) does but for the threads: for a program that becomes
    /// another user afterwards.
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn prepare(
        template: MaildirTemplate,
        options: MaildirsOptions,
    ) -> Result<PreparedMaildirs, OpenError> {
        let base = std::path::absolute(template.base()).map_err(|source| OpenError::Path {
            path: template.base().to_owned(),
            source,
        })?;
        let common = Arc::new(Common::new(Disk, &base, &options.maildir));
        let store = Arc::new(Store::base(common, base.clone()));
        let tree = Arc::new(Tree {
            base: store,
            last: Mutex::default(),
        });
        tree.base.make_root()?;
        match tree.probe() {
            Err(fault) if fault.is_no_space() => drop(tree.base.failed(fault)),
            result => result?,
        }
        tree.look()?;
        Ok(PreparedMaildirs {
            tree,
            template: template.below(base),
            options,
        })
    }
}

impl PreparedMaildirs {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// [`OpenError::Threads`].
    pub fn start(self) -> Result<Maildirs, OpenError> {
        let options = self.options.maildir;
        let tasks = pool::spawn(options.workers).map_err(OpenError::Threads)?;
        let tree = Arc::clone(&self.tree);
        let keeper = Keeper::spawn("maildirs", tree, options.probe_interval);
        Ok(Maildirs(Arc::new(Shared {
            tree: self.tree,
            tasks,
            template: self.template,
            create: self.options.create,
            domain: self.options.domain.into(),
            recipients: self.options.recipients,
            _keeper: keeper.map_err(OpenError::Threads)?,
        })))
    }
}

impl<F: FileSystem> Maildirs<F> {
    /// The directory that the Maildirs are in, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.tree.base.root
    }
}

/// RCPT is refused too where a recipient's Maildir is on a file system of its own, and that has too
/// little free space.
impl<F: FileSystem> Target for Maildirs<F> {
    fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        self.0.tree.common().admit(mail.parameters().size)
    }

    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        let envelope = Envelope::builder().from(&mail.reverse_path().to_string());
        let envelope = envelope.unwrap_or_else(|_| Envelope::builder());
        Asked::Now(Ok(Box::new(Placing {
            shared: Arc::clone(&self.0),
            client: mail.client().clone(),
            envelope: envelope.build(),
            copies: Vec::new(),
            taken: 0,
        })))
    }

    fn health(&self) -> Health {
        self.0.tree.common().monitor.health()
    }

    fn storage(&self) -> Vec<Storage> {
        let common = self.0.tree.common();
        let base = common.gauge.storage(self.path().to_owned());
        base.into_iter().chain(common.volumes.storage()).collect()
    }

    fn set_min_free(&self, min_free: MinFree) {
        let common = self.0.tree.common();
        let subject = self.path().display().to_string();
        let shortage = common.gauge.set_min_free(&subject, min_free);
        common.monitor.space(shortage);
        common.volumes.set_min_free(min_free);
    }

    /// Switched on, the directories of each Maildir are synced from then on whenever it is used.
    fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        let (base, common) = (&self.0.tree.base, self.0.tree.common());
        if fsync && !common.fsync() {
            base.sync_directories()?;
            common.is_unsynced.store(true, Ordering::Release);
        }
        common.set_fsync(fsync);
        Ok(())
    }
}

/// A message on its way.
struct Placing<F: FileSystem> {
    shared: Arc<Shared<F>>,
    client: Client,
    envelope: Envelope,
    copies: Vec<Copy<F>>,
    /// Recipients so far.
    taken: usize,
}

/// What goes into one Maildir.
struct Copy<F: FileSystem> {
    store: Arc<Store<F>>,
    /// Whose copy it is: several write their name in other case.
    places: Vec<usize>,
}

impl<F: FileSystem> Transaction for Placing<F> {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::later(async move {
            let shared = &self.shared;
            let path = shared.template.path(recipient.path(), &shared.domain);
            let path = path.ok_or(Reply::NO_SUCH_USER)?;
            let same = self.copies.iter_mut().find(|copy| copy.store.root == path);
            match same {
                Some(copy) => copy.places.push(self.taken),
                None => {
                    let rcpt = Rcpt::new(&self.client, &self.envelope, recipient);
                    let store = self.shared.find(path, rcpt).await?;
                    let places = vec![self.taken];
                    self.copies.push(Copy { store, places });
                }
            }
            self.taken += 1;
            Ok(())
        })
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            match self.write(message).await {
                Ok(outcomes) => Outcomes::Each(outcomes),
                Err(reply) => Failure::said(reply).into(),
            }
        })
    }
}

impl<F: FileSystem> Placing<F> {
    async fn write(self, mut message: Message) -> Result<Vec<Result<Delivered, Failure>>, Reply> {
        let Self {
            shared,
            copies,
            taken,
            ..
        } = self;
        let envelope = message.shared_envelope();
        let head = |message: &Message, copy: &Copy<F>| {
            let places = copy.places.iter();
            message.trace_headers(places.filter_map(|place| envelope.recipients().get(*place)))
        };
        let mut outcomes = vec![Err(Failure::said(LOST)); taken];
        let mut tell = |copy: &Copy<F>, outcome: Result<(), Reply>| {
            let outcome = outcome
                .map(|()| Delivered::default())
                .map_err(Failure::said);
            for place in &copy.places {
                if let Some(told) = outcomes.get_mut(*place) {
                    told.clone_from(&outcome);
                }
            }
        };
        if let [copy] = &*copies {
            let head = head(&message, copy);
            tell(copy, shared.keep(copy, head, message.body()).await);
            return Ok(outcomes);
        }
        let content = message.gather().await?;
        for group in copies.chunks(COPIES_AT_ONCE) {
            let writes = group.iter().map(|copy| {
                let (head, mut body) = (head(&message, copy), content.body());
                let shared = &shared;
                Box::pin(async move { shared.keep(copy, head, &mut body).await })
                    as BoxFuture<'_, _>
            });
            let written = together(writes.collect()).await;
            for (copy, outcome) in group.iter().zip(written) {
                tell(copy, outcome);
            }
        }
        Ok(outcomes)
    }
}

impl<F: FileSystem> Shared<F> {
    /// The Maildir at a path, which is made where its recipient is known.
    async fn find(&self, path: PathBuf, rcpt: Rcpt<'_>) -> Result<Arc<Store<F>>, Failure> {
        let store = Arc::new(Store::below(&self.tree.base, path));
        if self.look(&store, self.create).await? {
            return Ok(store);
        }
        let is_known = self.is_postmaster(rcpt.path()) || self.recipients.name(rcpt).await?;
        match is_known && self.look(&store, true).await? {
            true => Ok(store),
            false => Err(Failure::said(Reply::NO_SUCH_USER).because("there is no such Maildir")),
        }
    }

    /// RFC 5321 section 4.5.1: mail for it has to be taken.
    fn is_postmaster(&self, path: &ForwardPath) -> bool {
        path.mailbox().is_none_or(|mailbox| {
            mailbox.local_part().eq_ignore_ascii_case("postmaster")
                && mailbox.domain() == *self.domain
        })
    }

    async fn look(&self, store: &Arc<Store<F>>, make: bool) -> Result<bool, Failure> {
        let (back, found) = oneshot::channel();
        let job = Job::Find {
            make,
            back,
            ticket: store.ticket(),
        };
        let task = Task {
            store: Arc::clone(store),
            job,
        };
        let found = match self.tasks.send(task).await {
            Ok(()) => found.await.unwrap_or(Err(StoreError::Stopped)),
            Err(_) => Err(StoreError::Stopped),
        };
        found.map_err(|error| {
            let detail = error.to_string();
            Failure::said(error.into()).because(detail)
        })
    }

    async fn keep(
        &self,
        copy: &Copy<F>,
        head: Vec<u8>,
        body: &mut prixfixe_server::Body,
    ) -> Result<(), Reply> {
        let begin = |head| Incoming::new(Arc::clone(&copy.store), self.tasks.clone(), head);
        super::store(body, head, begin).await?;
        self.tree.keep(Arc::clone(&copy.store));
        Ok(())
    }
}

/// Waits for all of these few.
async fn together<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *result = Some(ready),
                    Poll::Pending => is_done = false,
                }
            }
        }
        match is_done {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

impl<F: FileSystem> Tree<F> {
    fn common(&self) -> &Common<F> {
        &self.base.common
    }

    fn keep(&self, store: Arc<Store<F>>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(store);
    }
}

impl<F: FileSystem> Kept for Tree<F> {
    fn monitor(&self) -> &Monitor {
        &self.common().monitor
    }

    /// Writes where mail was kept last; before that in the directory itself, which need not be ours
    /// to write to.
    fn probe(self: &Arc<Self>) -> Result<(), Fault> {
        let _allowed = pool::allow_blocking();
        self.base.check_root()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let place = last.take();
        drop(last);
        let tried = place.as_ref().unwrap_or(&self.base).try_to_write();
        match (tried, place) {
            (Ok(()), Some(place)) => self.keep(place),
            (Ok(()), None) => {}
            // One Maildir tells nothing of the others.
            (Err(fault), _) if fault.is_of_one_directory() => {}
            (Err(fault), place) => {
                place.into_iter().for_each(|place| self.keep(place));
                return Err(fault);
            }
        }
        Ok(())
    }

    fn look(&self) -> Result<(), Fault> {
        self.base.look()
    }

    fn tidy(&self) {
        self.base.tidy();
    }
}

impl<F: FileSystem> Store<F> {
    /// Sees whether a Maildir below the base is there, and makes it, or what is missing of it, if
    /// it may.
    pub(super) fn find(&self, make: bool) -> Result<bool, Fault> {
        let Some(base) = &self.base else {
            return Ok(true);
        };
        base.check_root()?;
        let disk = &self.common.file_system;
        match disk.identity(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !make {
                    return Ok(false);
                }
            }
            found => drop(found.map_err(|error| Fault::at("look for", &self.root, error))?),
        }
        // `cur` is made last, after all else is on the disk: who sees it need not sync again.
        let is_whole = disk.identity(&self.root.join("cur")).is_ok();
        match is_whole && !self.common.is_unsynced.load(Ordering::Acquire) {
            true => self.home.open(disk, &self.root)?,
            false => self.make_directories()?,
        }
        self.check_space(base)?;
        if FOUND
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(SWEPT_EACH)
        {
            self.sweep(SystemTime::now());
        }
        Ok(true)
    }

    /// The base's file system is looked at anyway.
    fn check_space(&self, base: &Self) -> Result<(), Fault> {
        let disk = &self.common.file_system;
        let device = |path: &Path| disk.identity(path).ok().flatten().map(|it| it.device);
        let (here, there) = (device(&self.root), device(&base.root));
        let Some(here) = here.filter(|_| here != there) else {
            return Ok(());
        };
        self.is_elsewhere.store(true, Ordering::Relaxed);
        let Ok(Some(free)) = disk.free_space(&self.root) else {
            return Ok(());
        };
        let min_free = self.common.gauge.min_free();
        let sampled = self.common.volumes.sample(here, &self.root, free, min_free);
        sampled.map_or(Ok(()), Err)
    }
}

impl<F: FileSystem> fmt::Debug for Maildirs<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maildirs")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PreparedMaildirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedMaildirs")
            .field("path", &self.tree.base.root)
            .finish_non_exhaustive()
    }
}
