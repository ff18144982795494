//! Names of messages, and what can go wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

/// A message's name in the log: where it was first written. No two messages of a spool ever have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

/// Bits of an offset: of 64 MiB.
const OFFSET_BITS: u32 = 26;

impl MessageId {
    pub(crate) const fn new(segment: u64, offset: u32) -> Self {
        Self(segment << OFFSET_BITS | offset as u64)
    }

    /// A number that stands for it.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The id that this number stands for.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.0 & ((1 << OFFSET_BITS) - 1);
        write!(f, "{}-{offset}", self.0 >> OFFSET_BITS)
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (segment, offset) = text.split_once('-').ok_or(ParseIdError)?;
        let segment: u64 = segment.parse().map_err(|_| ParseIdError)?;
        let offset: u32 = offset.parse().map_err(|_| ParseIdError)?;
        match segment < 1 << (u64::BITS - OFFSET_BITS) && offset < 1 << OFFSET_BITS {
            true => Ok(Self::new(segment, offset)),
            false => Err(ParseIdError),
        }
    }
}

/// A text is no [`MessageId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a message: an example is 17-4128")]
pub struct ParseIdError;

/// The spool cannot be opened, or not be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An operation failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds something else, or the spool of a later version.
    #[error("{path} is not a spool of this version", path = .path.display())]
    Format {
        /// The file that would say so.
        path: PathBuf,
    },
}

/// A message was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The spool has reached its size.
    #[error("the spool is full")]
    Full,
    /// There is no space on the disk.
    #[error("no space is left for the spool")]
    NoSpace,
    /// A write or a sync failed. The log has named it.
    #[error("the spool cannot be written")]
    Failed,
    /// A part of the message is longer than a record takes.
    #[error("too long for a record of the spool")]
    TooLong,
    /// The log has been closed.
    #[error("the spool is closed")]
    Closed,
}

impl AppendError {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Failed,
        }
    }
}

/// A message cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is done, or never was.
    #[error("no such message in the spool")]
    Unknown,
    /// What is on the disk does not match its checksum.
    #[error("{path}: the message at byte {offset} is damaged", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// An operation failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
