//! A durable queue in front of targets.

mod client;
mod entry;
mod envelope;
mod options;
mod schedule;
mod state;
mod summary;
mod undelivered;

pub use client::{StoredClient, StoredTls};
pub use entry::{
    EntryId, EntryState, EntryTarget, InvalidEntryId, QueueStatus, SpoolEntry, SpoolStatus,
};
pub use envelope::{InvalidEnvelope, StoredEnvelope, StoredFinding, StoredRecipient, StoredTarget};
pub use options::SpoolOptions;
pub use schedule::RetrySchedule;
pub use state::{DeliveryState, TargetState};
pub use undelivered::{Bouncer, Ended, Ending, NoBounces, Report};
