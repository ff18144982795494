//! Asking all threads of a transport whether they still have their turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wakers::Wakers;

/// Numbers the questions, and knows who answered which.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    asked: AtomicU64,
    /// The latest question that each one answered. Who is gone without having been told to is
    /// missed for ever.
    answers: Mutex<Vec<Arc<AtomicU64>>>,
    answered: Wakers,
}

impl Heartbeat {
    /// One more who answers.
    pub(crate) fn join(&self) -> Responder {
        let answer = Arc::new(AtomicU64::new(0));
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push(Arc::clone(&answer));
        Responder { answer, seen: 0 }
    }

    /// The number of a new question. Whoever answers is to be woken then.
    pub(crate) fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Waits for all answers to a question, or for something else that is followed by
    /// [`wake`](Self::wake).
    pub(crate) async fn answers(&self, question: u64, or: impl Fn() -> bool) {
        self.answered
            .until(|| or() || self.is_answered(question))
            .await;
    }

    pub(crate) fn wake(&self) {
        self.answered.wake_all();
    }

    fn is_answered(&self, question: u64) -> bool {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .iter()
            .all(|answer| answer.load(Ordering::Acquire) >= question)
    }
}

/// One who answers.
#[derive(Debug)]
pub(crate) struct Responder {
    answer: Arc<AtomicU64>,
    seen: u64,
}

impl Responder {
    /// To be called in every turn.
    pub(crate) fn beat(&mut self, heartbeat: &Heartbeat) {
        let asked = heartbeat.asked.load(Ordering::Acquire);
        if asked != self.seen {
            self.seen = asked;
            self.answer.store(asked, Ordering::Release);
            heartbeat.answered.wake_all();
        }
    }
}
