//! The seam between the Maildir and the disk.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::time::SystemTime;

use crate::FreeSpace;

/// What a [`Maildir`](super::Maildir) asks of a file system, one system call an operation.
///
/// [`Disk`] is the real one. Tests stand another behind the Maildir to make any operation fail, or
/// to see what would be left if the power went between two of them.
pub trait FileSystem: Send + Sync + 'static {
    /// A file that is open for writing. Dropping it closes it.
    type File: Send + 'static;

    /// Makes a directory that its owner alone can use; its parent is there. `false`: it was there
    /// already.
    ///
    /// # Errors
    ///
    /// As the system says; `NotADirectory` when something else has that name.
    fn make_directory(&self, path: &Path) -> io::Result<bool>;

    /// Makes a file that its owner alone can read, and opens it for writing.
    ///
    /// # Errors
    ///
    /// As the system says; `AlreadyExists` when anything has that name.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives a new file another mode, and another group. Asked only where a Maildir has an
    /// [`Access`] of its own.
    ///
    /// # Errors
    ///
    /// As the system says: the process is not a member of the group, say.
    fn set_access(&self, file: &mut Self::File, access: Access) -> io::Result<()> {
        let _ = (file, access);
        Ok(())
    }

    /// The same for a new directory.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn set_directory_access(&self, path: &Path, access: Access) -> io::Result<()> {
        let _ = (path, access);
        Ok(())
    }

    /// Writes some of the bytes at the end of the file, and says how many: never more than there
    /// are.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn write(&self, file: &mut Self::File, bytes: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns when the file's content, and what is needed to read it, outlives a loss of power.
    ///
    /// # Errors
    ///
    /// As the system says. What is on disk is unknown from then on.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// Closes the file.
    ///
    /// # Errors
    ///
    /// As the system says: some network file systems write only now and so notice only now that the
    /// disk is full.
    fn close(&self, file: Self::File) -> io::Result<()>;

    /// Gives a file its other name, in one step that is done as a whole or not at all.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in a directory outlive a loss of power.
    ///
    /// # Errors
    ///
    /// As the system says. Which names are on disk is unknown from then on.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Visits the regular files of a directory: name and time of the last change.
    ///
    /// # Errors
    ///
    /// As the system says. A file that vanishes on the way is no error.
    fn list(&self, path: &Path, visit: &mut dyn FnMut(&OsStr, SystemTime)) -> io::Result<()>;

    /// How much is free where a directory is. `None`, the default: it cannot be told.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn free_space(&self, path: &Path) -> io::Result<Option<FreeSpace>> {
        let _ = path;
        Ok(None)
    }

    /// What tells a directory from every other one that may get its name. `None`, the default:
    /// nothing does.
    ///
    /// # Errors
    ///
    /// As the system says; `NotFound` when nothing has that name.
    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        let _ = path;
        Ok(None)
    }
}

/// Which directory it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The directory's number on it.
    pub inode: u64,
}

impl Identity {
    /// A directory with this number on this file system.
    #[must_use]
    pub const fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }
}

/// Who beside the owner may use files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The permission bits, whatever the umask.
    pub mode: u32,
    /// The number of the group; `None`: as the system gives it.
    pub group: Option<u32>,
}

impl Access {
    /// For the directories of such files: who may read a file may enter, as its owner may.
    pub(crate) fn for_directories(self) -> Self {
        let readers = (self.mode | 0o600) & 0o444;
        Self {
            mode: self.mode | 0o600 | readers >> 2,
            ..self
        }
    }
}

/// The operating system's file system.
///
/// On a system where directories cannot be opened, and so not be synced (Windows), names are as
/// durable as the system makes them by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileSystem for Disk {
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
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)
    }

    #[cfg(unix)]
    fn set_access(&self, file: &mut File, access: Access) -> io::Result<()> {
        // The group first: until it is the right one, no other may read.
        if let Some(group) = access.group {
            std::os::unix::fs::fchown(&*file, None, Some(group))?;
        }
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(access.mode))
    }

    #[cfg(unix)]
    fn set_directory_access(&self, path: &Path, access: Access) -> io::Result<()> {
        self.set_access(&mut File::open(path)?, access)
    }

    fn write(&self, file: &mut File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(bytes)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        // A new file's length and place are needed to read it, and so fdatasync keeps them; its
        // times are not.
        file.sync_data()
    }

    fn close(&self, file: File) -> io::Result<()> {
        #[cfg(unix)]
        match nix::unistd::close(file) {
            // It is closed all the same.
            Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
        #[cfg(not(unix))]
        {
            drop(file);
            Ok(())
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        #[cfg(unix)]
        File::open(path)?.sync_all()?;
        #[cfg(not(unix))]
        fs::metadata(path)?;
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path, visit: &mut dyn FnMut(&OsStr, SystemTime)) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    visit(&entry.file_name(), metadata.modified()?)
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    fn free_space(&self, path: &Path) -> io::Result<Option<FreeSpace>> {
        let found = rustix::fs::statvfs(path)?;
        // One that knows nothing of its size says 0.
        let is_known = found.f_blocks > 0;
        let inodes = (found.f_files > 0).then_some(found.f_favail);
        let bytes = found.f_bavail.saturating_mul(found.f_frsize);
        Ok(is_known.then(|| FreeSpace::new(bytes, inodes)))
    }

    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        let found = fs::metadata(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;

            Ok(Some(Identity::new(found.dev(), found.ino())))
        }
        #[cfg(not(unix))]
        {
            drop(found);
            Ok(None)
        }
    }
}
