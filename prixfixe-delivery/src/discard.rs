//! Keeping nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use prixfixe_server::{Accepted, Handler, Message, Reply};

/// Reads every message to its end, counts it and drops it. For tests of clients, and of speed.
#[derive(Debug, Default)]
pub struct Discard {
    messages: AtomicU64,
    octets: AtomicU64,
}

impl Discard {
    /// One that has counted nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            messages: AtomicU64::new(0),
            octets: AtomicU64::new(0),
        }
    }

    /// Messages that were accepted.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Octets of their contents.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }
}

impl Handler for Discard {
    async fn message(&self, mut message: Message) -> Result<Accepted, Reply> {
        let mut octets = 0;
        while let Some(piece) = message.body().chunk().await? {
            octets += piece.len() as u64;
        }
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.octets.fetch_add(octets, Ordering::Relaxed);
        Ok(Accepted::default())
    }
}
