//! The steps of a delivery, in the threads that may block.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prixfixe_server::Reply;
use tokio::sync::oneshot;

use super::batch::Batch;
use super::commit::Commits;
use super::root::Root;
use super::tree::Volumes;
use super::{Access, FileSystem, MaildirOptions, name, pool};
use crate::fault::NO_SPACE;
use crate::health::{Kept, Monitor, Ticket};
use crate::space::Gauge;
use crate::{Fault, MinFree, Storage, StoreError};

/// Tells a message's sender how it ended: the file in `new/`. The disk owes it until then.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sender: oneshot::Sender<Result<PathBuf, StoreError>>,
    pub(crate) ticket: Ticket,
}

impl Answer {
    fn is_unwanted(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn give(self, result: Result<PathBuf, StoreError>) {
        drop(self.ticket);
        // Nobody may be there to hear it. A sender that went away will send the message again, as
        // after any reply that is lost (RFC 1047).
        let _ = self.sender.send(result);
    }
}

/// What Maildirs have in common that are kept together.
pub(crate) struct Common<F: FileSystem> {
    pub(crate) file_system: F,
    fsync: AtomicBool,
    access: Option<Access>,
    pub(crate) gauge: Gauge,
    /// Where many Maildirs are on file systems of their own.
    pub(crate) volumes: Volumes,
    /// Directories may not be on the disk that were made while nothing was synced.
    pub(crate) is_unsynced: AtomicBool,
    pub(crate) monitor: Monitor,
    /// Files of messages that were given up where nobody may block. One a connection at the most.
    abandoned: Mutex<Vec<Abandoned<F>>>,
}

impl<F: FileSystem> Common<F> {
    /// The subject is what health and log call all of it.
    pub(crate) fn new(file_system: F, subject: &Path, options: &MaildirOptions) -> Self {
        Self {
            file_system,
            fsync: AtomicBool::new(options.fsync),
            access: options.access(),
            gauge: Gauge::new(options.min_free),
            volumes: Volumes::default(),
            is_unsynced: AtomicBool::new(false),
            monitor: Monitor::new(subject.display().to_string()),
            abandoned: Mutex::default(),
        }
    }

    pub(crate) fn fsync(&self) -> bool {
        self.fsync.load(Ordering::Acquire)
    }

    pub(crate) fn set_fsync(&self, fsync: bool) {
        self.fsync.store(fsync, Ordering::Release);
    }

    /// A message of this declared size is on its way. Costs no system call.
    pub(crate) fn admit(&self, declared: Option<u64>) -> Result<(), Reply> {
        self.monitor.admit()?;
        match declared.is_none_or(|bytes| self.gauge.has_room_for(bytes)) {
            true => Ok(()),
            false => Err(NO_SPACE),
        }
    }

    /// Removes what was given up by those who may not block.
    pub(crate) fn remove_abandoned(&self) {
        let abandoned = mem::take(&mut *self.abandoned());
        for Abandoned { file, path } in abandoned {
            drop(file);
            self.remove(&path);
        }
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<Abandoned<F>>> {
        // Every change under the lock is a single step.
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what must not stay; that it is gone already is fine.
    pub(crate) fn remove(&self, path: &Path) {
        match self.file_system.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), cause = %error, "a file could not be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// A Maildir on its file system.
pub(crate) struct Store<F: FileSystem> {
    pub(crate) common: Arc<Common<F>>,
    pub(crate) root: PathBuf,
    tmp: PathBuf,
    pub(crate) new: PathBuf,
    pub(crate) commits: Commits,
    pub(crate) home: Root,
    /// The directory that it is in together with others, where it is: nothing above is made or
    /// synced.
    pub(crate) base: Option<Arc<Store<F>>>,
    /// It is on another file system than the base.
    pub(crate) is_elsewhere: AtomicBool,
}

impl<F: FileSystem> Store<F> {
    /// `root` is absolute.
    pub(crate) fn new(common: Arc<Common<F>>, root: PathBuf) -> Self {
        Self {
            common,
            tmp: root.join("tmp"),
            new: root.join("new"),
            root,
            commits: Commits::default(),
            home: Root::default(),
            base: None,
            is_elsewhere: AtomicBool::new(false),
        }
    }

    /// The directory of several Maildirs, which is none itself.
    pub(crate) fn base(common: Arc<Common<F>>, root: PathBuf) -> Self {
        Self {
            tmp: root.clone(),
            new: root.clone(),
            ..Self::new(common, root)
        }
    }

    /// One of several Maildirs below a directory.
    pub(crate) fn below(base: &Arc<Self>, root: PathBuf) -> Self {
        Self {
            base: Some(Arc::clone(base)),
            ..Self::new(Arc::clone(&base.common), root)
        }
    }

    pub(crate) fn fsync(&self) -> bool {
        self.common.fsync()
    }

    /// What is there already is synced before anything is promised that stands on it.
    pub(crate) fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        if fsync && !self.fsync() {
            self.sync_directories()?;
            self.sync_directory(&self.new)?;
        }
        self.common.set_fsync(fsync);
        Ok(())
    }

    /// Makes the Maildir's directory where it is missing, as nothing but the start does; later
    /// where the start had no space for it.
    pub(crate) fn make_root(&self) -> Result<(), Fault> {
        self.make_directory(&self.root)?;
        self.home.open(&self.common.file_system, &self.root)
    }

    /// Makes what is missing in the Maildir, and sees to it that what is there outlives a loss of
    /// power: a process that made it before us may have been killed before it could.
    ///
    /// The directory itself is not made again: it may be where a file system was mounted that is
    /// gone, and the next message would be lost to sight on the one below.
    pub(crate) fn make_directories(&self) -> Result<(), Fault> {
        match self.home.is_open() {
            true => self.check_root()?,
            false => self.make_root()?,
        }
        for directory in [&self.tmp, &self.new, &self.root.join("cur")] {
            self.make_below(directory)?;
        }
        if self.fsync() {
            self.sync_directories()?;
        }
        Ok(())
    }

    pub(crate) fn check_root(&self) -> Result<(), Fault> {
        let parts = [self.tmp.as_path(), self.new.as_path()];
        self.home.check(&self.common.file_system, &self.root, parts)
    }

    /// Costs nothing until a check has found that the directory is gone; from then on it is looked
    /// at for each message.
    fn ensure_root(&self) -> Result<(), Fault> {
        match self.home.is_lost() {
            true => self.check_root(),
            false => Ok(()),
        }
    }

    pub(crate) fn sync_directories(&self) -> Result<(), Fault> {
        self.sync_directory(&self.root)?;
        let base = self.base.as_ref().map(|base| base.root.parent());
        let is_ours = |ancestor: &&Path| base.is_none_or(|above| Some(*ancestor) != above);
        for ancestor in self.root.ancestors().skip(1).take_while(is_ours) {
            self.sync_ancestor(ancestor)?;
        }
        Ok(())
    }

    /// A directory above the Maildir may well be one that we can neither read nor write to, or that
    /// knows no fsync: it was there before us then, and is left to whoever made it.
    fn sync_ancestor(&self, path: &Path) -> Result<(), Fault> {
        use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};

        match self.sync_directory(path) {
            Err(fault)
                if matches!(
                    fault.kind(),
                    InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported
                ) =>
            {
                tracing::debug!(path = fault.subject(), cause = %fault, "directory not synced");
                Ok(())
            }
            result => result,
        }
    }

    fn make_directory(&self, path: &Path) -> Result<(), Fault> {
        let parent = path.parent().unwrap_or(path);
        // What holds other Maildirs too may be a mount that is gone.
        if self.base.as_ref().is_some_and(|base| base.root == path) {
            let missing = io::ErrorKind::NotFound.into();
            return Err(Fault::at("find the directory", path, missing));
        }
        match self.make_below(path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound && parent != path => {
                self.make_directory(parent)?;
                self.make_below(path)
            }
            result => result,
        }
    }

    /// Makes a directory whose parent is there.
    fn make_below(&self, path: &Path) -> Result<(), Fault> {
        let made = self.common.file_system.make_directory(path);
        let made = made.map_err(|error| Fault::at("make the directory", path, error))?;
        if let (true, Some(access)) = (made, self.common.access) {
            let given = self
                .common
                .file_system
                .set_directory_access(path, access.for_directories());
            given.map_err(|error| Fault::at("set mode and group of", path, error))?;
        }
        if made && self.fsync() {
            self.sync_directory(path.parent().unwrap_or(path))?;
        }
        Ok(())
    }

    pub(crate) fn sync_directory(&self, path: &Path) -> Result<(), Fault> {
        self.common
            .file_system
            .sync_directory(path)
            .map_err(|error| Fault::at("sync the directory", path, error))
    }

    /// A new file in `tmp/`.
    pub(crate) fn create(self: &Arc<Self>) -> Result<Temporary<F>, Fault> {
        self.ensure_root()?;
        let name = name::unique(SystemTime::now());
        let path = self.tmp.join(&name);
        let create = || self.common.file_system.create(&path);
        let file = Some(self.unless_vanished("create", &path, create)?);
        let mut temporary = Temporary {
            store: Arc::clone(self),
            file,
            name: Some(name),
            path,
        };
        if let (Some(file), Some(access)) = (&mut temporary.file, self.common.access) {
            let given = self.common.file_system.set_access(file, access);
            given.map_err(|error| Fault::at("set mode and group of", &temporary.path, error))?;
        }
        Ok(temporary)
    }

    /// Writes a batch to a file, to a new one where there is none yet.
    pub(crate) fn append(
        self: &Arc<Self>,
        temporary: Option<Temporary<F>>,
        batch: &Batch,
    ) -> Result<Temporary<F>, Fault> {
        let mut temporary = match temporary {
            Some(temporary) => temporary,
            None => self.create()?,
        };
        if let Some(file) = &mut temporary.file {
            batch
                .write_to(&self.common.file_system, file)
                .map_err(|error| Fault::at("write to", &temporary.path, error))?;
            if self.common.gauge.wrote(batch.length()) {
                self.common.monitor.look_soon();
            }
        }
        Ok(temporary)
    }

    /// Writes the last batch and makes the message durable in `new/`.
    ///
    /// Where nobody waits for the answer any more it is undone, up to the rename: the client was
    /// told nothing, or that it failed, and will send the message again.
    pub(crate) fn finish(
        self: &Arc<Self>,
        temporary: Option<Temporary<F>>,
        batch: &Batch,
        answer: Answer,
    ) {
        if answer.is_unwanted() {
            return;
        }
        let fsync = self.fsync();
        let synced = self
            .append(temporary, batch)
            .and_then(|temporary| self.sync_and_close(temporary, fsync));
        let published = match synced {
            Ok(_) if answer.is_unwanted() => return,
            Ok(temporary) => self.publish(temporary),
            Err(fault) => Err(fault),
        };
        match published {
            Ok(name) if fsync => self.commit(name, answer),
            Ok(name) => self.stored(&name, answer),
            Err(fault) => answer.give(Err(self.failed(fault))),
        }
    }

    fn sync_and_close(
        &self,
        mut temporary: Temporary<F>,
        fsync: bool,
    ) -> Result<Temporary<F>, Fault> {
        if let Some(mut file) = temporary.file.take() {
            let path = &temporary.path;
            if fsync {
                self.common
                    .file_system
                    .sync(&mut file)
                    .map_err(|error| Fault::at("sync", path, error))?;
            }
            self.common
                .file_system
                .close(file)
                .map_err(|error| Fault::at("close", path, error))?;
        }
        Ok(temporary)
    }

    /// The commit point: moves a finished file to `new/`, and gives its name.
    fn publish(&self, mut temporary: Temporary<F>) -> Result<String, Fault> {
        let Some(name) = &temporary.name else {
            return Ok(String::new());
        };
        self.ensure_root()?;
        let (from, to) = (&temporary.path, self.new.join(name));
        let renamed = self.unless_vanished("rename to", &to, || {
            self.common.file_system.rename(from, &to)
        });
        if let Err(fault) = renamed {
            // A network file system may have done it and lost the answer.
            self.remove(&to);
            return Err(fault);
        }
        Ok(temporary.name.take().unwrap_or_default())
    }

    /// Does something to a file; where its directory has vanished, once more when that was made
    /// again.
    fn unless_vanished<T>(
        &self,
        action: &'static str,
        path: &Path,
        operation: impl Fn() -> io::Result<T>,
    ) -> Result<T, Fault> {
        let result = match operation() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.root.display(), "something in the Maildir has vanished, what is in it is made again");
                self.make_directories()?;
                operation()
            }
            result => result,
        };
        result.map_err(|error| Fault::at(action, path, error))
    }

    /// Tells a sender that its message is safe.
    pub(crate) fn stored(&self, name: &str, answer: Answer) {
        self.common.monitor.succeeded();
        answer.give(Ok(self.new.join(name)));
    }

    /// Reports a fault in the log and in the health view. One Maildir's of many tells nothing of
    /// the others.
    pub(crate) fn failed(&self, fault: Fault) -> StoreError {
        let is_elsewhere = self.is_elsewhere.load(Ordering::Relaxed);
        match self.base.is_some() && (is_elsewhere || fault.is_of_one_directory()) {
            true => self.common.monitor.refused_alone(fault),
            false => self.common.monitor.refused(fault),
        }
    }

    pub(crate) fn set_min_free(&self, min_free: MinFree) {
        let subject = self.root.display().to_string();
        self.common
            .monitor
            .space(self.common.gauge.set_min_free(&subject, min_free));
    }

    pub(crate) fn storage(&self) -> Option<Storage> {
        self.common.gauge.storage(self.root.clone())
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.common.monitor.ticket()
    }

    /// Removes what must not stay; that it is gone already is fine.
    pub(crate) fn remove(&self, path: &Path) {
        self.common.remove(path);
    }

    /// Writes a file and removes it.
    pub(crate) fn try_to_write(self: &Arc<Self>) -> Result<(), Fault> {
        // One block: a file system that is full has no room for it, and says so at the sync at the
        // latest.
        const BLOCK: &[u8] = &[b'\n'; 4096];

        let batch = Batch::with_head(BLOCK.to_vec());
        self.append(None, &batch)
            .and_then(|temporary| self.sync_and_close(temporary, self.fsync()))?
            .remove()
    }

    /// Removes what deliveries that were cut off have left in `tmp/`: at once where the process
    /// that made it is known to be gone, of others when it is old.
    ///
    /// A file that is written to is younger than that, and a message whose file were swept
    /// nevertheless (by a clock that jumps, say) fails at its rename and is sent again.
    pub(crate) fn sweep(&self, now: SystemTime) {
        let mut old: Vec<OsString> = Vec::new();
        let mut visit = |name: &OsStr, modified: SystemTime| {
            let age = now.duration_since(modified).unwrap_or_default();
            let is_left = name::is_unique_name(name) && age > TEMPORARY_LIFETIME
                || name::is_of_a_dead_process(name);
            if is_left && old.len() < SWEPT_AT_ONCE {
                old.push(name.to_owned());
            }
        };
        if let Err(error) = self.common.file_system.list(&self.tmp, &mut visit) {
            tracing::warn!(path = %self.tmp.display(), cause = %error, "old temporary files are not swept");
        }
        for name in old {
            let path = self.tmp.join(name);
            tracing::info!(path = %path.display(), "an abandoned temporary file is removed");
            self.remove(&path);
        }
    }
}

/// By the Maildir convention: a delivery has long been given up after 36 hours.
const TEMPORARY_LIFETIME: Duration = Duration::from_hours(36);

/// Names that are held in memory by one sweep. What is left over comes with the next.
const SWEPT_AT_ONCE: usize = 10_000;

impl<F: FileSystem> Kept for Store<F> {
    fn monitor(&self) -> &Monitor {
        &self.common.monitor
    }

    fn probe(self: &Arc<Self>) -> Result<(), Fault> {
        let _allowed = pool::allow_blocking();
        self.make_directories()?;
        self.try_to_write()
    }

    fn look(&self) -> Result<(), Fault> {
        if self.home.is_open() {
            self.check_root()?;
        }
        // Where it cannot be told what is free, what was known stays.
        if let Ok(Some(free)) = self.common.file_system.free_space(&self.root) {
            let subject = self.root.display().to_string();
            self.common
                .monitor
                .space(self.common.gauge.sample(&subject, free));
        }
        Ok(())
    }

    fn tidy(&self) {
        self.sweep(SystemTime::now());
    }
}

/// A file in `tmp/` that is being written. It is removed when it is dropped before it was
/// published.
pub(crate) struct Temporary<F: FileSystem> {
    store: Arc<Store<F>>,
    /// Until it is closed.
    file: Option<F::File>,
    /// Until it is published.
    name: Option<String>,
    path: PathBuf,
}

impl<F: FileSystem> Temporary<F> {
    fn remove(mut self) -> Result<(), Fault> {
        self.name = None;
        let removed = self.store.common.file_system.remove(&self.path);
        removed.map_err(|error| Fault::at("remove", &self.path, error))
    }
}

impl<F: FileSystem> Drop for Temporary<F> {
    fn drop(&mut self) {
        if self.name.is_none() {
            return;
        }
        let file = self.file.take();
        if pool::may_block() {
            drop(file);
            self.store.remove(&self.path);
        } else {
            // An event loop that waited for a disk that hangs would serve nobody any more.
            let path = mem::take(&mut self.path);
            self.store.common.abandoned().push(Abandoned { file, path });
        }
    }
}

struct Abandoned<F: FileSystem> {
    file: Option<F::File>,
    path: PathBuf,
}
