//! A disk that knows what a loss of power would leave, and fails on demand.
//!
//! It promises what POSIX does and no more: a content is durable after a sync of the file, a name
//! after a sync of its directory. What is not durable may be there after a loss of power all the
//! same, or in part.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use prixfixe_spool::{Disk, LockKind};

/// What is left of what was not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    All,
    /// All: the process was killed, and the disk never was.
    Nothing,
    /// Some of the names, and of the contents their beginnings.
    Some(u64),
    /// The same, with holes of zeros.
    Holes(u64),
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Making a file or a directory.
    Create,
    /// Writing at the end of a file.
    Append,
    /// Cutting a file off.
    Truncate,
    /// A sync of a file.
    Sync,
    /// A sync of a directory.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
}

/// An operation that fails, from one count of operations up to another.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Which operation.
    pub operation: Operation,
    /// The first count at which it fails.
    pub from: u64,
    /// The count from which on it works again.
    pub until: u64,
    /// The `errno`.
    pub error: i32,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    directories: BTreeMap<PathBuf, Directory>,
    faults: Vec<Fault>,
    cut_in: Option<u64>,
    is_dead: bool,
    operations: u64,
    locks: BTreeMap<usize, BTreeSet<u64>>,
    exclusive: BTreeSet<usize>,
    handles: u64,
    /// Locks of handles that were open when the process died are none.
    life: u64,
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct Directory {
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Add(String, usize),
    Remove(String),
}

/// The disk. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// An open file of it.
#[derive(Debug)]
pub struct File {
    disk: SimulatedDisk,
    inode: usize,
    handle: u64,
    life: u64,
}

impl SimulatedDisk {
    /// An empty one.
    pub fn new() -> Self {
        let disk = Self::default();
        disk.state()
            .directories
            .insert("/".into(), Directory::default());
        disk
    }

    fn opened(&self, state: &mut State, inode: usize) -> File {
        File {
            disk: self.clone(),
            inode,
            handle: state.handle(),
            life: state.life,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What fails from now on, in place of what failed before.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.state().faults = faults;
    }

    /// The power goes after so many operations more.
    pub fn cut_power_in(&self, operations: u64) {
        self.state().cut_in = Some(operations);
    }

    /// Whether the power has gone.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The names in a directory.
    pub fn names(&self, path: &str) -> Vec<String> {
        let state = self.state();
        state.directories[Path::new(path)]
            .live
            .keys()
            .cloned()
            .collect()
    }

    /// What is in a file.
    pub fn content(&self, path: &str) -> Vec<u8> {
        let path = Path::new(path);
        let state = self.state();
        let inode = state.directories[path.parent().unwrap()].live[&name(path)];
        state.inodes[inode].content.clone()
    }

    /// Puts something else into a file, durably.
    pub fn set_content(&self, path: &str, content: Vec<u8>) {
        let path = Path::new(path);
        let mut state = self.state();
        let inode = state.directories[path.parent().unwrap()].live[&name(path)];
        state.inodes[inode].durable.clone_from(&content);
        state.inodes[inode].content = content;
    }

    /// What the disk is after a loss of power.
    pub fn lose_power(&self, loss: Loss) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.is_dead = false;
        state.cut_in = None;
        state.faults.clear();
        state.locks.clear();
        state.exclusive.clear();
        state.life += 1;
        let (keep_all, mut rng, holes) = match loss {
            Loss::All => (false, None, false),
            Loss::Nothing => return,
            Loss::Some(seed) => (true, Some(Rng::with_seed(seed)), false),
            Loss::Holes(seed) => (true, Some(Rng::with_seed(seed)), true),
        };
        for inode in &mut state.inodes {
            let durable = inode.durable.len();
            let has_grown = inode.content.starts_with(&inode.durable);
            match &mut rng {
                Some(rng) if keep_all && has_grown => {
                    let kept = rng.usize(durable..=inode.content.len());
                    inode.content.truncate(kept);
                    if holes && kept > durable && rng.bool() {
                        let from = rng.usize(durable..kept);
                        let until = rng.usize(from..=kept);
                        inode.content[from..until].fill(0);
                    }
                }
                // It was cut off, or was not.
                Some(rng) => {
                    if rng.bool() {
                        inode.content.clone_from(&inode.durable);
                    }
                }
                None => inode.content.clone_from(&inode.durable),
            }
            inode.durable.clone_from(&inode.content);
        }
        for directory in state.directories.values_mut() {
            for change in mem::take(&mut directory.pending) {
                if rng.as_mut().is_some_and(Rng::bool) {
                    apply(&mut directory.durable, change);
                }
            }
            directory.live = directory.durable.clone();
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Add(name, inode) => drop(names.insert(name, inode)),
        Change::Remove(name) => drop(names.remove(&name)),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl State {
    fn begin(&mut self, operation: Option<Operation>) -> io::Result<()> {
        if operation.is_some() {
            self.operations += 1;
            match &mut self.cut_in {
                Some(0) => self.is_dead = true,
                Some(left) => *left -= 1,
                None => {}
            }
        }
        if self.is_dead {
            return Err(io::Error::from_raw_os_error(5));
        }
        let now = self.operations;
        let fault = self.faults.iter().find(|fault| {
            fault.from <= now && now < fault.until && operation == Some(fault.operation)
        });
        match fault {
            Some(fault) => Err(io::Error::from_raw_os_error(fault.error)),
            None => Ok(()),
        }
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let directory = self.directories.get_mut(path);
        directory.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = self.disk.clone().unlock(self);
    }
}

impl Disk for SimulatedDisk {
    type File = File;

    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.begin(Some(Operation::Create))?;
        // Whether directories themselves are durable is left out: they are made once, and synced.
        let is_new = !state.directories.contains_key(path);
        state.directories.entry(path.to_owned()).or_default();
        Ok(is_new)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        state.begin(Some(Operation::Create))?;
        let inode = state.inodes.len();
        let directory = state.directory(path.parent().unwrap())?;
        if directory.live.contains_key(&name(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        directory.live.insert(name(path), inode);
        directory.pending.push(Change::Add(name(path), inode));
        state.inodes.push(Inode::default());
        Ok(self.opened(&mut state, inode))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        state.begin(None)?;
        let directory = state.directory(path.parent().unwrap())?;
        let inode = *directory
            .live
            .get(&name(path))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(self.opened(&mut state, inode))
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        let mut state = self.state();
        state.begin(None)?;
        Ok(state.inodes[file.inode].content.len() as u64)
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        state.begin(None)?;
        let content = &state.inodes[file.inode].content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn append(&self, file: &File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        let all: Vec<u8> = bytes.iter().flat_map(|it| it.iter().copied()).collect();
        // Half of it is there when the power goes, or when the disk is full.
        let (count, result) = match state.begin(Some(Operation::Append)) {
            Ok(()) => (all.len(), Ok(all.len())),
            Err(error) => (all.len() / 2, Err(error)),
        };
        assert_eq!(file.life, state.life, "a process wrote after its death");
        state.inodes[file.inode]
            .content
            .extend_from_slice(&all[..count]);
        result
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Some(Operation::Truncate))?;
        state.inodes[file.inode].content.truncate(length as usize);
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Some(Operation::Sync))?;
        let inode = &mut state.inodes[file.inode];
        inode.durable.clone_from(&inode.content);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Some(Operation::SyncDirectory))?;
        let directory = state.directory(path)?;
        for change in mem::take(&mut directory.pending) {
            apply(&mut directory.durable, change);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Some(Operation::Rename))?;
        let source = state.directory(from.parent().unwrap())?;
        let inode = source
            .live
            .remove(&name(from))
            .ok_or(io::ErrorKind::NotFound)?;
        source.pending.push(Change::Remove(name(from)));
        let target = state.directory(to.parent().unwrap())?;
        target.live.insert(name(to), inode);
        target.pending.push(Change::Add(name(to), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Some(Operation::Remove))?;
        let directory = state.directory(path.parent().unwrap())?;
        directory
            .live
            .remove(&name(path))
            .ok_or(io::ErrorKind::NotFound)?;
        directory.pending.push(Change::Remove(name(path)));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.state();
        state.begin(None)?;
        let names = state.directory(path)?.live.clone();
        let length = |inode: usize| state.inodes[inode].content.len() as u64;
        Ok(names
            .into_iter()
            .map(|(name, inode)| (name, length(inode)))
            .collect())
    }

    fn try_lock(&self, file: &File, kind: LockKind) -> io::Result<bool> {
        let mut state = self.state();
        state.begin(None)?;
        let holders = state.locks.entry(file.inode).or_default();
        let others = holders.iter().any(|it| *it != file.handle);
        let is_exclusive = state.exclusive.contains(&file.inode);
        if others && (is_exclusive || kind == LockKind::Exclusive) {
            return Ok(false);
        }
        state
            .locks
            .entry(file.inode)
            .or_default()
            .insert(file.handle);
        match kind {
            LockKind::Exclusive => state.exclusive.insert(file.inode),
            LockKind::Shared => state.exclusive.remove(&file.inode),
        };
        Ok(true)
    }

    fn unlock(&self, file: &File) -> io::Result<()> {
        let mut state = self.state();
        if let Some(holders) = state.locks.get_mut(&file.inode)
            && holders.remove(&file.handle)
        {
            state.exclusive.remove(&file.inode);
        }
        Ok(())
    }
}
