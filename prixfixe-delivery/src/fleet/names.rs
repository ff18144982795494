//! What streams, subjects and consumers are called.

use prixfixe_server::Digest;
use sha2::{Digest as _, Sha256};

/// The names of a fleet's streams.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    stream: Box<str>,
    partitions: usize,
}

impl Names {
    pub(crate) fn new(stream: &str, partitions: usize) -> Self {
        Self {
            stream: stream.into(),
            partitions: partitions.max(1),
        }
    }

    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// The stream of a partition: what its subjects begin with, too.
    pub(crate) fn stream(&self, partition: usize) -> String {
        match self.partitions {
            1 => self.stream.to_string(),
            _ => format!("{}-{partition}", self.stream),
        }
    }

    /// All streams whose messages are to be delivered.
    pub(crate) fn streams(&self) -> impl Iterator<Item = String> {
        (0..self.partitions).map(|it| self.stream(it))
    }

    /// Whether a stream has the name of a partition, in this number of them or another.
    pub(crate) fn may_be_partition(&self, stream: &str) -> bool {
        let rest = stream.strip_prefix(&*self.stream);
        rest.is_some_and(|rest| {
            let number = rest.strip_prefix('-');
            rest.is_empty() || number.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
        })
    }

    /// The stream of what was given up.
    pub(crate) fn failed(&self) -> String {
        format!("{}_FAILED", self.stream)
    }

    /// The bucket of large contents.
    pub(crate) fn bucket(&self) -> &str {
        &self.stream
    }

    /// Where a message belongs: the same for each attempt of its client's.
    pub(crate) fn stream_of(&self, digest: &Digest) -> String {
        let [first, second, third, fourth, ..] = *digest.as_bytes();
        let number = u32::from_be_bytes([first, second, third, fourth]) as usize;
        self.stream(number % self.partitions)
    }

    /// The same, of a digest in hexadecimal.
    pub(crate) fn stream_of_word(&self, digest: &str) -> String {
        let number = digest.get(..8).unwrap_or_default();
        let number = u32::from_str_radix(number, 16).unwrap_or_default() as usize;
        self.stream(number % self.partitions)
    }

    /// Where a given-up message goes.
    pub(crate) fn failed_subject(&self, target: &str, digest: &str) -> String {
        format!("{}.{target}.{digest}", self.failed())
    }
}

/// What is to be delivered now.
pub(crate) fn due(stream: &str, target: &str, digest: &str) -> String {
    format!("{stream}.due.{target}.{digest}")
}

/// What is to be delivered later. A schedule has a subject of its own, or it replaces another. One
/// message may be there twice for a target: routes that have changed lead a repeat's other
/// recipients to it.
pub(crate) fn wait(stream: &str, target: &str, digest: &str, attempt: u32, mark: &str) -> String {
    format!("{stream}.wait.{target}.{digest}.{attempt}-{mark}")
}

/// Tells messages of one digest apart by who gets them.
pub(crate) fn mark(recipients: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for recipient in recipients {
        hash.update(recipient);
        hash.update(b"\n");
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// What is not to be delivered until somebody says so.
pub(crate) fn held(stream: &str, target: &str, digest: &str) -> String {
    format!("{stream}.held.{target}.{digest}")
}

/// What a consumer's name begins with.
pub(crate) const CONSUMER: &str = "deliver-";

/// The durable consumer that all servers of the fleet share.
pub(crate) fn consumer(target: &str) -> String {
    format!("{CONSUMER}{target}")
}

/// What the consumer of a target sees: nobody else's.
pub(crate) fn filter(stream: &str, target: &str) -> String {
    format!("{stream}.due.{target}.>")
}

/// One word of a subject, and of a consumer's name.
pub(crate) fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= 200 && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use prixfixe_server::{Client, Envelope, Message};

    use super::*;

    async fn digest(name: &str) -> Digest {
        let envelope = Envelope::builder().from("ann@example.com").unwrap();
        let envelope = envelope.to("bob@example.org").unwrap().build();
        let content = format!("Message-ID: <{name}@example.com>\r\n\r\n");
        let mut message = Message::new(Client::builder().build(), envelope, [content]);
        message.digest().await.unwrap()
    }

    #[tokio::test]
    async fn a_message_has_its_partition_and_all_partitions_have_some() {
        let one = Names::new("PRIXFIXE", 1);
        let four = Names::new("PRIXFIXE", 4);
        let mut seen = std::collections::HashSet::new();
        for number in 0..64 {
            let digest = digest(&number.to_string()).await;
            assert_eq!(one.stream_of(&digest), "PRIXFIXE");
            assert_eq!(
                four.stream_of(&digest),
                four.stream_of_word(&digest.to_string())
            );
            seen.insert(four.stream_of(&digest));
        }
        let all: std::collections::HashSet<String> = four.streams().collect();
        assert_eq!(seen, all);
        assert!(all.contains("PRIXFIXE-0") && all.contains("PRIXFIXE-3"));
        assert_eq!(four.failed(), "PRIXFIXE_FAILED");
    }

    #[test]
    fn a_name_that_means_more_to_a_server_is_no_word() {
        for text in ["relay", "a-b_C1"] {
            assert!(is_word(text), "{text}");
        }
        for text in ["", "a.b", "*", ">", "a b", "a\r\n"] {
            assert!(!is_word(text), "{text}");
        }
    }
}
