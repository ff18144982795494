//! Contents that are too long for a record: each a file of its own, synced before the record that names it.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, append_all};
use crate::error::ReadError;
use crate::record::LargeContent;
use crate::shared::Shared;

pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("large")
}

pub(crate) fn path(root: &Path, number: u64) -> PathBuf {
    directory(root).join(format!("{number:016x}"))
}

pub(crate) fn number(name: &str) -> Option<u64> {
    let is_ours = name.len() == 16
        && name
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    is_ours
        .then(|| u64::from_str_radix(name, 16).ok())
        .flatten()
}

/// A large content that is being written. Dropped before its message is appended, it is removed.
pub struct LargeWriter<D: Disk> {
    shared: Arc<Shared<D>>,
    file: D::File,
    content: LargeContent,
    is_handed_over: bool,
}

impl<D: Disk> LargeWriter<D> {
    pub(crate) fn create(shared: Arc<Shared<D>>, number: u64) -> io::Result<Self> {
        shared.under_way().insert(number);
        match shared.disk.create(&path(&shared.root, number)) {
            Ok(file) => Ok(Self {
                shared,
                file,
                content: LargeContent {
                    number,
                    length: 0,
                    crc: 0,
                },
                is_handed_over: false,
            }),
            Err(error) => {
                shared.under_way().remove(&number);
                Err(error)
            }
        }
    }

    /// Writes the next piece. This waits for the disk.
    ///
    /// # Errors
    ///
    /// As the system says. The content is to be dropped then.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        append_all(&*self.shared.disk, &self.file, &mut [IoSlice::new(piece)])?;
        self.content.length += piece.len() as u64;
        self.content.crc = crc32c::crc32c_append(self.content.crc, piece);
        Ok(())
    }

    /// Syncs it and its name. What it gives can be appended.
    ///
    /// # Errors
    ///
    /// As the system says. A failed sync is final: the content is to be dropped.
    pub fn finish(self) -> io::Result<LargeFile<D>> {
        self.shared.disk.sync(&self.file)?;
        self.shared
            .disk
            .sync_directory(&directory(&self.shared.root))?;
        Ok(LargeFile(self))
    }
}

impl<D: Disk> Drop for LargeWriter<D> {
    fn drop(&mut self) {
        if !self.is_handed_over {
            self.shared.arrived(&[self.content.number]);
            let path = path(&self.shared.root, self.content.number);
            let _ = self.shared.disk.remove(&path);
        }
    }
}

impl<D: Disk> fmt::Debug for LargeWriter<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LargeWriter").field(&self.content).finish()
    }
}

/// A large content that is durable. Dropped before its message is appended, it is removed.
pub struct LargeFile<D: Disk>(LargeWriter<D>);

impl<D: Disk> LargeFile<D> {
    pub(crate) fn content(&self) -> LargeContent {
        self.0.content
    }

    /// Its record is on its way: from now on the log decides.
    pub(crate) fn hand_over(mut self) {
        self.0.is_handed_over = true;
    }
}

impl<D: Disk> fmt::Debug for LargeFile<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LargeFile").field(&self.content()).finish()
    }
}

/// A large content that is read.
pub struct LargeReader<D: Disk> {
    disk: Arc<D>,
    file: D::File,
    path: PathBuf,
    content: LargeContent,
    at: u64,
    crc: u32,
}

impl<D: Disk> LargeReader<D> {
    pub(crate) fn open(shared: &Shared<D>, content: LargeContent) -> Result<Self, ReadError> {
        let path = path(&shared.root, content.number);
        let file = shared
            .disk
            .open(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ReadError::Damaged {
                    path: path.clone(),
                    offset: 0,
                },
                _ => ReadError::Io {
                    path: path.clone(),
                    source: error,
                },
            })?;
        Ok(Self {
            disk: Arc::clone(&shared.disk),
            file,
            path,
            content,
            at: 0,
            crc: 0,
        })
    }

    /// Bytes of the content.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.content.length
    }

    /// Reads the next bytes, 0 at the end. This waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] at the end, where all of it does not match its checksum: nothing of it is to be used then.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let left = self.content.length - self.at;
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        if left == 0 {
            return match self.crc == self.content.crc {
                true => Ok(0),
                false => Err(self.damaged()),
            };
        }
        let count = self.disk.read_at(&self.file, buffer, self.at);
        let count = count.map_err(|source| ReadError::Io {
            path: self.path.clone(),
            source,
        })?;
        if count == 0 && room > 0 {
            return Err(self.damaged());
        }
        let read = buffer.get(..count).unwrap_or_default();
        self.crc = crc32c::crc32c_append(self.crc, read);
        self.at += count as u64;
        Ok(count)
    }

    fn damaged(&self) -> ReadError {
        ReadError::Damaged {
            path: self.path.clone(),
            offset: self.at,
        }
    }
}

impl<D: Disk> fmt::Debug for LargeReader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeReader")
            .field("path", &self.path)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
