//! TODO
#![deny(missing_docs)]

mod delivery;
mod discard;
mod fault;
mod health;
mod maildir;
mod stdout;
mod target;

pub use delivery::Delivery;
pub use discard::Discard;
pub use fault::{Fault, StoreError};
pub use health::Health;
pub use maildir::{Disk, FileSystem, Incoming, Maildir, MaildirOptions, OpenError};
pub use stdout::Stdout;
pub use target::{ParseTargetError, Target};
