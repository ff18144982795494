//! Messages that have just come in, and are still in memory when they are delivered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prixfixe_spool::{Companion, MessageId};

use super::envelope::StoredEnvelope;

/// Bytes of all messages that are kept in memory, on their way through the log and behind it.
const MOST: usize = 16 << 20;

/// Bytes of those of them that wait for their delivery. The oldest go first: they are read from the disk then.
const MOST_WAITING: usize = 8 << 20;

/// A message as it was stored.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) envelope: Arc<StoredEnvelope>,
    pub(super) content: Bytes,
    size: usize,
    room: Arc<AtomicUsize>,
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
    /// `stored` is the length of the envelope on the disk: in memory it takes about twice as much.
    pub(super) fn keep(
        &self,
        envelope: StoredEnvelope,
        stored: usize,
        content: Bytes,
    ) -> Option<Arc<Kept>> {
        let size = 2 * stored + content.len();
        let before = self.0.fetch_add(size, Ordering::Relaxed);
        let kept = Kept {
            envelope: Arc::new(envelope),
            content,
            size,
            room: Arc::clone(&self.0),
        };
        // Dropped here, it gives its room back.
        (before + size <= MOST).then(|| Arc::new(kept))
    }
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
    use prixfixe_server::{Client, Envelope, Message};

    use super::*;

    async fn envelope() -> StoredEnvelope {
        let envelope = Envelope::builder().from("ann@example.com").unwrap();
        let envelope = envelope.to("bob@example.org").unwrap().build();
        let client = Client::builder().build();
        let mut message = Message::new(client, envelope, ["Hello"]);
        let digest = message.digest().await.unwrap();
        StoredEnvelope::new(&message, digest, 5, Vec::new())
    }

    #[tokio::test]
    async fn what_is_kept_has_a_bound_and_gives_its_room_back() {
        let (room, envelope) = (Room::default(), envelope().await);
        let content = Bytes::from(vec![0; 256 << 10]);
        let keep = || room.keep(envelope.clone(), 500, content.clone());
        let kept: Vec<_> = std::iter::from_fn(keep).collect();
        assert!(kept.len() > 50 && kept.len() * content.len() <= MOST);
        assert!(keep().is_none());
        drop(kept);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
        assert!(keep().is_some());
    }

    #[tokio::test]
    async fn the_oldest_make_room_for_those_that_come() {
        let (room, envelope) = (Room::default(), envelope().await);
        let content = Bytes::from(vec![0; 256 << 10]);
        let mut waiting = KeptMessages::default();
        let id = |number| MessageId::from_bits(number);
        for number in 1..=100 {
            let kept = room.keep(envelope.clone(), 500, content.clone());
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
