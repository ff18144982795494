//! A disk in memory that knows what a loss of power would leave, and fails on demand.
//!
//! The model is the one that POSIX promises and no more: content is durable after an fsync of the
//! file, a name after an fsync of its directory, and nothing else ever. What is not durable may be
//! there after a crash all the same, so that tests look at both.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prixfixe_delivery::FileSystem;

#[derive(Clone, Default)]
pub struct Simulated(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub struct State {
    inodes: Vec<Inode>,
    live: Names,
    durable: Names,
    operations: Vec<Operation>,
    plan: Plan,
    /// A sync of a directory takes until there were so many renames.
    pub slow_until_renames: usize,
    /// A sync of a file takes until this is false again.
    pub hold_syncs: bool,
    /// A rename is done, and yet reported as failed.
    pub lose_renames: bool,
    /// Every sync of a directory fails.
    pub fail_directories: bool,
    /// Contents that were given a name in `new/`, as a loss of power at that moment would have left
    /// them.
    pub published: Vec<Vec<u8>>,
    /// Each write takes no more than this. 0: all.
    pub longest_write: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    MakeDirectory,
    Create,
    Write,
    Sync,
    Close,
    Rename,
    SyncDirectory,
    Remove,
    List,
}

/// Which operations fail, counted from 0.
#[derive(Default, Clone, Copy)]
pub enum Plan {
    #[default]
    Sound,
    /// This one alone, with this error number.
    Fail(usize, i32),
    /// This one and all after it: a disk that stays broken, or a machine that has lost its power.
    FailFrom(usize, i32),
    /// This one alone panics.
    Panic(usize),
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default, Clone)]
struct Names {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, usize>,
}

pub struct File(usize);

impl Simulated {
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic is one of the plans.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts operations from here on, and makes some of them fail.
    pub fn plan(&self, plan: Plan) {
        let mut state = self.state();
        state.operations.clear();
        state.plan = plan;
    }

    /// Waits for a sync of a file that is held to begin.
    pub fn wait_for_sync(&self) {
        let begun = |state: &mut State| !state.operations.contains(&Operation::Sync);
        let waited = self.0.changed.wait_while(self.state(), begun);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets it end.
    pub fn release_syncs(&self) {
        self.state().hold_syncs = false;
        self.0.changed.notify_all();
    }

    /// Operations since the last plan, in order.
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// What is in a directory now.
    pub fn files_in(&self, directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        state.files(&state.live, directory, |inode| inode.content.clone())
    }

    /// What would be in it after a loss of power, if nothing survived that wasn't promised to.
    pub fn durable_files_in(&self, directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        if !directory
            .ancestors()
            .all(|path| path == Path::new("/") || state.durable.directories.contains(path))
        {
            return BTreeMap::new();
        }
        state.files(&state.durable, directory, |inode| inode.durable.clone())
    }
}

impl State {
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        let number = self.operations.len();
        self.operations.push(operation);
        match self.plan {
            Plan::Fail(failing, error) if number == failing => {
                Err(io::Error::from_raw_os_error(error))
            }
            Plan::FailFrom(first, error) if number >= first => {
                Err(io::Error::from_raw_os_error(error))
            }
            Plan::Panic(panicking) if number == panicking => panic!("as planned"),
            _ => Ok(()),
        }
    }

    fn files(
        &self,
        names: &Names,
        directory: &Path,
        content: impl Fn(&Inode) -> Vec<u8>,
    ) -> BTreeMap<PathBuf, Vec<u8>> {
        let inside = names
            .files
            .iter()
            .filter(|(path, _)| path.parent() == Some(directory));
        inside
            .map(|(path, inode)| (path.clone(), content(&self.inodes[*inode])))
            .collect()
    }

    fn require_directory(&self, path: Option<&Path>) -> io::Result<()> {
        let path = path.unwrap_or(Path::new("/"));
        if path == Path::new("/") || self.live.directories.contains(path) {
            return Ok(());
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

impl FileSystem for Simulated {
    type File = File;

    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.begin(Operation::MakeDirectory)?;
        state.require_directory(path.parent())?;
        Ok(path != Path::new("/") && state.live.directories.insert(path.to_owned()))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        state.begin(Operation::Create)?;
        state.require_directory(path.parent())?;
        if state.live.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.live.files.insert(path.to_owned(), inode);
        Ok(File(inode))
    }

    fn write(&self, file: &mut File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        state.begin(Operation::Write)?;
        let limit = if state.longest_write == 0 {
            usize::MAX
        } else {
            state.longest_write
        };
        let taken: Vec<u8> = bytes
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .take(limit)
            .collect();
        state.inodes[file.0].content.extend_from_slice(&taken);
        Ok(taken.len())
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Sync)?;
        self.0.changed.notify_all();
        let mut state = self
            .0
            .changed
            .wait_while(state, |state| state.hold_syncs)
            .unwrap_or_else(PoisonError::into_inner);
        let inode = &mut state.inodes[file.0];
        inode.durable = inode.content.clone();
        Ok(())
    }

    fn close(&self, _: File) -> io::Result<()> {
        self.state().begin(Operation::Close)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Rename)?;
        state.require_directory(to.parent())?;
        let inode = state
            .live
            .files
            .remove(from)
            .ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(
            state.live.files.insert(to.to_owned(), inode),
            None,
            "a message was overwritten"
        );
        let content = state.inodes[inode].durable.clone();
        state.published.push(content);
        self.0.changed.notify_all();
        if state.lose_renames {
            return Err(io::Error::from_raw_os_error(errno::EIO));
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::SyncDirectory)?;
        if state.fail_directories {
            return Err(io::Error::from_raw_os_error(errno::EIO));
        }
        state.require_directory(Some(path))?;
        // What is there when it begins, and nothing that comes while it lasts.
        let inside = |entry: &Path| entry.parent() == Some(path);
        let Names {
            mut directories,
            mut files,
        } = state.live.clone();
        directories.retain(|entry| inside(entry));
        files.retain(|entry, _| inside(entry));
        let renames = |state: &State| {
            state
                .operations
                .iter()
                .filter(|other| **other == Operation::Rename)
                .count()
        };
        let mut state = self
            .0
            .changed
            .wait_while(state, |state| renames(state) < state.slow_until_renames)
            .unwrap_or_else(PoisonError::into_inner);
        state.durable.files.retain(|entry, _| !inside(entry));
        state.durable.files.extend(files);
        state.durable.directories.retain(|entry| !inside(entry));
        state.durable.directories.extend(directories);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Remove)?;
        state
            .live
            .files
            .remove(path)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &Path, visit: &mut dyn FnMut(&OsStr, SystemTime)) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::List)?;
        state.require_directory(Some(path))?;
        for entry in state
            .live
            .files
            .keys()
            .filter(|entry| entry.parent() == Some(path))
        {
            visit(entry.file_name().unwrap_or_default(), SystemTime::now());
        }
        Ok(())
    }
}

/// Error numbers, as Linux has them.
pub mod errno {
    pub const ENOENT: i32 = 2;
    pub const EIO: i32 = 5;
    pub const EACCES: i32 = 13;
    pub const EMFILE: i32 = 24;
    pub const ENOSPC: i32 = 28;
    pub const EROFS: i32 = 30;
    pub const EDQUOT: i32 = 122;
}
