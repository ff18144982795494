//! What a handler is given.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use crate::{Body, BodyError, Client, Envelope, ForwardPath, MessageId, trace};

/// A message as it arrives: its envelope is complete, its content is still being read.
///
/// It can be moved into a task of its own. The client waits for the handler's answer all the while.
#[derive(Debug)]
pub struct Message {
    pub(crate) head: Head,
    pub(crate) body: Body,
}

/// A message that was read to its end.
#[derive(Debug, Clone)]
pub struct CollectedMessage {
    head: Head,
    content: Bytes,
}

/// All of a message but its content.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) id: MessageId,
    pub(crate) received_at: SystemTime,
    pub(crate) domain: Arc<str>,
    pub(crate) client: Arc<Client>,
    pub(crate) envelope: Arc<Envelope>,
}

macro_rules! head_accessors {
    () => {
        /// The name that it has in the reply, the `Received` header and the logs.
        #[must_use]
        pub fn id(&self) -> MessageId {
            self.head.id
        }

        /// When its DATA, or its first BDAT, came.
        #[must_use]
        pub fn received_at(&self) -> SystemTime {
            self.head.received_at
        }

        /// Who sent it.
        #[must_use]
        pub fn client(&self) -> &Client {
            &self.head.client
        }

        /// From whom and to whom.
        #[must_use]
        pub fn envelope(&self) -> &Envelope {
            &self.head.envelope
        }

        /// The trace headers of a copy that is for all recipients: `Return-Path`, a `Delivered-To` for each of them, and
        /// `Received` (RFC 5321 section 4.4), CRLF at the end of each line.
        ///
        /// Where each recipient gets a copy of its own, this would tell everybody who else got the message, those of a
        /// `Bcc` included (RFC 5321 section 7.2). Use [`trace_headers_for`](Self::trace_headers_for) then.
        #[must_use]
        pub fn trace_headers(&self) -> Vec<u8> {
            trace::headers(&self.head, self.head.envelope.forward_paths())
        }

        /// The trace headers of a copy for these recipients alone: it names no other.
        #[must_use]
        pub fn trace_headers_for<'a>(
            &self,
            recipients: impl IntoIterator<Item = &'a ForwardPath>,
        ) -> Vec<u8> {
            trace::headers(&self.head, recipients)
        }

        /// The `Received` header alone, for what is passed on to another server: `Return-Path` and `Delivered-To` belong to
        /// final delivery (RFC 5321 section 4.4). It names a recipient only where the envelope has no other.
        #[must_use]
        pub fn received_header(&self) -> Vec<u8> {
            trace::received(&self.head)
        }
    };
}

impl Message {
    head_accessors!();

    /// The content.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Reads the content to its end and keeps all of it: at most the server's `max_message_size`, which is then
    /// what each message may cost in memory. To bound the memory whatever the size, read
    /// [`body`](Self::body) piece by piece.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content did not come to its proper end.
    pub async fn collect(mut self) -> Result<CollectedMessage, BodyError> {
        let first = self.body.chunk().await?.unwrap_or_default();
        let Some(second) = self.body.chunk().await? else {
            return Ok(CollectedMessage {
                head: self.head,
                content: first,
            });
        };
        let mut content = BytesMut::from(first);
        content.extend_from_slice(&second);
        drop(second);
        while let Some(chunk) = self.body.chunk().await? {
            content.extend_from_slice(&chunk);
        }
        Ok(CollectedMessage {
            head: self.head,
            content: content.freeze(),
        })
    }
}

impl CollectedMessage {
    head_accessors!();

    /// The content, CRLF at its line ends, transparency dots removed.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The content alone.
    #[must_use]
    pub fn into_content(self) -> Bytes {
        self.content
    }
}
