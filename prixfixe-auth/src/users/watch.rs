//! Reading the file, and reading it again when it changes.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{PoisonError, Weak};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::table::{BadLine, Table};
use super::{OpenError, Shared};

/// About 80,000 users.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// How often is looked whether it has changed.
const INTERVAL: Duration = Duration::from_secs(1);
/// What was changed so lately may change again without its time changing.
const SETTLED: Duration = Duration::from_secs(2);
/// Bad lines that are named each time the file is read.
pub(super) const MAX_NAMED: usize = 20;

/// A file as it was when it was read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `None`: it could not be read, or is read again whatever they are.
    marks: Option<Marks>,
    digest: [u8; 32],
    failed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Marks {
    modified: Option<SystemTime>,
    length: u64,
    file: u64,
}

impl Marks {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            file: number(metadata),
        }
    }

    fn are_settled(&self) -> bool {
        let age = self.modified.and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age > SETTLED)
    }
}

#[cfg(unix)]
fn number(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}

/// What is in a file: its users, and the lines that say nothing.
pub(super) type Found = (Table, Vec<BadLine>);

/// The table, if the content is another than was seen before.
pub(super) fn read(path: &Path, seen: &mut Seen) -> Result<Option<Found>, OpenError> {
    let failed = |source| OpenError::Read {
        path: path.to_owned(),
        source,
    };
    let marks = Marks::of(&std::fs::metadata(path).map_err(failed)?);
    if seen.marks.as_ref() == Some(&marks) {
        return Ok(None);
    }
    // Its size is known before, so that no copy is left behind by growing.
    let capacity = usize::try_from(marks.length.min(MAX_FILE)).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(capacity + 1));
    let mut file = File::open(path).map_err(failed)?.take(MAX_FILE + 1);
    file.read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        let message = format!("a users file of over {MAX_FILE} bytes");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    let digest = Sha256::digest(&content).into();
    let is_new = seen.digest != digest || seen.failed;
    *seen = Seen {
        marks: marks.are_settled().then_some(marks),
        digest,
        failed: false,
    };
    if !is_new {
        return Ok(None);
    }
    Ok(Some(Table::parse(&content)))
}

/// Tells what was read.
pub(super) fn tell(path: &Path, table: &Table, bad: &[BadLine]) {
    let file = path.display();
    for BadLine { number, problem } in bad.iter().take(MAX_NAMED) {
        tracing::warn!(%file, line = number, %problem, "bad line in the users file");
    }
    if bad.len() > MAX_NAMED {
        let lines = bad.len() - MAX_NAMED;
        tracing::warn!(%file, lines, "more bad lines in the users file");
    }
    tracing::info!(%file, users = table.len(), "users file read");
}

/// Looks once. What cannot be read leaves the users as they are, and is said once.
pub(super) fn refresh(shared: &Shared) {
    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    match read(&shared.path, &mut seen) {
        Ok(Some((table, bad))) => {
            tell(&shared.path, &table, &bad);
            shared.replace(table);
        }
        Ok(None) => {}
        Err(error) => {
            if !seen.failed {
                tracing::warn!(%error, "users file not read; its users stay as they were");
            }
            seen.marks = None;
            seen.failed = true;
        }
    }
}

/// Looks again and again, until the users are gone.
pub(super) fn watch(shared: &Weak<Shared>, ended: &Receiver<()>) {
    while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        refresh(&shared);
    }
}
