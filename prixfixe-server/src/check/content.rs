//! What a check of contents is given.

use prixfixe_core::Reply;

use super::Verdict;
use super::edit::apply_to_content;
use crate::gather::Gathering;
use crate::message::Head;
use crate::{Client, Envelope, Gathered, MessageId, trace};

/// A content that is complete.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    client: &'a Client,
    envelope: &'a Envelope,
    gathered: &'a Gathered,
    /// `None`: a test's.
    head: Option<&'a Head>,
}

impl<'a> Content<'a> {
    /// The question, for a test of a check.
    #[must_use]
    pub fn new(client: &'a Client, envelope: &'a Envelope, gathered: &'a Gathered) -> Self {
        Self {
            client,
            envelope,
            gathered,
            head: None,
        }
    }

    /// That of a message.
    pub(crate) fn of(head: &'a Head, gathered: &'a Gathered) -> Self {
        Self {
            client: &head.client,
            envelope: &head.envelope,
            gathered,
            head: Some(head),
        }
    }

    /// The name that the message has in the reply, the `Received` header and the logs. A content
    /// that a test [made](Self::new) has none.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        self.head.map(|head| head.id)
    }

    /// The `Received` field that will stand before the content (RFC 5321 section 4.4), CRLF at the
    /// end of each line: for filters that look at how a message came. Empty where a test
    /// [made](Self::new) the content.
    #[must_use]
    pub fn received_header(&self) -> Vec<u8> {
        self.head.map(trace::received).unwrap_or_default()
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

    /// The content with these edits: for a check that asks others, one after the other. It is
    /// gathered anew where there is something to edit, within the server's
    /// [`message_memory`](crate::Settings::message_memory).
    ///
    /// # Errors
    ///
    /// A header that is too large to be edited, or what failed as in
    /// [`Message::gather`](crate::Message::gather).
    pub async fn edited(&self, verdict: &Verdict) -> Result<Gathered, Reply> {
        let Some(mut body) = apply_to_content(verdict, self.gathered).await? else {
            return Ok(self.gathered.clone());
        };
        match self.head {
            Some(head) => head.gathering.gather(&mut body).await,
            None => Gathering::default().gather(&mut body).await,
        }
    }

    /// The same question about another content.
    #[must_use]
    pub fn with(mut self, gathered: &'a Gathered) -> Self {
        self.gathered = gathered;
        self
    }
}
