//! How much room is left: the stream has no limit, so that its bytes are looked at.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::time::sleep;

use super::names::Names;
use crate::nats::inspect::stream_info;
use crate::nats::link::Shared;

/// What waits, in bytes of one replica.
#[derive(Debug)]
pub(super) struct Usage {
    limit: AtomicU64,
    /// When it was looked at last.
    seen: AtomicU64,
    /// What this server has added since then.
    added: AtomicU64,
    messages: AtomicU64,
}

const PERIOD: Duration = Duration::from_secs(1);

impl Usage {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            seen: AtomicU64::new(0),
            added: AtomicU64::new(0),
            messages: AtomicU64::new(0),
        }
    }

    /// Whether so many more bytes have a place.
    pub(super) fn has_room_for(&self, size: u64) -> bool {
        self.bytes().saturating_add(size) <= self.limit()
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    pub(super) fn add(&self, size: u64) {
        self.added.fetch_add(size, Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.seen
            .load(Relaxed)
            .saturating_add(self.added.load(Relaxed))
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Looks each second, for as long as it is polled.
    pub(super) async fn watch(&self, shared: &Shared, names: &Names) {
        loop {
            if let Some(session) = shared.ready() {
                self.look(&session.context, names).await;
            }
            sleep(PERIOD).await;
        }
    }

    /// What cannot be seen is as it was.
    async fn look(&self, context: &Context, names: &Names) {
        let before = self.added.load(Relaxed);
        let (mut bytes, mut messages) = (0_u64, 0_u64);
        for stream in names.streams() {
            let Ok(Some(info)) = stream_info(context, &stream).await else {
                return;
            };
            bytes = bytes.saturating_add(info.state.bytes);
            messages = messages.saturating_add(info.state.messages);
        }
        let bucket = format!("OBJ_{}", names.bucket());
        if let Ok(Some(info)) = stream_info(context, &bucket).await {
            bytes = bytes.saturating_add(info.state.bytes);
        }
        self.seen.store(bytes, Relaxed);
        self.messages.store(messages, Relaxed);
        // What came while it was looked at may be counted twice for a second.
        self.added.fetch_sub(before, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_since_the_last_look_counts() {
        let usage = Usage::new(100);
        assert!(usage.has_room_for(100));
        usage.add(60);
        assert!(usage.has_room_for(40));
        assert!(!usage.has_room_for(41));
        assert!(!usage.has_room_for(u64::MAX));
    }
}
