//! A disk that knows what a loss of power would leave, and fails on demand.
//!
//! It promises what POSIX does and no more: a content is durable after a sync of the file, a name
//! after a sync of its directory. What is not durable may be there after a loss of power all the
//! same, or in part.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use fastrand::Rng;
use prixfixe_delivery::FileSystem;

use crate::runtime::{Nanos, Runtime};
use crate::scenario::{DiskFault, Operation, Sabotage};

/// Where the Maildir is.
pub const ROOT: &str = "/mail";

/// What has happened to messages.
#[derive(Debug)]
pub enum DiskEvent {
    /// A file got its name in `new/`. `content` is what of it is durable, or all of it without
    /// fsync.
    Published {
        inode: usize,
        content: Vec<u8>,
        whole: bool,
    },
    /// It is gone again.
    Removed { inode: usize },
    /// Its name outlives a loss of power.
    Durable { inode: usize },
}

#[derive(Clone)]
pub struct Disk(Arc<Shared>);

/// What happens on other threads while an operation lasts.
pub type Meanwhile = Box<dyn Fn() + Send>;

struct Shared {
    runtime: Runtime,
    fsync: bool,
    state: Mutex<State>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

struct State {
    inodes: Vec<Inode>,
    directories: BTreeMap<PathBuf, Directory>,
    live_directories: BTreeSet<PathBuf>,
    faults: Vec<DiskFault>,
    sabotage: Option<Sabotage>,
    events: Vec<DiskEvent>,
    /// Operations until the power goes.
    cut_in: Option<u64>,
    dead: bool,
    operations: u64,
    short_writes: bool,
    rng: Rng,
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    length: usize,
    durable: usize,
}

#[derive(Default)]
struct Directory {
    live: BTreeMap<OsString, usize>,
    durable: BTreeMap<OsString, usize>,
    /// Changes since the last sync.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Add(OsString, usize),
    Remove(OsString, usize),
}

pub struct File(usize);

impl Disk {
    pub fn new(
        runtime: &Runtime,
        fsync: bool,
        short_writes: bool,
        faults: Vec<DiskFault>,
        sabotage: Option<Sabotage>,
        seed: u64,
    ) -> Self {
        let state = State {
            inodes: Vec::new(),
            directories: BTreeMap::new(),
            live_directories: BTreeSet::from([PathBuf::from("/")]),
            faults,
            sabotage,
            events: Vec::new(),
            cut_in: None,
            dead: false,
            operations: 0,
            short_writes,
            rng: Rng::with_seed(seed),
        };
        Self(Arc::new(Shared {
            runtime: runtime.clone(),
            fsync,
            state: Mutex::new(state),
            meanwhile: Mutex::new(None),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub fn set_meanwhile(&self, meanwhile: Option<Meanwhile>) {
        *self.0.meanwhile.lock().unwrap() = meanwhile;
    }

    fn meanwhile(&self) {
        // Taken out meanwhile: one level of other threads is enough.
        let taken = self.0.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = taken {
            meanwhile();
            *self.0.meanwhile.lock().unwrap() = Some(meanwhile);
        }
    }

    pub fn take_events(&self) -> Vec<DiskEvent> {
        mem::take(&mut self.state().events)
    }

    /// The power goes after so many operations more.
    pub fn cut_power_in(&self, operations: u64) {
        self.state().cut_in = Some(operations);
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Files in `tmp/`.
    pub fn left_over(&self) -> usize {
        self.state()
            .directories
            .get(Path::new("/mail/tmp"))
            .map_or(0, |directory| directory.live.len())
    }

    /// The disk after a loss of power: what was not durable is lost, or not, or in part. Gives the
    /// messages in `new/` with whether they are whole.
    pub fn lose_power(&self) -> Vec<(usize, bool)> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.dead = false;
        state.cut_in = None;
        for inode in &mut state.inodes {
            if inode.length > inode.durable {
                let kept = state.rng.usize(inode.durable..=inode.length);
                inode.content.truncate(kept);
                inode.length = kept;
                inode.durable = kept;
            }
        }
        for directory in state.directories.values_mut() {
            for change in mem::take(&mut directory.pending) {
                if state.rng.bool() {
                    apply(&mut directory.durable, change);
                }
            }
            directory.live = directory.durable.clone();
        }
        let new = state.directories.get(Path::new("/mail/new"));
        let inodes = &state.inodes;
        new.into_iter()
            .flat_map(|new| new.live.values())
            .map(|inode| (*inode, inodes[*inode].durable == inodes[*inode].length))
            .collect()
    }

    /// The process was killed; the disk never was.
    pub fn revive(&self) {
        let mut state = self.state();
        state.dead = false;
        state.cut_in = None;
    }
}

fn apply(names: &mut BTreeMap<OsString, usize>, change: Change) {
    match change {
        Change::Add(name, inode) => {
            names.insert(name, inode);
        }
        Change::Remove(name, inode) => {
            if names.get(&name) == Some(&inode) {
                names.remove(&name);
            }
        }
    }
}

fn split(path: &Path) -> (&Path, OsString) {
    (
        path.parent().unwrap_or(path),
        path.file_name().unwrap_or_default().to_owned(),
    )
}

fn is_new(directory: &Path) -> bool {
    directory.file_name() == Some(OsStr::new("new"))
}

impl State {
    /// An operation begins. `Ok(true)`: it is done, and then reported as failed.
    fn begin(&mut self, operation: Operation, now: Nanos) -> io::Result<bool> {
        self.operations += 1;
        if let Some(left) = &mut self.cut_in {
            if *left == 0 {
                self.dead = true;
            } else {
                *left -= 1;
            }
        }
        if self.dead {
            return Err(io::Error::from_raw_os_error(5));
        }
        let fault = self
            .faults
            .iter()
            .find(|fault| fault.from <= now && now < fault.until && fault.operation == operation);
        match fault {
            Some(fault) if fault.done => Ok(true),
            Some(fault) => Err(io::Error::from_raw_os_error(fault.error)),
            None => Ok(false),
        }
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.directories
            .get_mut(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn reported(lost: bool) -> io::Result<()> {
    if lost {
        Err(io::Error::from_raw_os_error(5))
    } else {
        Ok(())
    }
}

impl FileSystem for Disk {
    type File = File;

    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        let now = self.0.runtime.now();
        let mut state = self.state();
        state.begin(Operation::Create, now)?;
        let made = state.live_directories.insert(path.to_owned());
        state.directories.entry(path.to_owned()).or_default();
        Ok(made)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let now = self.0.runtime.now();
        let mut state = self.state();
        state.begin(Operation::Create, now)?;
        let (parent, name) = split(path);
        let inode = state.inodes.len();
        let directory = state.directory(parent)?;
        if directory.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        directory.live.insert(name.clone(), inode);
        directory.pending.push(Change::Add(name, inode));
        state.inodes.push(Inode::default());
        Ok(File(inode))
    }

    fn write(&self, file: &mut File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let now = self.0.runtime.now();
        let mut guard = self.state();
        let state = &mut *guard;
        state.begin(Operation::Write, now)?;
        let all: usize = bytes.iter().map(|slice| slice.len()).sum();
        let mut left = if state.short_writes && all > 1 {
            state.rng.usize(1..=all)
        } else {
            all
        };
        let taken = left;
        let inode = &mut state.inodes[file.0];
        for slice in bytes {
            let count = slice.len().min(left);
            inode.content.extend_from_slice(&slice[..count]);
            left -= count;
        }
        inode.length = inode.content.len();
        Ok(taken)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        self.meanwhile();
        let now = self.0.runtime.now();
        let mut state = self.state();
        let lost = state.begin(Operation::Sync, now)?;
        if state.sabotage != Some(Sabotage::SyncDoesNothing) {
            let inode = &mut state.inodes[file.0];
            inode.durable = inode.length;
        }
        reported(lost)
    }

    fn close(&self, _: File) -> io::Result<()> {
        let now = self.0.runtime.now();
        self.state().begin(Operation::Close, now).and_then(reported)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let now = self.0.runtime.now();
        let mut state = self.state();
        let lost = state.begin(Operation::Rename, now)?;
        let ((from, old), (to, name)) = (split(from), split(to));
        let source = state.directory(from)?;
        let inode = source.live.remove(&old).ok_or(io::ErrorKind::NotFound)?;
        source.pending.push(Change::Remove(old, inode));
        let target = state.directory(to)?;
        assert_eq!(
            target.live.insert(name.clone(), inode),
            None,
            "a message was overwritten"
        );
        target.pending.push(Change::Add(name, inode));
        if is_new(to) {
            let fsync = self.0.fsync;
            let file = &mut state.inodes[inode];
            let whole = !fsync || file.durable == file.length;
            // Nobody reads it again: names and lengths are what counts from here on.
            let content = mem::take(&mut file.content);
            state.events.push(DiskEvent::Published {
                inode,
                content,
                whole,
            });
        }
        reported(lost)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let now = self.0.runtime.now();
        let changes = {
            let mut state = self.state();
            if state.begin(Operation::SyncDirectory, now)? {
                return reported(true);
            }
            if path == Path::new("/") {
                return Ok(());
            }
            // What is there when it begins, and nothing that comes while it lasts.
            mem::take(&mut state.directory(path)?.pending)
        };
        self.meanwhile();
        let mut guard = self.state();
        let state = &mut *guard;
        if state.dead {
            let pending = &mut state.directory(path)?.pending;
            pending.splice(0..0, changes);
            return Err(io::Error::from_raw_os_error(5));
        }
        let directory = state
            .directories
            .get_mut(path)
            .ok_or(io::ErrorKind::NotFound)?;
        for change in changes {
            if is_new(path)
                && let Change::Add(_, inode) = &change
            {
                state.events.push(DiskEvent::Durable { inode: *inode });
            }
            apply(&mut directory.durable, change);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let now = self.0.runtime.now();
        let mut state = self.state();
        let lost = state.begin(Operation::Remove, now)?;
        let (parent, name) = split(path);
        let directory = state.directory(parent)?;
        let inode = directory
            .live
            .remove(&name)
            .ok_or(io::ErrorKind::NotFound)?;
        directory.pending.push(Change::Remove(name, inode));
        if is_new(parent) {
            state.events.push(DiskEvent::Removed { inode });
        } else {
            state.inodes[inode].content = Vec::new();
        }
        reported(lost)
    }

    fn list(&self, path: &Path, visit: &mut dyn FnMut(&OsStr, SystemTime)) -> io::Result<()> {
        let now = self.0.runtime.now();
        let mut state = self.state();
        state.begin(Operation::List, now)?;
        let names: Vec<OsString> = state.directory(path)?.live.keys().cloned().collect();
        drop(state);
        for name in names {
            visit(&name, SystemTime::now());
        }
        Ok(())
    }
}
