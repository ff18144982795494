//! The directories and files that a spool is made of.

use std::io::{self, IoSlice};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::disk::{Disk, LockKind, append_all, read_exact};
use crate::error::OpenError;
use crate::recovery::at;
use crate::shared::Shared;

const FORMAT: &[u8] = b"prixfixe-spool 1\n";

/// Makes what is missing, and says that this process is about.
pub(crate) fn prepare<D: Disk>(shared: &Shared<D>) -> Result<D::File, OpenError> {
    let (disk, root) = (&*shared.disk, &*shared.root);
    let is_new = disk.make_directory(root).map_err(at(root))?;
    for name in ["log", "large", "failed", "damaged"] {
        let path = root.join(name);
        disk.make_directory(&path).map_err(at(&path))?;
    }
    let path = root.join("format");
    let about = open_or_create(shared, &path)?;
    share(shared, &about, &path)?;
    check_format(disk, &about, &path)?;
    disk.sync_directory(root).map_err(at(root))?;
    if let (true, Some(parent)) = (is_new, root.parent()) {
        let parent = match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        };
        disk.sync_directory(parent).map_err(at(parent))?;
    }
    Ok(about)
}

fn check_format<D: Disk>(disk: &D, file: &D::File, path: &Path) -> Result<(), OpenError> {
    let length = disk.length(file).map_err(at(path))?;
    let mut found = vec![0; FORMAT.len()];
    if length <= FORMAT.len() as u64 {
        let beginning = found.get_mut(..length as usize).unwrap_or_default();
        read_exact(disk, file, beginning, 0).map_err(at(path))?;
        // A loss of power may have left a part of it, with zeros for what never reached the disk.
        let is_torn = (beginning.iter().zip(FORMAT)).all(|(it, byte)| *it == 0 || it == byte);
        if is_torn && beginning != FORMAT {
            disk.truncate(file, 0).map_err(at(path))?;
            append_all(disk, file, &mut [IoSlice::new(FORMAT)]).map_err(at(path))?;
        }
    }
    disk.sync(file).map_err(at(path))?;
    let read = read_exact(disk, file, &mut found, 0);
    let length = disk.length(file).map_err(at(path))?;
    match read.is_ok() && found == FORMAT && length == FORMAT.len() as u64 {
        true => Ok(()),
        false => Err(OpenError::Format {
            path: path.to_owned(),
        }),
    }
}

/// Waits while another process tidies up, alone.
pub(crate) fn share<D: Disk>(
    shared: &Shared<D>,
    about: &D::File,
    path: &Path,
) -> Result<(), OpenError> {
    for _ in 0..6000 {
        if (shared.disk.try_lock(about, LockKind::Shared)).map_err(at(path))? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(at(path)(io::ErrorKind::TimedOut.into()))
}

pub(crate) fn open_or_create<D: Disk>(
    shared: &Shared<D>,
    path: &Path,
) -> Result<D::File, OpenError> {
    match shared.disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match shared.disk.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                shared.disk.open(path).map_err(at(path))
            }
            made => made.map_err(at(path)),
        },
        opened => opened.map_err(at(path)),
    }
}
