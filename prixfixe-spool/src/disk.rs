//! The seam between the log and the disk.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::path::Path;

/// What the log asks of a file system, one system call an operation.
///
/// [`OsDisk`] is the real one. Tests stand another behind the log, to see what would be left if the power went between
/// any two operations.
pub trait Disk: Send + Sync + 'static {
    /// An open file. Dropping it closes it and gives up its lock.
    type File: Send + Sync + 'static;

    /// Makes a directory that its owner alone can use; its parent is there. `false`: it was there already.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn make_directory(&self, path: &Path) -> io::Result<bool>;

    /// Makes a file that its owner alone can read, for reading and appending.
    ///
    /// # Errors
    ///
    /// As the system says; `AlreadyExists` when anything has that name.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file that is there, for reading and appending.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// How long the file is.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn length(&self, file: &Self::File) -> io::Result<u64>;

    /// Reads some bytes from an offset on. None: the file ends there.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn read_at(&self, file: &Self::File, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of the bytes at the end of the file, and says how many: never more than there are.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn append(&self, file: &Self::File, bytes: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Cuts the file off.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Returns when the file's content, and what is needed to read it, outlives a loss of power.
    ///
    /// # Errors
    ///
    /// As the system says. What is on disk is unknown from then on.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Returns when the names in a directory outlive a loss of power.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The regular files of a directory, with their lengths.
    ///
    /// # Errors
    ///
    /// As the system says. A file that vanishes on the way is no error.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Locks an open file against all others who opened it, in this process too. `false`: somebody else has it.
    /// The lock ends with the file, or with its process.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn try_lock(&self, file: &Self::File, kind: LockKind) -> io::Result<bool>;

    /// Gives up a file's lock.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn unlock(&self, file: &Self::File) -> io::Result<()>;
}

/// Who else may have a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Nobody.
    Exclusive,
    /// Whoever has it shared.
    Shared,
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    type File = File;

    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::metadata(path)?.is_dir() {
                    true => Ok(false),
                    false => Err(io::ErrorKind::NotADirectory.into()),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        match OpenOptions::new().read(true).append(true).open(path) {
            // What a disk has that turned read-only can still be delivered.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path),
            opened => opened,
        }
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(file, buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
    }

    fn append(&self, mut file: &File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(bytes)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        // fdatasync keeps the length too, since it is needed to read the file; the times are not.
        file.sync_data()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        #[cfg(unix)]
        File::open(path)?.sync_all()?;
        #[cfg(not(unix))]
        fs::metadata(path)?;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match (entry.metadata(), entry.file_name().into_string()) {
                (Ok(metadata), Ok(name)) if metadata.is_file() => {
                    found.push((name, metadata.len()))
                }
                (Err(error), _) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(found)
    }

    fn try_lock(&self, file: &File, kind: LockKind) -> io::Result<bool> {
        let locked = match kind {
            LockKind::Exclusive => file.try_lock(),
            LockKind::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self, file: &File) -> io::Result<()> {
        file.unlock()
    }
}

/// Reads all that a buffer takes, or `UnexpectedEof`.
pub(crate) fn read_exact<D: Disk>(
    disk: &D,
    file: &D::File,
    mut buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match disk.read_at(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The most slices that a system takes at once (IOV_MAX).
const MAX_SLICES: usize = 1024;

/// Writes all of the slices. Where it fails, nobody knows how much is there.
pub(crate) fn append_all<D: Disk>(
    disk: &D,
    file: &D::File,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let at_once = slices.get(..MAX_SLICES).unwrap_or(slices);
        match disk.append(file, at_once) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
