//! What all targets at the other end of a network have in common: how many messages may be under
//! way there at once, and that one which is down is tried by one message at a time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use prixfixe_server::Reply;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::health::Monitor;
use crate::{Failure, Fault, Health};

/// One end of a network that mail is handed to. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Upstream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What the log calls it: the target's configured name.
    name: Box<str>,
    places: Arc<Semaphore>,
    /// An [`Ability`].
    ability: AtomicU8,
    /// While it is down: the message that tries.
    probe: Arc<Semaphore>,
    /// While it is down: the question that tries. Apart, so that a message is never behind the
    /// questions of others.
    #[cfg(feature = "smtp")]
    question: Arc<Semaphore>,
    monitor: Monitor,
}

/// What is known of it.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ability {
    /// It works.
    Up = 0,
    /// It has not even answered a question about a recipient: an answer to the next one shows that
    /// it is back.
    #[cfg(feature = "smtp")]
    Unanswering,
    /// A whole message has failed there: only a whole message shows that it is back.
    Failing,
}

/// The right to work with it. Says how that went, or nothing: then nothing is known.
#[derive(Debug)]
pub(crate) struct Pass {
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
    _probe: Option<OwnedSemaphorePermit>,
}

/// The right to ask a target about a recipient, before there is a content. It takes no place.
#[cfg(feature = "smtp")]
#[derive(Debug)]
pub(crate) struct Approach {
    _probe: Option<OwnedSemaphorePermit>,
}

impl Upstream {
    pub(crate) fn new(name: &str, concurrency: usize) -> Self {
        Self(Arc::new(Shared {
            name: name.into(),
            places: Arc::new(Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            ability: AtomicU8::new(Ability::Up as u8),
            probe: Arc::new(Semaphore::new(1)),
            #[cfg(feature = "smtp")]
            question: Arc::new(Semaphore::new(1)),
            monitor: Monitor::new(name),
        }))
    }

    /// A place there, once there is one. While it is down only one at a time tries, and everybody
    /// else is refused at once.
    pub(crate) async fn enter(&self) -> Result<Pass, Failure> {
        let probe = self.try_out(&self.0.probe)?;
        // It is never closed.
        let place = Arc::clone(&self.0.places).acquire_owned().await;
        let place = place.map_err(|_| self.refusal())?;
        Ok(Pass {
            shared: Arc::clone(&self.0),
            _place: place,
            _probe: probe,
        })
    }

    /// The right to ask it. While it is down only one at a time has it, and everybody else is
    /// refused at once.
    #[cfg(feature = "smtp")]
    pub(crate) fn approach(&self) -> Result<Approach, Failure> {
        let probe = self.try_out(&self.0.question)?;
        Ok(Approach { _probe: probe })
    }

    /// It has answered a question about a recipient. That says nothing about whole messages.
    #[cfg(feature = "smtp")]
    pub(crate) fn answered(&self) {
        if self.0.change(Ability::Unanswering, Ability::Up) {
            self.0.monitor.succeeded();
        }
    }

    /// It has not answered a question about a recipient. The words are for the log and for
    /// `/readyz`.
    #[cfg(feature = "smtp")]
    pub(crate) fn unanswered(&self, detail: &str) {
        // Where a message has failed before, it still takes a message.
        self.0.change(Ability::Up, Ability::Unanswering);
        self.0.tell(detail);
    }

    fn try_out(&self, by: &Arc<Semaphore>) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        match self.is_down() {
            true => match Arc::clone(by).try_acquire_owned() {
                Ok(probe) => Ok(Some(probe)),
                Err(_) => Err(self.refusal()),
            },
            false => Ok(None),
        }
    }

    /// True from a failure to the next success.
    pub(crate) fn is_down(&self) -> bool {
        self.0.ability.load(Ordering::Acquire) != Ability::Up as u8
    }

    pub(crate) fn health(&self) -> Health {
        self.0.monitor.health()
    }

    fn refusal(&self) -> Failure {
        Failure::unreachable("it is down, and another message tries whether it is up again")
    }
}

impl Pass {
    /// It works: also where it refused this mail.
    pub(crate) fn succeeded(&self) {
        if self.shared.ability.load(Ordering::Acquire) != Ability::Up as u8 {
            self.shared
                .ability
                .store(Ability::Up as u8, Ordering::Release);
        }
        self.shared.monitor.succeeded();
    }

    /// It does not work. The words are for the log and for `/readyz`.
    pub(crate) fn failed(&self, detail: &str) {
        let failing = Ability::Failing as u8;
        self.shared.ability.store(failing, Ordering::Release);
        self.shared.tell(detail);
    }
}

impl Shared {
    /// False where it was something else.
    #[cfg(feature = "smtp")]
    fn change(&self, from: Ability, to: Ability) -> bool {
        let (from, to) = (from as u8, to as u8);
        let changed = self
            .ability
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        changed.is_ok()
    }

    fn tell(&self, detail: &str) {
        let error = io::Error::other(detail.to_owned());
        let fault = Fault::new("deliver to", &self.name, error);
        self.monitor.failed(Arc::new(fault));
    }
}

/// How long a target may take to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For connecting, and for each of its answers but the last.
    pub(crate) each: Duration,
    /// For its answer to the whole message.
    pub(crate) last: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            each: Duration::from_secs(30),
            last: Duration::from_secs(300),
        }
    }
}

/// A reply of a next hop's as the client may have it: its code and enhanced code, its text made
/// safe.
pub(crate) fn passed_on(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> Option<Reply> {
    let (class, subject, detail) = enhanced.unwrap_or((u8::try_from(code / 100).ok()?, 0, 0));
    let text: String = text
        .chars()
        .map(|letter| match letter {
            ' '..='~' => letter,
            _ => '?',
        })
        .take(400)
        .collect();
    Reply::new(
        code,
        prixfixe_server::EnhancedCode(class, subject, detail),
        text,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_down_is_tried_by_one_at_a_time() {
        let upstream = Upstream::new("relay", 4);
        let first = upstream.enter().await.unwrap();
        let second = upstream.enter().await.unwrap();
        first.failed("connection refused");
        drop((first, second));
        let fault = upstream.health().fault().unwrap();
        assert_eq!(
            fault.to_string(),
            "cannot deliver to relay: connection refused"
        );

        let probing = upstream.enter().await.unwrap();
        assert!(upstream.enter().await.is_err());
        drop(probing);
        let probing = upstream.enter().await.unwrap();
        probing.succeeded();
        assert!(upstream.health().fault().is_none());
        assert!(upstream.enter().await.is_ok());
    }

    #[cfg(feature = "smtp")]
    #[tokio::test]
    async fn an_answer_about_a_recipient_does_not_end_what_a_message_has_shown() {
        let upstream = Upstream::new("relay", 4);
        upstream.unanswered("connection refused");
        assert!(upstream.is_down());
        upstream.answered();
        assert!(!upstream.is_down() && upstream.health().fault().is_none());

        upstream.enter().await.unwrap().failed("no answer to DATA");
        // Somebody who asks is not in the way of a message, which alone can show that it is back.
        let asking = upstream.approach().unwrap();
        assert!(upstream.approach().is_err());
        drop(upstream.enter().await.unwrap());
        drop(asking);
        for _ in 0..2 {
            upstream.answered();
            assert!(upstream.is_down() && upstream.health().fault().is_some());
            upstream.unanswered("connection refused");
        }
        upstream.enter().await.unwrap().succeeded();
        assert!(!upstream.is_down() && upstream.health().fault().is_none());
    }

    #[tokio::test]
    async fn no_more_are_there_than_it_has_places() {
        let upstream = Upstream::new("relay", 1);
        let only = upstream.enter().await.unwrap();
        let waiting = tokio::spawn({
            let upstream = upstream.clone();
            async move { upstream.enter().await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(only);
        assert!(waiting.await.unwrap());
    }

    #[test]
    fn a_next_hop_cannot_write_what_it_likes_into_a_reply() {
        let reply = passed_on(550, Some((5, 1, 1)), "no\r\n250 2.0.0 fine\u{7f}\u{e4}").unwrap();
        assert_eq!(reply.to_string(), "550 5.1.1 no??250 2.0.0 fine??");
        assert_eq!(
            passed_on(452, None, "full").unwrap().to_string(),
            "452 4.0.0 full"
        );
        assert!(passed_on(199, None, "what").is_none());
    }
}
