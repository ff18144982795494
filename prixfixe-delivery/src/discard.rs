//! Keeping nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prixfixe_server::{Mail, Message, Recipient, Reply};

use crate::{Asked, BoxFuture, Delivered, Failure, Health, Outcomes, Target, Transaction};

/// Reads every message to its end, counts it and drops it. For tests of clients, and of speed.
/// Clones share their counts.
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

impl Target for Discard {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(self.clone())))
    }

    fn health(&self) -> Health {
        Health::always_good()
    }

    fn is_local(&self) -> bool {
        true
    }
}

impl Transaction for Discard {
    fn rcpt<'a>(&'a mut self, _: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move { Outcomes::All(self.count(message).await) })
    }
}

impl Discard {
    async fn count(&self, mut message: Message) -> Result<Delivered, Failure> {
        let mut octets = 0;
        while let Some(piece) = message.body().chunk().await.map_err(Reply::from)? {
            octets += piece.len() as u64;
        }
        self.0.messages.fetch_add(1, Ordering::Relaxed);
        self.0.octets.fetch_add(octets, Ordering::Relaxed);
        Ok(Delivered::default())
    }
}
