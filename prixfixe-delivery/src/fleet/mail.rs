//! The envelope of a message for one target, and the message that is made of it again.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::object_store::Object;
use bytes::Bytes;
use prixfixe_server::{BodyError, Digest, Message, Recipient, Reply};
use tokio::io::{AsyncRead, ReadBuf};

use super::names;
use crate::{InvalidEnvelope, StoredEnvelope, StoredRecipient, StoredTarget};

/// An envelope that was read.
#[derive(Debug)]
pub(super) struct Kept {
    envelope: StoredEnvelope,
    /// Those who are to get it still, by their places in the envelope.
    places: Vec<u32>,
}

/// Where a content comes from.
pub(super) enum Content {
    Here(Bytes),
    /// It is streamed.
    Object(Box<Object>),
}

/// What is stored of a message for the recipients at these places.
pub(super) fn write(
    message: &Message,
    digest: Digest,
    size: u64,
    target: &str,
    places: Vec<u32>,
) -> Vec<u8> {
    let targets = vec![StoredTarget::new(target, places)];
    StoredEnvelope::new(message, digest, size, targets).to_bytes()
}

/// Where these recipients are in the transaction. `None`: one of them is not there, or not in its
/// order.
pub(super) fn places(message: &Message, recipients: &[Recipient]) -> Option<Vec<u32>> {
    let mut rest = recipients;
    let mut places = Vec::with_capacity(recipients.len());
    // They are in the order of the transaction's, in which one may be there twice.
    for (place, recipient) in (0..).zip(message.envelope().recipients()) {
        if rest.first() == Some(recipient) {
            places.push(place);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    // Whoever has no place would get nothing, and nobody would know.
    rest.is_empty().then_some(places)
}

impl Kept {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        let envelope = StoredEnvelope::from_bytes(bytes)?;
        let first = envelope.targets.first();
        let places = first.map_or_else(Vec::new, |target| target.recipients.clone());
        Ok(Self { envelope, places })
    }

    pub(super) fn envelope(&self) -> &StoredEnvelope {
        &self.envelope
    }

    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    pub(super) fn recipient(&self, place: u32) -> Option<&StoredRecipient> {
        let place = usize::try_from(place).ok()?;
        self.envelope.recipients.get(place)
    }

    /// From when on it is tried: since it was received, or since an operator had it tried anew.
    pub(super) fn tried_since(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.envelope.tried_since())
    }

    /// The same envelope, to be tried as if it were new.
    pub(super) fn again(&self, now: SystemTime) -> Bytes {
        let mut envelope = self.envelope.clone();
        envelope.retried = Some(milliseconds(now));
        Bytes::from(envelope.to_bytes())
    }

    /// The message, as it came, for those who are to get it.
    pub(super) fn message(&self, content: Content) -> Result<Message, InvalidEnvelope> {
        self.envelope
            .message(&self.places, |builder| match content {
                Content::Here(content) => builder.pieces([content]),
                Content::Object(object) => builder.source(source(*object)),
            })
    }

    /// Tells what is kept for these from what is kept for others.
    pub(super) fn mark(&self, places: &[u32]) -> String {
        let recipients = places.iter().filter_map(|place| self.recipient(*place));
        let mut recipients: Vec<&str> = recipients.map(|it| it.to.as_str()).collect();
        // A repeat has them in another order, and so at other places.
        recipients.sort_unstable();
        // Its attempts begin anew, and what comes of them is no repeat of what came before.
        let retried = self.envelope.retried.map(|it| it.to_string());
        names::mark(recipients.into_iter().chain(retried.as_deref()))
    }

    /// The same envelope for the recipients at these places.
    pub(super) fn with_places(&self, places: Vec<u32>) -> Bytes {
        let mut envelope = self.envelope.clone();
        for target in &mut envelope.targets {
            target.recipients.clone_from(&places);
        }
        Bytes::from(envelope.to_bytes())
    }
}

/// Since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How much of an object is read at once.
const PIECE: usize = 64 << 10;

/// The pieces of an object.
fn source(
    object: impl AsyncRead + Unpin + Send + 'static,
) -> impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> + Send + Sync + 'static
{
    // Nobody else has it: the lock makes it `Sync`.
    let mut object = Mutex::new(object);
    let mut piece = vec![0; PIECE];
    move |cx| {
        let object = object.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut read = ReadBuf::new(&mut piece);
        match ready!(Pin::new(object).poll_read(cx, &mut read)) {
            Ok(()) if read.filled().is_empty() => Poll::Ready(Ok(None)),
            Ok(()) => Poll::Ready(Ok(Some(Bytes::copy_from_slice(read.filled())))),
            Err(error) => {
                tracing::warn!(cause = %error, "cannot read an object of the spool");
                Poll::Ready(Err(BodyError::Refused(Reply::TRY_LATER)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_server::{Client, Envelope};

    use super::*;

    #[tokio::test]
    async fn some_of_the_recipients_get_it_and_its_digest_is_that_of_all() {
        let envelope = Envelope::builder().from("ann@example.com").unwrap();
        let to = [
            "bob@example.org",
            "eve@example.org",
            "bob@example.org",
            "joe@example.org",
        ];
        let envelope = to
            .iter()
            .fold(envelope, |it, to| it.to(to).unwrap())
            .build();
        let recipients = envelope.recipients().to_vec();
        let client = Client::builder().ehlo("mail.example.com").build();
        let mut message = Message::new(client, envelope, ["Subject: x\r\n"]);
        let digest = message.digest().await.unwrap();
        let bytes = write(
            &message,
            digest,
            12,
            "relay",
            places(&message, &recipients[1..]).unwrap(),
        );
        let kept = Kept::read(&bytes).unwrap();
        assert_eq!(kept.places(), [1, 2, 3]);
        let content = || Content::Here(Bytes::from_static(b"Subject: x\r\n"));
        let mut part = kept.message(content()).unwrap();
        assert_eq!(part.envelope().recipients(), &recipients[1..]);
        assert!(part.is_part());
        assert_eq!(part.digest().await, Ok(digest));

        let rest = Kept::read(&kept.with_places(vec![3])).unwrap();
        assert_eq!(rest.places(), [3]);
        assert_eq!(rest.recipient(3).unwrap().to, "joe@example.org");
        let rest = rest.message(content()).unwrap();
        assert_eq!(rest.envelope().recipients(), &recipients[3..]);
    }

    #[tokio::test]
    async fn what_is_tried_anew_has_another_mark_than_before() {
        let envelope = Envelope::builder().from("ann@example.com").unwrap();
        let envelope = envelope.to("bob@example.org").unwrap().build();
        let client = Client::builder().build();
        let mut message = Message::new(client, envelope, ["Subject: x\r\n"]);
        let digest = message.digest().await.unwrap();
        let kept = Kept::read(&write(&message, digest, 12, "relay", vec![0])).unwrap();
        let again = Kept::read(&kept.again(SystemTime::now())).unwrap();
        assert_eq!(kept.mark(&[0]), kept.mark(&[0]));
        assert_ne!(kept.mark(&[0]), again.mark(&[0]));
        assert!(again.tried_since() > kept.tried_since() - Duration::from_secs(1));
        assert_eq!(again.envelope().received, kept.envelope().received);
    }

    #[test]
    fn what_is_no_envelope_is_an_error() {
        for text in ["", "{}", "x"] {
            assert!(Kept::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
