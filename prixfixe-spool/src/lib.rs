//! A durable log that many connections share: the heart of a mail spool.
//!
//! A server that promises a message must have it on the disk. A file for each message costs four operations of the disk (create,
//! write, sync, rename and sync again), and a disk does a few thousand operations per second. Here all messages that arrive
//! together go to the end of one file with one write and one sync. So the more clients wait, the less each costs.
//!
//! ```
//! use prixfixe_spool::{Draft, Log, LogOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("spool");
//! let log = Log::start(&path, LogOptions::default())?;
//! log.take_over(|found| println!("{} was here before", found.id))?;
//! let draft = Draft { envelope: b"from, to", content: b"Hello\r\n", ..Draft::default() };
//! let id = log.append(draft).wait()?; // or `.await`: it is on the disk now
//! let stored = log.read(id)?;
//! assert_eq!(stored.envelope, b"from, to");
//! log.done(id);
//! # Ok(())
//! # }
//! ```
//!
//! The log knows nothing of mail. An envelope, a summary for the queue and the state of a delivery are bytes to it.
//!
//! # What is on the disk
//!
//! ```text
//! DIR/format        prixfixe-spool 1. Every process that is about shares a lock on it
//! DIR/lock          locked by the one process that delivers
//! DIR/log/N.seg     segments of 64 MiB, each written by one process, which locks it
//! DIR/large/X       contents over 256 KiB or so, a file each
//! DIR/damaged/      segments in which something does not match its checksum; large contents with
//!                   their envelopes
//! DIR/failed/       for whoever delivers
//! ```
//!
//! A segment is a header, which is there twice, and records. A record is its length, kind, checksum, and payload:
//!
//! | kind | says |
//! |---|---|
//! | Message | a summary, the envelope, headers, the content |
//! | Large | the same, with the name, length and checksum of a file in place of the content |
//! | Attempt | how far the delivery of a message is |
//! | Held | the same, and it is not to go on |
//! | Done | the message is over |
//! | Index, Seal | the end of a segment: what its records say, without envelopes, headers and contents |
//!
//! Nothing is ever changed in place. The checksum is CRC-32C, with a seed of the segment and the place in it: bytes that turn up
//! elsewhere are no record there, whoever has put them there.
//!
//! # When is a message safe?
//!
//! One thread writes. It takes all that waits (8 MiB at most), does one `write` and one `fdatasync`, and answers. There
//! is no timer: a message that comes alone is synced at once. This is what a crash leaves right after a step:
//!
//! | step | on the disk after a crash | what the next start makes of it |
//! |---|---|---|
//! | none yet | nothing of the message | |
//! | large content: create, write | perhaps a file in `large/`, or a part | no record names it: removed |
//! | large content: sync, sync `large/` | the file | the same |
//! | a segment begins: create | perhaps an empty file | removed |
//! | its header is written, `log/` synced | a file, perhaps with a part of the header | the same |
//! | the batch is written | any part of it, or all | whole records count; the rest is torn and dropped: no one was told `250` |
//! | `fdatasync` | all of it | all of its messages are there |
//! | tickets are answered | the same | the same |
//! | Attempt, Held, Done: written | perhaps the record | if not: the delivery is repeated, or counted once less |
//! | Attempt, Held, Done: synced | the record | the delivery is over, or goes on from there |
//! | a large content that is done: removed, after the sync of Done | perhaps the file | no live record names it: removed |
//! | a segment is full: index and seal are written | perhaps a part of them | the segment is read as a whole, and sealed |
//! | live records are copied forward and synced | the messages twice, under one id | the copy counts |
//! | a dead segment is removed | perhaps the segment | its messages are done, or copied: it is removed again |
//! | `log/` is synced | no segment | |
//!
//! - **Never lost after an answer**, and never answered without a sync.
//! - **Never back after Done** was synced. A Done is void without the segment of its message, and the message comes back without
//!   the Done. So a segment is removed only after all those of which its records speak, with a sync of the directory between.
//!   Where that would take long, the few records that still matter are written again.
//! - **Nobody waits for states.** They are written with the next message, or within 5 ms, which a killed process survives. They
//!   are synced with the next message, or after [`LogOptions::state_delay`]. A kill, or a loss of power, repeats the deliveries
//!   of that moment.
//! - **A failed write or sync is final.** The kernel may have dropped what it could not write, and a second sync would report
//!   success for it. The segment is closed, its waiting messages are answered with an error, and the next batch begins a
//!   new segment. States that were in it are written once more.
//!
//! # How a start goes
//!
//! [`Log::take_over`] reads the index of each sealed segment and the records of the others, which a crash or a full disk has left.
//! Then it seals these too. What it finds at an end:
//!
//! - the beginning of a record, or zeros: **torn**. That was never acknowledged. It is cut off and told.
//! - anything else that does not match its checksum: **damaged**. It is told, with its place, and all records before and
//!   behind it count. Once nothing of that segment is needed any more, it is moved to `damaged/` in place of being removed.
//!
//! A damaged message in a sealed segment is found when it is read ([`ReadError::Damaged`]), since a start reads no contents.
//! A large content that is damaged takes no segment with it: it goes to `damaged/` alone, with the
//! envelope of its message beside it.
//!
//! # Room
//!
//! A segment whose messages are all done is removed. One of which less than a quarter lives is emptied: what lives is copied to the
//! open segment, a MiB at a time, and clients wait no longer than for that. [`LogOptions::max_size`] is a limit for new
//! messages alone: states and copies always have room, as deliveries would never end otherwise.
//!
//! Where the disk has no space for another segment, nobody can write Done. Then a segment in which all messages are done goes
//! without these records; of the last one the header stays, for its number. A crash before it
//! is gone repeats these deliveries.
//!
//! The log remembers about a hundred bytes of each message that is not done.
//!
//! # Two processes
//!
//! Any number of processes may append at the same time, each to segments of its own. One of them delivers. It
//! [follows](Log::follow) the others' segments. [`Log::hand_over`] gives that up, and the appending goes on: so a server may drain while
//! its successor delivers.
#![deny(missing_docs)]

mod assembly;
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
pub use ledger::{Companion, Fresh};
pub use log::{Draft, Log};
pub use recovery::{Recovered, Recovery};
pub use shared::LogOptions;
pub use stored::{Content, Stored};
pub use ticket::{Ticket, Together};
