//! Whether anybody answers what is published.
//!
//! A node that is cut off from the others may look healthy for a while: it answers its clients, and
//! says that it leads. What it cannot do is acknowledge. So a connection over which nothing is
//! acknowledged for a while is left for another node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What waits for an answer over a connection.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    waiting: usize,
    /// When the last answer came, or somebody began to wait. `None`: nobody waits, or has waited in
    /// vain.
    silent_since: Option<Instant>,
}

/// Somebody waits for an answer.
#[derive(Debug)]
pub(crate) struct Awaited {
    answers: Arc<Answers>,
    began: Instant,
}

/// Who gives up sooner says nothing about the server.
const A_WHILE: Duration = Duration::from_secs(1);

/// How often is looked, in parts of the patience.
const LOOKS: u32 = 8;

impl Answers {
    /// Ends when there has been no answer for so long although one was waited for.
    pub(crate) async fn are_missing_for(&self, patience: Duration) {
        while !self.is_silent_for(patience) {
            sleep(patience / LOOKS).await;
        }
    }

    /// Ends when nobody waits.
    pub(crate) async fn are_all_there(&self) {
        const PAUSE: Duration = Duration::from_millis(20);
        while self.seen().waiting > 0 {
            sleep(PAUSE).await;
        }
    }

    fn is_silent_for(&self, patience: Duration) -> bool {
        let since = self.seen().silent_since;
        since.is_some_and(|since| since.elapsed() >= patience)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    pub(crate) fn begin(answers: &Arc<Answers>) -> Self {
        let began = Instant::now();
        let mut seen = answers.seen();
        seen.waiting += 1;
        seen.silent_since.get_or_insert(began);
        drop(seen);
        Self {
            answers: Arc::clone(answers),
            began,
        }
    }

    /// An answer came, whatever it says.
    pub(crate) fn answered(self) {
        let mut seen = self.answers.seen();
        // Others may wait: for them the silence begins now.
        seen.silent_since = (seen.waiting > 1).then(Instant::now);
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut seen = self.answers.seen();
        seen.waiting = seen.waiting.saturating_sub(1);
        let is_first = seen.silent_since.is_some_and(|since| since >= self.began);
        if seen.waiting == 0 && is_first && self.began.elapsed() < A_WHILE {
            seen.silent_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);

    /// Whether the connection would be left within so many seconds.
    async fn is_left_within(answers: &Answers, seconds: u64) -> bool {
        let within = Duration::from_secs(seconds);
        timeout(within, answers.are_missing_for(PATIENCE))
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_first_that_waits() {
        let answers = Arc::<Answers>::default();
        assert!(!is_left_within(&answers, 3600).await, "nobody waits");
        let _first = Awaited::begin(&answers);
        advance(Duration::from_secs(5)).await;
        let _second = Awaited::begin(&answers);
        assert!(!is_left_within(&answers, 2).await);
        assert!(is_left_within(&answers, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_in_vain_counts_when_it_waits_no_more() {
        let answers = Arc::<Answers>::default();
        let first = Awaited::begin(&answers);
        advance(Duration::from_secs(3)).await;
        drop(first);
        // The next one was refused at once, by a server that has heard of no stream.
        drop(Awaited::begin(&answers));
        assert!(is_left_within(&answers, 6).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_the_silence_and_one_that_was_not_waited_for_says_nothing() {
        let answers = Arc::<Answers>::default();
        let (first, second) = (Awaited::begin(&answers), Awaited::begin(&answers));
        advance(Duration::from_secs(7)).await;
        first.answered();
        assert!(!is_left_within(&answers, 7).await);
        second.answered();
        assert!(!is_left_within(&answers, 3600).await);
        drop(Awaited::begin(&answers));
        assert!(!is_left_within(&answers, 3600).await);
    }
}
