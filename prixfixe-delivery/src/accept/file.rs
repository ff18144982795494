//! A file that names recipients, read again when it changes.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use prixfixe_server::ForwardPath;

use crate::pattern::Index;
use crate::{RecipientPattern, text_file};

/// A file of recipients: addresses and [patterns](RecipientPattern) such as `@example.com`, one on
/// each line. Empty lines, and those that begin with `#`, say nothing. A local part in every domain
/// (`abuse@`) is an error: it would name recipients of everybody's.
///
/// It is looked at again at most once in 2 s, when a recipient is asked about, and read by a thread
/// of its own. A new content that cannot be used is logged, and the one before stays.
pub struct RecipientsFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    known: RwLock<Arc<Known>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Known {
    recipients: Index,
    /// Those of addresses that are spelt out.
    domains: HashSet<Box<str>>,
}

struct Seen {
    looked: Instant,
    stamp: Option<Stamp>,
    is_being_read: bool,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
}

/// Why a file of recipients cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientsFileError {
    /// It cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line names no recipients.
    #[error("{path:?}, line {line}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: crate::InvalidPattern,
    },
    /// A line names a local part in every domain, everybody's too.
    #[error("{path:?}, line {line}: {text:?} names no domain; write {text}example.com, say")]
    NoDomain {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
}

const INTERVAL: Duration = Duration::from_secs(2);

/// Some million addresses.
const MAX_SIZE: u64 = 64 << 20;

impl RecipientsFile {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    ///
    /// [`RecipientsFileError`], which names the line.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RecipientsFileError> {
        let path = path.into();
        let stamp = stamp(&path);
        let known = read(&path)?;
        Ok(Self(Arc::new(Shared {
            path,
            known: RwLock::new(Arc::new(known)),
            seen: Mutex::new(Seen {
                looked: Instant::now(),
                stamp,
                is_being_read: false,
            }),
        })))
    }

    /// Whether the file names a recipient, as it was read last.
    #[must_use]
    pub fn names(&self, path: &ForwardPath) -> bool {
        self.known().recipients.find(path, "").is_some()
    }

    /// Whether the file names a recipient, any, in the domain of this one.
    pub(super) fn has_domain_of(&self, path: &ForwardPath) -> bool {
        let known = self.known();
        let domain = path.mailbox().map(|mailbox| mailbox.domain().to_ascii());
        domain.is_some_and(|domain| known.domains.contains(&*domain))
            || known.recipients.find(path, "").is_some()
    }

    /// Whether a line is this very address, and no pattern.
    pub(super) fn spells_out(&self, path: &ForwardPath) -> bool {
        self.known().recipients.spells_out(path)
    }

    fn known(&self) -> Arc<Known> {
        self.look(Instant::now());
        let known = self.0.known.read();
        Arc::clone(&known.unwrap_or_else(PoisonError::into_inner))
    }

    /// Has it read again where it has changed.
    fn look(&self, now: Instant) {
        let mut seen = self.0.seen();
        if seen.is_being_read || now.saturating_duration_since(seen.looked) < INTERVAL {
            return;
        }
        seen.looked = now;
        let stamp = stamp(&self.0.path);
        if stamp == seen.stamp {
            return;
        }
        seen.stamp = stamp;
        seen.is_being_read = true;
        drop(seen);
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("recipients".to_owned());
        if thread.spawn(move || shared.read_again()).is_err() {
            self.0.seen().is_being_read = false;
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_again(&self) {
        match read(&self.path) {
            Ok(known) => {
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
                tracing::info!(target: "prixfixe", file = %self.path.display(), "recipients read again");
            }
            Err(error) => {
                tracing::error!(target: "prixfixe", %error, "recipients not read again; those known before stay");
            }
        }
        self.seen().is_being_read = false;
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        size: metadata.len(),
    })
}

fn read(path: &Path) -> Result<Known, RecipientsFileError> {
    let text = text_file::read(path, MAX_SIZE).map_err(|source| RecipientsFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut known = Known::default();
    for (number, line) in text_file::lines(&text) {
        let pattern: RecipientPattern =
            line.parse().map_err(|source| RecipientsFileError::Line {
                path: path.to_owned(),
                line: number,
                source,
            })?;
        if !pattern.names_domain() {
            return Err(RecipientsFileError::NoDomain {
                path: path.to_owned(),
                line: number,
                text: line.to_owned(),
            });
        }
        if let Some(domain) = pattern.domain_of_address() {
            known.domains.insert(domain.into());
        }
        known.recipients.add(&pattern, 0);
    }
    Ok(known)
}

impl fmt::Debug for RecipientsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecipientsFile").field(&self.0.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_addresses_and_domains() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recipients");
        fs::write(&path, "# ours\n\nbob@example.com\r\n @example.org \n").unwrap();
        let file = RecipientsFile::open(&path).unwrap();
        for (recipient, is_known) in [
            ("bob@example.com", true),
            ("BOB@EXAMPLE.COM", true),
            ("ann@example.com", false),
            ("ann@example.org", true),
            ("ann@mx.example.org", false),
        ] {
            assert_eq!(
                file.names(&recipient.parse().unwrap()),
                is_known,
                "{recipient}"
            );
        }
    }

    #[test]
    fn a_local_part_in_every_domain_names_nobody_here() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recipients");
        fs::write(&path, "bob@example.com\nabuse@\n").unwrap();
        let error = RecipientsFile::open(&path).unwrap_err().to_string();
        let expected = "line 2: \"abuse@\" names no domain; write abuse@example.com, say";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn a_bad_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recipients");
        fs::write(&path, "bob@example.com\n\nexample.org\n").unwrap();
        let error = RecipientsFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 3: \"example.org\" names no recipients"),
            "{error}"
        );
        assert!(RecipientsFile::open(directory.path()).is_err());
    }

    #[test]
    fn it_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recipients");
        fs::write(&path, "bob@example.com\n").unwrap();
        let file = RecipientsFile::open(&path).unwrap();
        let ann = "ann@example.com".parse().unwrap();
        fs::write(&path, "ann@example.com\n# more\n").unwrap();
        assert!(!file.names(&ann), "it was looked at a moment ago");
        let mut now = Instant::now();
        while !file.names(&ann) {
            now += INTERVAL;
            file.look(now);
            thread::yield_now();
        }
        // What cannot be used changes nothing.
        fs::write(&path, "nonsense\n").unwrap();
        file.look(now + INTERVAL);
        while file.0.seen().is_being_read {
            thread::yield_now();
        }
        assert!(file.names(&ann));
    }
}
