//! What a queue keeps of a message, so that a start reads no contents: at most 1 KiB.

use super::envelope::StoredEnvelope;

/// What a queue has to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    /// When it was received, in milliseconds since 1970.
    pub(super) received: u64,
    /// Bytes of its content.
    pub(super) size: u64,
    pub(super) targets: Vec<SummaryTarget>,
}

/// A target of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SummaryTarget {
    pub(super) name: String,
    /// Where it goes there: a hash of the domain of its first recipient.
    pub(super) destination: u16,
}

/// The log takes no more.
const MAX: usize = 1024;
const VERSION: u8 = 1;

impl Summary {
    pub(super) fn of(envelope: &StoredEnvelope) -> Self {
        let targets = envelope.targets.iter().map(|target| SummaryTarget {
            name: target.name.clone(),
            destination: envelope
                .recipients_of(target)
                .next()
                .map_or(0, |it| destination(&it.to)),
        });
        Self {
            received: envelope.tried_since(),
            size: envelope.size,
            targets: targets.collect(),
        }
    }

    /// Nothing where it would be too long: the envelope has to be read then.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(VERSION);
        bytes.extend(self.received.to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        for target in &self.targets {
            let Ok(length) = u8::try_from(target.name.len()) else {
                return Vec::new();
            };
            bytes.extend(target.destination.to_le_bytes());
            bytes.push(length);
            bytes.extend(target.name.as_bytes());
        }
        match bytes.len() > MAX {
            true => Vec::new(),
            false => bytes,
        }
    }

    /// `None`: it is that of a later version, or there is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (received, rest) = rest.split_first_chunk()?;
        let (size, mut rest) = rest.split_first_chunk()?;
        if *version != VERSION {
            return None;
        }
        let mut targets = Vec::new();
        while !rest.is_empty() {
            let (destination, behind) = rest.split_first_chunk()?;
            let (length, behind) = behind.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            targets.push(SummaryTarget {
                name: std::str::from_utf8(name).ok()?.to_owned(),
                destination: u16::from_le_bytes(*destination),
            });
            rest = behind;
        }
        Some(Self {
            received: u64::from_le_bytes(*received),
            size: u64::from_le_bytes(*size),
            targets,
        })
    }
}

/// FNV-1a of the domain. Two that share a number share their turns.
fn destination(address: &str) -> u16 {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let hash = domain.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    (hash >> 16) as u16 ^ hash as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_as_it_was_written_and_nothing_else_is() {
        let target = |name: &str| SummaryTarget {
            name: name.to_owned(),
            destination: destination("bob@Example.org"),
        };
        let summary = Summary {
            received: 17,
            size: 1 << 40,
            targets: vec![target("hook"), target("bus")],
        };
        let bytes = summary.to_bytes();
        assert_eq!(Summary::from_bytes(&bytes), Some(summary));
        for end in [0, 1, 8, 16, 18, 19, 20, bytes.len() - 1] {
            assert_eq!(
                Summary::from_bytes(bytes.get(..end).unwrap_or_default()),
                None
            );
        }
        assert_eq!(destination("a@example.ORG"), destination("b@example.org"));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let target = SummaryTarget {
            name: "x".repeat(200),
            destination: 0,
        };
        let summary = Summary {
            received: 0,
            size: 0,
            targets: vec![target; 6],
        };
        assert!(summary.to_bytes().is_empty());
    }
}
