//! x
#![deny(missing_docs)]

mod delivering;
mod disk;
mod error;
mod keeper;
mod large;
mod ledger;
mod log;
mod prepare;
mod record;
mod recovery;
mod segment;
mod shared;
mod stored;
mod threads;
mod ticket;
mod writer;

pub use disk::{Disk, LockKind, OsDisk};
pub use error::{AppendError, MessageId, OpenError, ParseIdError, ReadError};
pub use keeper::KeepError;
pub use large::{LargeFile, LargeReader, LargeWriter};
pub use ledger::Fresh;
pub use log::{Draft, Log};
pub use recovery::{Recovered, Recovery};
pub use shared::LogOptions;
pub use stored::{Content, Stored};
pub use ticket::Ticket;
