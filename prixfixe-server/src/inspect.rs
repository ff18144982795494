//! What a session holds at the moment: for transports of your own, and for tests that see to it
//! that the bounds hold.

use crate::tls::{Tls, Upgrade};
use prixfixe_network::Session;

/// What a session keeps for a client, in octets and recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// A transaction is under way, or a chunk that was refused is being skipped.
    pub under_way: bool,
    /// Input that waits.
    pub input: usize,
    /// Replies that did not leave yet.
    pub output: usize,
    /// Content that waits for the handler.
    pub body: usize,
    /// Recipients of the transaction under way.
    pub recipients: usize,
    /// Records that are not complete, or wait for their turn.
    pub tls_input: usize,
    /// Records that did not leave yet.
    pub tls_output: usize,
}

/// A session that tells what it holds.
pub trait Inspect: Session {
    /// What it holds at the moment.
    fn usage(&self) -> Usage;
}

impl<S: Inspect + Upgrade> Inspect for Tls<S> {
    fn usage(&self) -> Usage {
        let (tls_input, tls_output) = self.buffered();
        Usage {
            tls_input,
            tls_output,
            ..self.inner().usage()
        }
    }
}
