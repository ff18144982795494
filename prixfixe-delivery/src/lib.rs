//! Where the mail goes that a [`prixfixe_server::Server`] receives.
//!
//! | type | target | a client's `250` means |
//! |---|---|---|
//! | [`Maildir`] | `maildir:PATH` | the message is a file in `PATH/new`, content and name on the disk |
//! | [`Maildirs`] | `maildir:PATH/{domain}/{local}` | the same, in the Maildir of each recipient |
//! | `NextHop` (feature `smtp`) | `lmtp:`, `smtp:`, `smtps:` | the next server has said `250` |
//! | `Webhook` (feature `webhook`) | `https:` | the endpoint has answered 2xx |
//! | `Pipe` (feature `pipe`) | `pipe:` | the program has exited with 0 |
//! | `S3` (feature `s3`) | `s3:` | the message and its sidecar are stored |
//! | `Nats` (feature `nats`) | `nats:` | the stream has acknowledged a message for each recipient domain |
//! | `FleetDelivery` (feature `fleet`) | | the fleet's stream has acknowledged the message for each target |
//! | [`Stdout`] | `stdout:` | one line of JSON was written and flushed |
//! | [`Discard`] | `discard:` | the message was counted and dropped |
//! | `Spool` (feature `spool`) | any of them, behind it | the message is on the disk, and is delivered afterwards |
//!
//! Each is a [`Target`]. [`Delivery`] is the handler that hands mail to targets, by [`Routes`]. A
//! program that is configured while it runs parses a [`TargetUrl`] and opens what it names.
//! Maildir, Stdout and Discard are handlers by themselves too.
//!
//! ```no_run
//! use prixfixe_delivery::{Maildir, MaildirOptions};
//! use prixfixe_server::Server;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let maildir = Maildir::open("mail", MaildirOptions::default())?;
//! let server = Server::builder().listen(([127, 0, 0, 1], 2525)).handler(maildir).start()?;
//! server.stopped().await;
//! # Ok(())
//! # }
//! ```
//!
//! Maildir, Stdout and Discard need no runtime: files are written by threads of this crate, and the
//! futures run on any executor. What is at the other end of a connection needs one of tokio's
//! around it ([`Handler::needs_runtime`](prixfixe_server::Handler::needs_runtime)).
//!
//! What follows is about the Maildir.
//!
//! # What cannot be kept is refused
//!
//! A message that cannot be stored is answered `452 4.3.1` where there is no space and `451 4.3.0`
//! for any other fault, and its client sends it again later; the log says which path and why.
//! Whether there is a fault now is in
//! [`Health`]: it ends with the first message that is stored again, or when a probe in the background has found that one
//! could be, within [`MaildirOptions::probe_interval`] of the end of the cause.
//!
//! Two troubles are answered at MAIL already, before a client sends what cannot be kept:
//!
//! - **Too little free space** ([`MaildirOptions::min_free`]): `452 4.3.1`, until a tenth more is
//!   free.
//! - **A disk that hangs**: `451 4.3.0`, once it has owed an answer for 10 s, until the answer
//!   comes.
//!
//! A Maildir's directory is made when it is opened and never again, `tmp`, `new` and `cur` in it
//! are. Where a file system is no longer mounted, the empty directory that is left gets no mail:
//! its numbers are not those that were opened.
//!
//! # When is a message safe?
//!
//! Each message goes through the same steps, and its client is answered after the last. The rename
//! is the one commit point: before it nobody sees the message, after it everybody sees all of it.
//! This is what a crash or a loss of power leaves when it comes right after a step:
//!
//! | step | in `tmp/` | in `new/` | who cleans up |
//! |---|---|---|---|
//! | none yet | nothing | nothing | |
//! | create in `tmp/` | perhaps an empty file | nothing | the sweep |
//! | write | perhaps a part | nothing | the sweep |
//! | fsync the file | perhaps all of it | nothing | the sweep |
//! | close | perhaps all of it | nothing | the sweep |
//! | rename to `new/` | perhaps still its old name | all of it; after a loss of power perhaps nothing | its client sends it again: it may be there twice |
//! | fsync `new/` | perhaps still its old name | all of it | the sweep, for the old name |
//! | answer `250` | perhaps still its old name | all of it | the same |
//!
//! - **Never a part.** The content is on the disk before the name is in `new/`, so that a name that
//!   survives has all of its content, whatever else did not.
//! - **Never lost after `250`.** Both fsyncs have returned by then. So have those of the
//!   directories above that were made for the Maildir: a message in a directory that vanishes is
//!   lost too.
//! - **Why not `tmp/`?** That its old name is gone has no need to be durable: on most file systems
//!   a rename is one change, on the others the name that comes back is a leftover like any other.
//! - **Twice rather than never.** A client that has not read its `250` sends again (RFC 1047). That
//!   is so for a connection lost at that moment too, and no server can mend it.
//! - **A failed fsync is final.** The kernel may have dropped what it could not write, and a second
//!   fsync would report success for it. The file is removed, from `new/` too where it was the
//!   directory's, and the message refused.
//!
//! With `fsync` off both fsyncs are left out. A message then outlives the server's process
//! (`kill -9`), but in a loss of power it may be lost, or come out empty.
//!
//! The sweep runs at the start and once an hour. It removes files in `tmp/` that have the form of a
//! delivery's name and were not written to for 36 hours, and those of any age whose process was one
//! of this host that is surely gone: names carry its number, when it began, the boot and the name
//! spaces (on Linux). It does no harm where several servers share a Maildir.
//!
//! # How it is fast
//!
//! - A message of at most 128 KiB takes one hop to a thread, which does all steps. A larger one
//!   goes in batches of that size, and no thread ever waits for a client. A message costs about
//!   half a MiB of memory at the most, whatever its length.
//! - Messages share the fsync of `new/`: one under way collects all that are renamed meanwhile for
//!   the next.
//! - Threads ([`MaildirOptions::workers`]) are many, as they wait for the disk and not for a core.
//!
//! `cargo bench -p prixfixe-delivery --bench maildir` runs it beside the plain loop of write,
//! fsync, rename, fsync.
//!
//! # Who reads it
//!
//! Anything that reads a Maildir: mail programs, IMAP servers, scripts. A reader moves a message
//! from `new/` to `cur/` when it has seen it. Files have mode 0600 and directories 0700: run the
//! reader as the same user, or give files a [mode](MaildirOptions::mode) and a
//! [group](MaildirOptions::group).
#![deny(missing_docs)]
// What targets have in common is there whole, where a program leaves some of them out too.
#![cfg_attr(
    not(all(
        feature = "fleet",
        feature = "nats",
        feature = "pipe",
        feature = "s3",
        feature = "smtp",
        feature = "webhook"
    )),
    allow(dead_code, unused_imports)
)]

mod accept;
#[cfg(any(feature = "nats", feature = "smtp"))]
mod any_certificate;
#[cfg(any(feature = "smtp", feature = "spool"))]
mod ascii_address;
mod attempt;
mod authentication;
#[cfg(feature = "spool")]
pub mod bounce;
mod delivery;
mod discard;
#[cfg(any(feature = "nats", feature = "s3"))]
mod domains;
#[cfg(any(feature = "s3", feature = "webhook"))]
mod facts;
mod fault;
#[cfg(feature = "fleet")]
mod fleet;
mod hand_over;
mod health;
mod maildir;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "smtp")]
mod next_hop;
mod options;
mod pattern;
#[cfg(all(unix, feature = "pipe"))]
mod pipe;
mod registry;
#[cfg(any(feature = "webhook", all(unix, feature = "pipe")))]
mod revival;
mod routes;
#[cfg(feature = "s3")]
mod s3;
mod space;
#[cfg(feature = "spool")]
mod spool;
mod stdout;
mod target;
mod temporary;
mod text_file;
mod tracked;
mod upstream;
mod visit;
#[cfg(feature = "webhook")]
mod webhook;

pub use accept::{
    AcceptRecipients, AcceptSession, RecipientRules, RecipientsFile, RecipientsFileError,
};
#[cfg(feature = "webhook")]
pub use accept::{AskOptions, AskRecipients};
pub use delivery::{Delivery, PreparedRoutes};
pub use discard::Discard;
pub use fault::{Fault, StoreError};
#[cfg(feature = "fleet")]
pub use fleet::{
    Fleet, FleetAccess, FleetDelivery, FleetEntry, FleetError, FleetId, FleetOptions, FleetStatus,
    FleetUrl, InvalidFleetId, Part, Which,
};
pub use hand_over::hand_over;
pub use health::Health;
pub use maildir::{
    Access, Disk, FileSystem, Hands, Identity, Incoming, InvalidTemplate, Maildir, MaildirOptions,
    MaildirTemplate, Maildirs, MaildirsOptions, OpenError, PreparedMaildir, PreparedMaildirs,
};
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsError, NatsOptions, NatsUrl, ParseNatsUrlError};
#[cfg(feature = "smtp")]
pub use next_hop::{NextHop, NextHopError, NextHopOptions, NextHopUrl, ParseNextHopError};
pub use options::{TargetOptions, TlsUse};
pub use pattern::{InvalidPattern, RecipientPattern};
#[cfg(all(unix, feature = "pipe"))]
pub use pipe::{InvalidPipeUrl, Pipe, PipeError, PipeOptions, PipeUrl};
#[cfg(feature = "http")]
pub use prixfixe_http::{HttpSetupError, InvalidHttpUrl};
pub use registry::{Around, ParseTargetError, PreparedTarget, TargetUrl};
pub use routes::{Routes, UnknownTarget};
#[cfg(feature = "s3")]
pub use s3::{ParseS3UrlError, S3, S3Credentials, S3Error, S3Options, S3Url};
pub use space::{FreeSpace, MinFree, Storage};
#[cfg(feature = "spool")]
pub use spool::{
    Bouncer, DeliveryState, Ended, Ending, EntryId, EntryState, EntryTarget, FailedMessage,
    FailedRecipient, InvalidEntryId, InvalidEnvelope, NoBounces, Notice, OperationError,
    QueueStatus, Report, RetrySchedule, Spool, SpoolEntry, SpoolOptions, SpoolStatus, StoredClient,
    StoredEnvelope, StoredFinding, StoredRecipient, StoredTarget, StoredTls, TargetState,
};
pub use stdout::Stdout;
pub use target::{
    Asked, BoxFuture, Delivered, Failure, FailureKind, Outcomes, Target, Transaction,
};
pub use temporary::{TemporarySpace, TemporarySpaceSession};
pub use tracked::{AttemptResult, TargetStatus};
pub use visit::Visit;
#[cfg(feature = "webhook")]
pub use webhook::{
    On4xx, UnknownWord, Webhook, WebhookError, WebhookFormat, WebhookOptions, WebhookUrl,
};

/// The examples of the guide, compiled and run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../docs/LIBRARY.md")]
struct LibraryGuide;

/// The consumer of the guide, which compiles.
#[cfg(all(doctest, feature = "nats"))]
#[doc = include_str!("../../docs/how-to/nats.md")]
struct NatsGuide;
