//! What a session is given to keep.

mod builder;

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use prixfixe_core::Reply;

pub use self::builder::MessageBuilder;
use crate::gather::{Gathering, MessageMemory};
use crate::{Body, BodyError, Client, Envelope, Gathered, MessageId, Recipient, Verdict, trace};

/// A message as it arrives: its envelope is complete, its content is still being read.
///
/// It can be moved into a task of its own. The client waits for the session's answer all the while.
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
    pub(crate) client: Client,
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) gathering: Gathering,
    /// Boxed: without checks there is none.
    pub(crate) verdict: Option<Arc<Verdict>>,
    /// What the client sent, where checks have changed it.
    #[cfg(feature = "digest")]
    pub(crate) sent: Option<Arc<Sent>>,
    /// Its digest is that of a transaction with other recipients too.
    #[cfg(feature = "digest")]
    pub(crate) is_part: bool,
}

/// A message as its client sent it.
#[cfg(feature = "digest")]
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) content: Gathered,
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

        /// The name of the server that received it, as its `Received` header says.
        #[must_use]
        pub fn domain(&self) -> &str {
            &self.head.domain
        }

        /// From whom and to whom.
        #[must_use]
        pub fn envelope(&self) -> &Envelope {
            &self.head.envelope
        }

        /// The same, to be kept while the message is handed on.
        #[must_use]
        pub fn shared_envelope(&self) -> Arc<Envelope> {
            Arc::clone(&self.head.envelope)
        }

        /// What the [checks](crate::Check) found in it.
        pub fn verdict(&self) -> &Verdict {
            static NOTHING: LazyLock<Verdict> = LazyLock::new(Verdict::default);
            self.head.verdict.as_deref().unwrap_or(&NOTHING)
        }

        /// What a relay puts before the content: `Received` (RFC 5321 section 4.4), CRLF at the end
        /// of each line. It names a recipient only where the envelope has no other.
        #[must_use]
        pub fn received_header(&self) -> Vec<u8> {
            trace::received(&self.head)
        }

        /// What final delivery puts before the content: `Return-Path`, a `Delivered-To` for each of
        /// these recipients, and `Received` (RFC 5321 section 4.4), CRLF at the end of each line.
        /// Behind them comes [`header_separator`](crate::header_separator), then the content.
        ///
        /// Name the recipients of that copy alone. Those of the whole [`envelope`](Self::envelope)
        /// are right for a copy that they share. Where each recipient gets a copy of its own, they
        /// would tell everybody who else got the message, those of a `Bcc` included (RFC 5321
        /// section 7.2).
        #[must_use]
        pub fn trace_headers<'a>(
            &self,
            recipients: impl IntoIterator<Item = &'a Recipient>,
        ) -> Vec<u8> {
            trace::headers(&self.head, recipients)
        }
    };
}

impl Message {
    /// A message of a test's, or of a program that makes messages itself. Its body gives these
    /// pieces, one at a time.
    ///
    /// ```
    /// use prixfixe_server::{Client, Envelope, Message};
    ///
    /// let client = Client::builder().ehlo("mail.example.com").build();
    /// let envelope = Envelope::builder().from("ann@example.com")?.to("bob@example.org")?.build();
    /// let message = Message::new(client, envelope, ["Subject: hello\r\n", "\r\nHow are you?\r\n"]);
    /// assert_eq!(message.client().helo(), Some("mail.example.com"));
    /// # Ok::<(), prixfixe_server::InvalidMailbox>(())
    /// ```
    #[must_use]
    pub fn new(
        client: Client,
        envelope: Envelope,
        pieces: impl IntoIterator<Item = impl Into<Bytes>>,
    ) -> Self {
        Self::with_body(client, envelope, Body::of_pieces(pieces, None))
    }

    /// As [`new`](Self::new), and after the pieces the body breaks off with this error.
    #[must_use]
    pub fn broken(
        client: Client,
        envelope: Envelope,
        pieces: impl IntoIterator<Item = impl Into<Bytes>>,
        error: BodyError,
    ) -> Self {
        Self::with_body(client, envelope, Body::of_pieces(pieces, Some(error)))
    }

    fn with_body(client: Client, envelope: Envelope, body: Body) -> Self {
        let received_at = SystemTime::now();
        let head = Head {
            id: MessageId::new(received_at),
            received_at,
            domain: Arc::from("localhost"),
            client,
            envelope: Arc::new(envelope),
            gathering: Gathering::default(),
            verdict: None,
            #[cfg(feature = "digest")]
            sent: None,
            #[cfg(feature = "digest")]
            is_part: false,
        };
        Self { head, body }
    }

    /// Describes a message that a program has kept and hands on now.
    pub fn builder(client: Client, envelope: Envelope) -> MessageBuilder {
        MessageBuilder::new(client, envelope)
    }

    head_accessors!();

    /// The same message with this content, for whoever has read its content and kept it. All else
    /// is shared with this one, and nothing of it is made again. Where checks have changed the
    /// message, ask for its [digest](Self::digest) before.
    #[must_use]
    pub fn with_pieces(&self, pieces: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        let head = Head {
            // It is as large as the message, and is needed for the digest alone.
            #[cfg(feature = "digest")]
            sent: None,
            ..self.head.clone()
        };
        Self {
            head,
            body: Body::of_pieces(pieces, None),
        }
    }

    /// The content.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The same message for these recipients alone. Its [digest](Self::digest) stays that of the
    /// whole transaction.
    #[must_use]
    pub fn with_recipients(mut self, recipients: Vec<Recipient>) -> Self {
        #[cfg(feature = "digest")]
        let whole = Arc::clone(&self.head.envelope);
        let envelope = Arc::make_mut(&mut self.head.envelope);
        envelope.recipients = recipients;
        #[cfg(feature = "digest")]
        if let Some(digest) = whole.digest.get() {
            self.head.envelope.digest.set(digest);
            self.head.is_part |= whole.recipients != self.head.envelope.recipients;
        }
        self
    }

    /// True where this is for others than all recipients of the transaction whose
    /// [digest](Self::digest) it has: the digest alone does not name it then.
    #[cfg(feature = "digest")]
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.head.is_part
    }

    /// Reads the content to its end and keeps all of it: at most the server's `max_message_size`,
    /// which is then what each message may cost in memory. To bound the memory whatever the size,
    /// read [`body`](Self::body) piece by piece.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content did not come to its proper end.
    pub async fn collect(self) -> Result<CollectedMessage, BodyError> {
        self.collect_up_to(u64::MAX).await
    }

    /// Reads the content to its end and keeps all of it, in memory within the server's
    /// [`message_memory`](crate::Settings::message_memory), beyond that in a file. What is gathered
    /// already is not copied.
    ///
    /// # Errors
    ///
    /// The reply of what failed: the body, or the file.
    pub async fn gather(&mut self) -> Result<Gathered, Reply> {
        if let Some(gathered) = self.body.unread() {
            return Ok(gathered.clone());
        }
        let gathered = self.head.gathering.gather(&mut self.body).await?;
        // So that it can be read all the same.
        self.body = gathered.body();
        Ok(gathered)
    }

    /// Counts so many bytes within the server's
    /// [`message_memory`](crate::Settings::message_memory): for whoever makes something of the
    /// message that is as large as the message. `None`: so many are not left.
    #[must_use]
    pub fn reserve_memory(&self, bytes: u64) -> Option<MessageMemory> {
        self.head.gathering.reserve(bytes)
    }

    /// The name that this message has in every attempt of its sender's, as
    /// [`Digest`](crate::Digest) says. Gathers the content, which can be read all the same; asked
    /// again it is there at once.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather).
    #[cfg(feature = "digest")]
    pub async fn digest(&mut self) -> Result<crate::Digest, Reply> {
        let sent = self.head.sent.clone();
        let envelope = match &sent {
            Some(sent) => Arc::clone(&sent.envelope),
            None => Arc::clone(&self.head.envelope),
        };
        if let Some(digest) = envelope.digest.get() {
            return Ok(digest);
        }
        let content = match &sent {
            Some(sent) => sent.content.clone(),
            None => self.gather().await?,
        };
        let digest = crate::digest::digest(&envelope, &content, self.head.id).await?;
        envelope.digest.set(digest);
        // The envelope that the checks have made of it.
        self.head.envelope.digest.set(digest);
        Ok(digest)
    }

    /// Has the [digest](Self::digest) made while the content is read: [`Envelope::digest`] has it
    /// when the end has been read. For whoever streams a message and wants to know it by its name
    /// afterwards.
    #[cfg(feature = "digest")]
    pub fn hash_while_read(&mut self) {
        // What checks have changed is there whole, and is not what was sent.
        if self.head.sent.is_none() && self.head.envelope.digest.get().is_none() {
            let envelope = Arc::clone(&self.head.envelope);
            self.body
                .watch(crate::digest::Watch::new(envelope, self.head.id));
        }
    }

    /// [`collect`](Self::collect), for a message of at most so many bytes.
    ///
    /// # Errors
    ///
    /// As `collect`, and [`BodyError::TooLarge`], whose reply is `552 5.3.4`.
    pub async fn collect_up_to(mut self, limit: u64) -> Result<CollectedMessage, BodyError> {
        let content = collect_body(&mut self.body, limit).await?;
        Ok(CollectedMessage {
            head: self.head,
            content,
        })
    }
}

/// A content of one piece is not copied.
async fn collect_body(body: &mut Body, limit: u64) -> Result<Bytes, BodyError> {
    let within = |length: usize, more: usize| match (length as u64).saturating_add(more as u64) {
        sum if sum > limit => Err(BodyError::TooLarge),
        _ => Ok(()),
    };
    let first = body.chunk().await?.unwrap_or_default();
    within(first.len(), 0)?;
    let Some(second) = body.chunk().await? else {
        return Ok(first);
    };
    within(first.len(), second.len())?;
    let mut content = BytesMut::from(first);
    content.extend_from_slice(&second);
    drop(second);
    while let Some(chunk) = body.chunk().await? {
        within(content.len(), chunk.len())?;
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
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
