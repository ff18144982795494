//! Whether the Maildir's directory is still the one that was opened.
//!
//! A directory at which a file system is no longer mounted looks like an empty Maildir. Mail that
//! is written there is gone from where people read it, and out of sight once the file system is
//! mounted again.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{FileSystem, Identity};
use crate::Fault;

/// What was opened.
#[derive(Debug, Default)]
pub(crate) struct Root {
    state: Mutex<State>,
    is_lost: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Not yet, for want of space.
    #[default]
    Unopened,
    /// `None`: nothing tells it from another.
    Opened(Option<Seen>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    root: Identity,
    /// File systems that are passed on the way to it.
    mounts: usize,
}

impl Root {
    /// Takes whatever has the name now.
    pub(crate) fn open<F: FileSystem>(&self, file_system: &F, path: &Path) -> Result<(), Fault> {
        let seen = look(file_system, path).map_err(|error| Fault::at("open", path, error))?;
        self.set(seen);
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state(), State::Opened(_))
    }

    /// Sees whether it is still the same, or another that may stand in for it: a Maildir with all
    /// that belongs to one, below as many file systems as before. A file system that is mounted
    /// again may have another number.
    pub(crate) fn check<F: FileSystem>(
        &self,
        file_system: &F,
        path: &Path,
        parts: [&Path; 2],
    ) -> Result<(), Fault> {
        let checked = self.compare(file_system, path, parts);
        self.is_lost.store(checked.is_err(), Ordering::Release);
        checked.map_err(|error| Fault::at("use", path, error))
    }

    /// The latest check has found another directory, or none.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    fn compare<F: FileSystem>(
        &self,
        file_system: &F,
        path: &Path,
        parts: [&Path; 2],
    ) -> io::Result<()> {
        let now = file_system.identity(path)?;
        let State::Opened(Some(before)) = self.state() else {
            return Ok(());
        };
        if now == Some(before.root) {
            return Ok(());
        }
        let seen = look(file_system, path)?;
        let is_below_as_many = seen.is_some_and(|seen| seen.mounts >= before.mounts);
        let has = |part: &Path| matches!(file_system.identity(part), Ok(Some(_)));
        if !is_below_as_many || !parts.into_iter().all(has) {
            return Err(lost());
        }
        tracing::warn!(path = %path.display(), "another directory is the Maildir now");
        self.set(seen);
        Ok(())
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, seen: Option<Seen>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Opened(seen);
    }
}

fn lost() -> io::Error {
    io::Error::other("it is not the directory that was opened; is a file system not mounted?")
}

fn look<F: FileSystem>(file_system: &F, path: &Path) -> io::Result<Option<Seen>> {
    let Some(root) = file_system.identity(path)? else {
        return Ok(None);
    };
    let (mut device, mut mounts) = (root.device, 0);
    for ancestor in path.ancestors().skip(1) {
        let Ok(Some(above)) = file_system.identity(ancestor) else {
            break;
        };
        mounts += usize::from(above.device != device);
        device = above.device;
    }
    Ok(Some(Seen { root, mounts }))
}
