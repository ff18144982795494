//! What became of messages that their clients may send again, although some of their recipients
//! have them.
//!
//! SMTP has one reply for all recipients. Where they came out differently a client that is told
//! `451` sends to all of them again. So the final outcomes are remembered under the message's
//! digest, and a repeat goes to the others alone.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prixfixe_server::{Digest, Envelope, Recipient, Reply};

use crate::{FailureKind, Outcomes};

/// How many outcomes are remembered: some 12 MiB where addresses are of usual length.
const MOST: usize = 65_536;

/// How long.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The outcomes of recipients by the digest of their message.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    table: Mutex<Table>,
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Digest, Entry>,
    /// How many messages of a sender's to the same recipients are known: most transactions need no
    /// digest then.
    envelopes: HashMap<u64, usize>,
    /// The oldest first.
    order: VecDeque<(Digest, Instant)>,
    outcomes: usize,
}

#[derive(Debug)]
struct Entry {
    outcomes: Final,
    envelope: u64,
    at: Instant,
}

/// The final outcomes of a message: it was taken, or will never be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Final(HashMap<Box<str>, Result<(), Reply>>);

impl Final {
    pub(crate) fn of(&self, recipient: &Recipient) -> Option<&Result<(), Reply>> {
        self.0.get(&*key(recipient))
    }
}

/// As the digest has it.
fn key(recipient: &Recipient) -> Box<str> {
    match recipient.path().mailbox() {
        None => "postmaster".into(),
        Some(mailbox) => {
            let domain = mailbox.domain().to_ascii();
            [mailbox.local_part(), "@", &*domain].concat().into()
        }
    }
}

impl Memory {
    /// False: no message of this sender's to these recipients is known.
    pub(crate) fn may_know(&self, envelope: &Envelope) -> bool {
        let table = self.lock();
        !table.envelopes.is_empty() && table.envelopes.contains_key(&self.key_of(envelope))
    }

    /// What is known of a message.
    pub(crate) fn recall(&self, digest: &Digest) -> Option<Final> {
        let mut table = self.lock();
        table.forget_old(Instant::now());
        table.known.get(digest).map(|entry| entry.outcomes.clone())
    }

    /// Remembers the final outcomes, where there are others beside them.
    pub(crate) fn remember(&self, digest: Digest, envelope: &Envelope, outcomes: &Outcomes) {
        let Outcomes::Each(outcomes) = outcomes else {
            return;
        };
        let mut known = Final::default();
        for (recipient, outcome) in envelope.recipients().iter().zip(outcomes) {
            let outcome = match outcome {
                Ok(_) => Ok(()),
                Err(failure) if failure.kind() == FailureKind::Never => {
                    Err(failure.reply().clone())
                }
                Err(_) => continue,
            };
            // Of one that was named twice: a copy that it has is not undone by one that was
            // refused.
            let known = known
                .0
                .entry(key(recipient))
                .or_insert(Err(Reply::TRY_LATER));
            if known.is_err() {
                *known = outcome;
            }
        }
        let is_mixed = outcomes.windows(2).any(|pair| {
            let is_taken = |it: Option<&Result<_, _>>| it.map(Result::is_ok);
            is_taken(pair.first()) != is_taken(pair.last())
        });
        let are_all_final = known.0.len() == outcomes.len();
        if known.0.is_empty() || (are_all_final && !is_mixed) {
            return;
        }
        let envelope = self.key_of(envelope);
        let at = Instant::now();
        let entry = Entry {
            outcomes: known,
            envelope,
            at,
        };
        self.lock().insert(digest, entry);
    }

    fn key_of(&self, envelope: &Envelope) -> u64 {
        let mut recipients: Vec<_> = envelope.recipients().iter().map(key).collect();
        recipients.sort_unstable();
        recipients.dedup();
        let sender = envelope.reverse_path().to_string();
        self.keys.hash_one((sender, recipients))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, digest: Digest, entry: Entry) {
        let now = entry.at;
        self.forget(&digest);
        self.outcomes += entry.outcomes.0.len();
        *self.envelopes.entry(entry.envelope).or_default() += 1;
        self.known.insert(digest, entry);
        self.order.push_back((digest, now));
        self.forget_old(now);
        while self.outcomes > MOST || self.order.len() > MOST {
            let Some((oldest, at)) = self.order.pop_front() else {
                return;
            };
            self.forget_of(&oldest, at);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((digest, at)) = self.order.front().copied() {
            if now.saturating_duration_since(at) < AGE {
                return;
            }
            self.order.pop_front();
            self.forget_of(&digest, at);
        }
    }

    /// Unless something newer is known by now.
    fn forget_of(&mut self, digest: &Digest, at: Instant) {
        if self.known.get(digest).is_some_and(|entry| entry.at == at) {
            self.forget(digest);
        }
    }

    fn forget(&mut self, digest: &Digest) {
        let Some(entry) = self.known.remove(digest) else {
            return;
        };
        self.outcomes = self.outcomes.saturating_sub(entry.outcomes.0.len());
        if let Some(count) = self.envelopes.get_mut(&entry.envelope) {
            *count -= 1;
            if *count == 0 {
                self.envelopes.remove(&entry.envelope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_server::reply;

    use super::*;
    use crate::{Delivered, Failure};

    #[tokio::test]
    async fn who_has_a_copy_and_was_refused_another_has_it() {
        let envelope = Envelope::builder().from("ann@example.com").unwrap();
        let envelope = ["bob@example.org", "Bob@example.org", "bob@Example.ORG."]
            .into_iter()
            .fold(envelope, |envelope, recipient| {
                envelope.to(recipient).unwrap()
            })
            .build();
        let taken = Ok(Delivered::default());
        let refused = Err(Failure::said(reply!(550 5.2.1 "Once is enough")));
        for (outcomes, has_it) in [
            ([taken.clone(), taken.clone(), refused.clone()], true),
            ([refused.clone(), taken.clone(), taken.clone()], true),
            ([refused.clone(), taken, refused], false),
        ] {
            let memory = Memory::default();
            let client = prixfixe_server::Client::builder().build();
            let mut message = prixfixe_server::Message::new(client, envelope.clone(), ["hi\r\n"]);
            let digest = message.digest().await.unwrap();
            memory.remember(digest, &envelope, &Outcomes::Each(outcomes.to_vec()));
            assert!(memory.may_know(&envelope));
            let known = memory.recall(&digest).unwrap();
            let first = known.of(&envelope.recipients()[0]).unwrap();
            assert_eq!(first.is_ok(), has_it);
            let other_case = known.of(&envelope.recipients()[1]);
            assert_eq!(other_case, Some(&Ok(())), "local parts are as given");
        }
    }
}
