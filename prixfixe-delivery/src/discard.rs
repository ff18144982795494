//! Keeping nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prixfixe_server::{Accepted, Client, Handler, Message, Reply, Session};

/// Reads every message to its end, counts it and drops it. For tests of clients, and of speed. Clones share their
/// counts.
#[derive(Debug, Clone, Default)]
pub struct Discard(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    octets: AtomicU64,
}

impl Discard {
    /// One that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Messages that were accepted.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.0.messages.load(Ordering::Relaxed)
    }

    /// Octets of their contents.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.0.octets.load(Ordering::Relaxed)
    }
}

impl Handler for Discard {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Self, Reply> {
        Ok(Self::clone(self))
    }
}

impl Session for Discard {
    async fn message(&mut self, mut message: Message) -> Result<Accepted, Reply> {
        let mut octets = 0;
        while let Some(piece) = message.body().chunk().await? {
            octets += piece.len() as u64;
        }
        self.0.messages.fetch_add(1, Ordering::Relaxed);
        self.0.octets.fetch_add(octets, Ordering::Relaxed);
        Ok(Accepted::default())
    }
}
