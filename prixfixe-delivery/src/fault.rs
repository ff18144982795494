//! What can go wrong with keeping a message, and what its client is told.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use prixfixe_server::{EnhancedCode, Reply};

/// A local operation that failed: what was tried, on what, and why it could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {subject}: {source}")]
pub struct Fault {
    action: &'static str,
    subject: String,
    source: io::Error,
}

impl Fault {
    pub(crate) fn new(action: &'static str, subject: impl fmt::Display, source: io::Error) -> Self {
        Self {
            action,
            subject: subject.to_string(),
            source,
        }
    }

    pub(crate) fn at(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::new(action, path.display(), source)
    }

    /// The path, or whatever else could not be worked with.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What kind of error the operating system gave.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// True for what may be so in one directory and not in the one beside it: who owns it, its
    /// quota, whether it is there.
    pub(crate) fn is_of_one_directory(&self) -> bool {
        use io::ErrorKind::{
            AlreadyExists, NotADirectory, NotFound, Other, PermissionDenied, QuotaExceeded,
        };
        matches!(
            self.kind(),
            AlreadyExists | NotADirectory | NotFound | Other | PermissionDenied | QuotaExceeded
        )
    }

    /// True when there is no room, for the disk or for the quota: what an operator mends by making
    /// some.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// Why a message was not kept. Nothing of it is in the mailbox, and its client should send it
/// again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room for it.
    #[error("out of space: {0}")]
    NoSpace(#[source] Arc<Fault>),
    /// Any other operation failed. Several messages may share one fault.
    #[error(transparent)]
    Fault(Arc<Fault>),
    /// The thread that had it gave no answer: the store was shut down, or a defect made it panic.
    #[error("the delivery has stopped")]
    Stopped,
}

impl From<Arc<Fault>> for StoreError {
    fn from(fault: Arc<Fault>) -> Self {
        if fault.is_no_space() {
            Self::NoSpace(fault)
        } else {
            Self::Fault(fault)
        }
    }
}

/// RFC 3463 section 3.4: X.3.1 is a mail system that is full, X.3.0 any other trouble of it. The
/// cause is for the log and not for the client.
impl From<StoreError> for Reply {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace(_) => NO_SPACE,
            StoreError::Fault(_) | StoreError::Stopped => NOT_STORED,
        }
    }
}

pub(crate) const NO_SPACE: Reply = Reply::from_static(
    452,
    EnhancedCode(4, 3, 1),
    "insufficient system storage, try again later",
);
pub(crate) const NOT_STORED: Reply = Reply::from_static(
    451,
    EnhancedCode(4, 3, 0),
    "the message could not be stored, try again later",
);
