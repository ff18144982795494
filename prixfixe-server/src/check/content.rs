//! What a check of contents is given.

use crate::{Client, Envelope, Gathered};

/// A content that is complete.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    client: &'a Client,
    envelope: &'a Envelope,
    gathered: &'a Gathered,
}

impl<'a> Content<'a> {
    /// The question, for a test of a check.
    #[must_use]
    pub fn new(client: &'a Client, envelope: &'a Envelope, gathered: &'a Gathered) -> Self {
        Self {
            client,
            envelope,
            gathered,
        }
    }

    /// Who sent it.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// From whom and to whom.
    #[must_use]
    pub fn envelope(&self) -> &'a Envelope {
        self.envelope
    }

    /// The content. [`Gathered::body`] reads it.
    #[must_use]
    pub fn gathered(&self) -> &'a Gathered {
        self.gathered
    }
}
