//! Messages that have just come in, and are still in memory when they are delivered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prixfixe_server::{Digest, Envelope, Message, Recipient};
use prixfixe_spool::{Companion, MessageId};

use super::envelope::{StoredEnvelope, StoredTarget, milliseconds};

/// Bytes of all messages that are kept in memory, on their way through the log and behind it.
const MOST: usize = 16 << 20;

/// Bytes of those of them that wait for their delivery. The oldest go first: they are read from the disk then.
const MOST_WAITING: usize = 8 << 20;

/// A message as it was received. Nothing of it is parsed again for its delivery.
#[derive(Debug)]
pub(super) struct Kept {
    /// All of it but the content.
    head: Message,
    digest: Digest,
    content: Bytes,
    targets: Vec<StoredTarget>,
    /// Made for those who need it: memory that one thread takes and another gives back costs both
    /// of them time.
    envelope: OnceLock<Arc<StoredEnvelope>>,
    size: usize,
    room: Arc<AtomicUsize>,
}

impl Kept {
    /// What was stored of it.
    pub(super) fn envelope(&self) -> &Arc<StoredEnvelope> {
        self.envelope.get_or_init(|| {
            let length = self.content.len() as u64;
            let targets = self.targets.clone();
            Arc::new(StoredEnvelope::new(
                &self.head,
                self.digest,
                length,
                targets,
            ))
        })
    }

    /// The targets that it goes to.
    pub(super) fn targets(&self) -> &[StoredTarget] {
        &self.targets
    }

    /// Whether its sender has said of a recipient what it wants to hear of.
    pub(super) fn is_any_asked_for(&self) -> bool {
        let mut recipients = self.head.envelope().recipients().iter();
        recipients.any(|it| it.parameters().notify.is_some())
    }

    /// From when on it is tried, in milliseconds since 1970.
    pub(super) fn tried_since(&self) -> u64 {
        milliseconds(self.head.received_at())
    }

    /// The message, for the recipients at these places.
    pub(super) fn message(&self, places: &[u32]) -> Message {
        let message = self.head.with_pieces([self.content.clone()]);
        let recipients = message.envelope().recipients();
        let mut each = places.iter().enumerate();
        let is_in_order = each.all(|(at, place)| usize::try_from(*place) == Ok(at));
        if is_in_order && places.len() == recipients.len() {
            return message;
        }
        let chosen = places.iter();
        let chosen = chosen.filter_map(|place| recipients.get(usize::try_from(*place).ok()?));
        let chosen = chosen.cloned().collect();
        message.with_recipients(chosen)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.room.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// Counts what is kept.
#[derive(Debug, Default)]
pub(super) struct Room(Arc<AtomicUsize>);

impl Room {
    /// The message, for whoever delivers it. `None`: there is too much already.
    ///
    /// `envelope` is what was stored of it. `taken` is the memory that its content takes, which may
    /// be more than its length.
    pub(super) fn keep(
        &self,
        message: &Message,
        digest: Digest,
        envelope: StoredEnvelope,
        content: &Bytes,
        taken: usize,
    ) -> Option<Arc<Kept>> {
        let size = size_of::<Kept>() + memory_of(&envelope) + taken.max(content.len());
        let before = self.0.fetch_add(size, Ordering::Relaxed);
        let kept = Kept {
            head: message.with_pieces([Bytes::new()]),
            digest,
            content: content.clone(),
            targets: envelope.targets,
            envelope: OnceLock::new(),
            size,
            room: Arc::clone(&self.0),
        };
        // Dropped here, it gives its room back.
        (before + size <= MOST).then(|| Arc::new(kept))
    }
}

/// Bytes of an envelope as it is stored and as it was received. The latter has the same texts, and
/// its list of recipients has grown one by one: up to half of it is not used.
fn memory_of(envelope: &StoredEnvelope) -> usize {
    let recipients = 2 * envelope.recipients.len() * size_of::<Recipient>();
    let both = 2 * envelope.memory();
    size_of::<StoredEnvelope>() + size_of::<Envelope>() + recipients + both
}

/// Those that wait for their delivery. A name is the higher the later it was given.
#[derive(Debug, Default)]
pub(super) struct KeptMessages {
    messages: BTreeMap<MessageId, Arc<Kept>>,
    size: usize,
}

impl KeptMessages {
    pub(super) fn add(&mut self, id: MessageId, companion: Option<Companion>) {
        let kept = companion.map(Arc::downcast::<Kept>);
        let Some(Ok(kept)) = kept else {
            return;
        };
        self.size += kept.size;
        self.messages.insert(id, kept);
        while self.size > MOST_WAITING
            && let Some((_, oldest)) = self.messages.pop_first()
        {
            self.size = self.size.saturating_sub(oldest.size);
        }
    }

    pub(super) fn get(&self, id: MessageId) -> Option<Arc<Kept>> {
        self.messages.get(&id).cloned()
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        if let Some(kept) = self.messages.remove(&id) {
            self.size = self.size.saturating_sub(kept.size);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prixfixe_server::Client;

    use super::*;

    const TO: [&str; 3] = ["bob@example.org", "cyd@example.org", "dan@example.org"];

    async fn received() -> (StoredEnvelope, Message) {
        let mut envelope = Envelope::builder().from("ann@example.com").unwrap();
        for to in TO {
            envelope = envelope.to(to).unwrap();
        }
        let client = Client::builder().build();
        let mut message = Message::new(client, envelope.build(), ["Hello"]);
        let digest = message.digest().await.unwrap();
        let targets = vec![StoredTarget::new("hook", vec![0, 1, 2])];
        let stored = StoredEnvelope::new(&message, digest, 5, targets);
        (stored, message)
    }

    fn keep(
        room: &Room,
        received: &(StoredEnvelope, Message),
        content: &Bytes,
    ) -> Option<Arc<Kept>> {
        let (envelope, message) = received;
        let digest = message.envelope().digest().unwrap();
        room.keep(message, digest, envelope.clone(), content, content.len())
    }

    #[tokio::test]
    async fn what_is_kept_has_a_bound_and_gives_its_room_back() {
        let (room, received) = (Room::default(), received().await);
        let content = Bytes::from(vec![0; 256 << 10]);
        let keep = || keep(&room, &received, &content);
        let kept: Vec<_> = std::iter::from_fn(keep).collect();
        assert!(kept.len() > 50 && kept.len() * content.len() <= MOST);
        assert!(keep().is_none());
        drop(kept);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
        assert!(keep().is_some());
    }

    /// Contents that came in pieces, and envelopes: what they take, and not what they use.
    #[tokio::test]
    async fn what_is_kept_counts_as_much_memory_as_it_takes() {
        let (mut envelope, message) = received().await;
        let used = envelope.memory();
        envelope.recipients.reserve_exact(1000);
        let added = envelope.recipients.capacity() - TO.len();
        let of_each = size_of_val(envelope.recipients.first().unwrap());
        assert!(envelope.memory() >= used + added * of_each);

        let mut content = Vec::with_capacity(100_000);
        content.extend_from_slice(b"Hello");
        let (taken, room) = (content.capacity(), Room::default());
        let held = taken + envelope.memory();
        let (digest, content) = (message.envelope().digest().unwrap(), Bytes::from(content));
        let kept = room
            .keep(&message, digest, envelope, &content, taken)
            .unwrap();
        assert!(room.0.load(Ordering::Relaxed) >= held);
        drop(kept);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_kept_is_delivered_as_what_was_stored_is() {
        let received = received().await;
        let kept = keep(&Room::default(), &received, &Bytes::from("Hello")).unwrap();
        assert_eq!(**kept.envelope(), received.0);
        assert_eq!(kept.targets(), received.0.targets);
        assert_eq!(kept.tried_since(), received.0.tried_since());
        assert!(!kept.is_any_asked_for());
        for places in [&[0, 1, 2][..], &[1], &[2, 0], &[0, 1], &[]] {
            let from_memory = kept.message(places);
            let stored = received.0.message(places, |it| it.pieces(["Hello"]));
            let stored = stored.unwrap();
            assert_eq!(from_memory.envelope(), stored.envelope());
            assert_eq!(from_memory.envelope().digest(), stored.envelope().digest());
            assert_eq!(from_memory.is_part(), stored.is_part());
            assert_eq!(from_memory.id(), stored.id());
            assert_eq!(from_memory.received_header(), stored.received_header());
        }
    }

    #[tokio::test]
    async fn the_oldest_make_room_for_those_that_come() {
        let (room, received) = (Room::default(), received().await);
        let mut waiting = KeptMessages::default();
        let id = |number| MessageId::from_bits(number);
        for number in 1..=100 {
            let kept = keep(&room, &received, &vec![0; 256 << 10].into());
            waiting.add(id(number), Some(kept.unwrap()));
        }
        assert!(waiting.get(id(1)).is_none() && waiting.get(id(100)).is_some());
        assert!(waiting.size <= MOST_WAITING);
        assert_eq!(room.0.load(Ordering::Relaxed), waiting.size);
        (1..=100).for_each(|number| waiting.remove(id(number)));
        assert_eq!((waiting.size, waiting.messages.len()), (0, 0));
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }
}
