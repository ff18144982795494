//! The name that a message goes by, in its reply, its `Received` header and the logs.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A message's identity: unique across processes and hosts, sortable by time, 24 characters of
/// `0-9 A-Z` without `I L O U`.
///
/// It is made of the time in milliseconds, forty random bits of the process and a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; LENGTH]);

const LENGTH: usize = 24;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl MessageId {
    /// A new one, for a message that came at `time`.
    #[must_use]
    pub(crate) fn new(time: SystemTime) -> Self {
        static PROCESS: LazyLock<u64> =
            LazyLock::new(|| RandomState::new().build_hasher().finish());
        static COUNTER: AtomicU32 = AtomicU32::new(0);

        let milliseconds = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self::encode(milliseconds, *PROCESS, count)
    }

    fn encode(milliseconds: u128, process: u64, count: u32) -> Self {
        let bits = (milliseconds & 0xFFFF_FFFF_FFFF) << 72
            | u128::from(process & 0xFF_FFFF_FFFF) << 32
            | u128::from(count);
        let mut text = [0; LENGTH];
        // Half by half: shifts of 128 bits cost several times as much.
        let halves = [(bits >> 60) as u64, bits as u64];
        for (characters, half) in text.chunks_exact_mut(LENGTH / 2).zip(halves) {
            for (place, character) in characters.iter_mut().rev().enumerate() {
                let digit = (half >> (5 * place)) as usize & 31;
                *character = ALPHABET.get(digit).copied().unwrap_or(b'0');
            }
        }
        Self(text)
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no [`MessageId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a message: it has 24 digits and letters")]
pub struct InvalidMessageId;

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    fn from_str(text: &str) -> Result<Self, InvalidMessageId> {
        let characters: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| InvalidMessageId)?;
        let is_ours = characters.iter().all(|it| ALPHABET.contains(it));
        is_ours.then_some(Self(characters)).ok_or(InvalidMessageId)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_then_by_count() {
        let earlier = MessageId::encode(1_000, u64::MAX, 9);
        let later = MessageId::encode(1_001, 0, 0);
        assert!(earlier < later);
        assert!(MessageId::encode(1_000, 7, 1) < MessageId::encode(1_000, 7, 2));
    }

    #[test]
    fn every_bit_shows_in_the_text() {
        assert_eq!(MessageId::encode(0, 0, 0).as_str(), "0".repeat(24));
        assert_eq!(
            MessageId::encode(u128::MAX, u64::MAX, u32::MAX).as_str(),
            "Z".repeat(24)
        );
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let id = MessageId::new(SystemTime::now());
        assert_eq!(id.as_str().parse(), Ok(id));
        for text in ["", "0", &"o".repeat(24), &"0".repeat(25), &"U".repeat(24)] {
            assert_eq!(text.parse::<MessageId>(), Err(InvalidMessageId), "{text}");
        }
    }

    #[test]
    fn two_messages_of_one_instant_differ() {
        let now = SystemTime::now();
        assert_ne!(MessageId::new(now), MessageId::new(now));
    }
}
