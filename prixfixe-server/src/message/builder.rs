//! A message that is made again from what was kept of it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;

use crate::{Body, BodyError, Client, Envelope, Gathered, Message, MessageId, Verdict};

/// Describes a [`Message`] that a program makes itself: one that it has kept, and hands on now.
///
/// What is not said is as in [`Message::new`].
#[derive(Debug)]
#[must_use = "`build` makes the message"]
pub struct MessageBuilder(Message);

impl MessageBuilder {
    pub(crate) fn new(client: Client, envelope: Envelope) -> Self {
        Self(Message::new(client, envelope, [Bytes::new()]))
    }

    /// The name that it goes by.
    pub fn id(mut self, id: MessageId) -> Self {
        self.0.head.id = id;
        self
    }

    /// When it came.
    pub fn received_at(mut self, time: SystemTime) -> Self {
        self.0.head.received_at = time;
        self
    }

    /// The name of the server that received it, as its `Received` header says.
    pub fn domain(mut self, domain: impl Into<Arc<str>>) -> Self {
        self.0.head.domain = domain.into();
        self
    }

    /// What checks found in it.
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.0.head.verdict = Some(Arc::new(verdict));
        self
    }

    /// Its [digest](Message::digest), which is not made again.
    #[cfg(feature = "digest")]
    pub fn digest(self, digest: crate::Digest) -> Self {
        self.0.head.envelope.digest.set(digest);
        self
    }

    /// Its content, in pieces.
    pub fn pieces(mut self, pieces: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        self.0.body = Body::of_pieces(pieces, None);
        self
    }

    /// Its content, which is there whole.
    pub fn gathered(mut self, content: &Gathered) -> Self {
        self.0.body = content.body();
        self
    }

    /// Its content, from a source of the program's own. The source gives a piece of any length but
    /// zero, `None` behind the last one, and is not asked again after that or after an error.
    pub fn source(
        mut self,
        poll: impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.0.body = Body::of_source(poll);
        self
    }

    /// The message.
    #[must_use]
    pub fn build(self) -> Message {
        self.0
    }
}
