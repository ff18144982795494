//! Whether anybody answers what is published, and who uses a connection.
//!
//! A node that is cut off from the others may look healthy for a while: it answers its clients, and
//! says that it leads. What it cannot do is acknowledge. So a connection over which nothing is
//! acknowledged for a while is left for another node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What waits for an answer over a connection, and what else is under way over it.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    waiting: usize,
    /// What is under way, whether it waits for an answer or not.
    uses: usize,
    /// Since when somebody has waited and heard nothing. `None`: nobody waits.
    silent_since: Option<Instant>,
    /// The silence of those who waited before, up to the time when nobody did.
    silent_before: Duration,
    /// How many have waited in vain since the last answer.
    in_vain: usize,
    /// When nobody waited any more.
    idle_since: Option<Instant>,
}

/// Somebody waits for an answer.
#[derive(Debug)]
pub(crate) struct Awaited {
    answers: Arc<Answers>,
    began: Instant,
    is_answered: bool,
}

/// Something is under way over the connection: it is not to be given up yet.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Answers>);

/// Who gives up sooner says nothing about the server.
const A_WHILE: Duration = Duration::from_secs(1);

/// So many who waited in vain, one after the other, say that about the server and not about
/// themselves.
const MANY: usize = 2;

/// Who waited in vain longer ago says nothing of now.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// How often is looked, in parts of the patience.
const LOOKS: u32 = 8;

impl Answers {
    /// Ends when there has been no answer for so long although one was waited for, and somebody
    /// waits still or many have given up.
    pub(crate) async fn are_missing_for(&self, patience: Duration) {
        while !self.seen().is_silent_for(patience) {
            sleep(patience / LOOKS).await;
        }
    }

    /// Ends when nobody waits, and nothing else is under way.
    pub(crate) async fn are_all_there(&self) {
        const PAUSE: Duration = Duration::from_millis(20);
        while self.seen().is_in_use() {
            sleep(PAUSE).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_silent_for(&self, patience: Duration) -> bool {
        let now = self.silent_since.map(|since| since.elapsed());
        let silent = self.silent_before + now.unwrap_or_default();
        (self.waiting > 0 || self.in_vain >= MANY) && silent >= patience
    }

    fn is_in_use(&self) -> bool {
        self.waiting > 0 || self.uses > 0
    }

    fn forget(&mut self) {
        self.silent_before = Duration::ZERO;
        self.in_vain = 0;
    }
}

impl Awaited {
    pub(crate) fn begin(answers: &Arc<Answers>) -> Self {
        let began = Instant::now();
        let mut seen = answers.seen();
        let idle_since = seen.idle_since.take();
        if idle_since.is_some_and(|since| since.elapsed() >= FORGOTTEN) {
            seen.forget();
        }
        seen.waiting += 1;
        seen.silent_since.get_or_insert(began);
        drop(seen);
        Self {
            answers: Arc::clone(answers),
            began,
            is_answered: false,
        }
    }

    /// An answer came, whatever it says.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
        let mut seen = self.answers.seen();
        seen.forget();
        // Others may wait: for them the silence begins now.
        seen.silent_since = Some(Instant::now());
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut seen = self.answers.seen();
        seen.waiting = seen.waiting.saturating_sub(1);
        if !self.is_answered && self.began.elapsed() >= A_WHILE {
            seen.in_vain += 1;
        }
        if seen.waiting == 0 {
            let silent = seen.silent_since.take().map(|since| since.elapsed());
            if seen.in_vain > 0 {
                seen.silent_before += silent.unwrap_or_default();
            }
            seen.idle_since = Some(Instant::now());
        }
    }
}

impl InUse {
    pub(crate) fn begin(answers: &Arc<Answers>) -> Self {
        answers.seen().uses += 1;
        Self(Arc::clone(answers))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut seen = self.0.seen();
        seen.uses = seen.uses.saturating_sub(1);
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
    async fn who_has_waited_in_vain_counts_while_others_wait() {
        let answers = Arc::<Answers>::default();
        wait_in_vain(&answers, 6).await;
        let _second = Awaited::begin(&answers);
        assert!(!is_left_within(&answers, 1).await);
        assert!(is_left_within(&answers, 3).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_not_left_for_one_that_went_away() {
        let answers = Arc::<Answers>::default();
        wait_in_vain(&answers, 7).await;
        // The next one was refused at once, by a server that has heard of no stream.
        drop(Awaited::begin(&answers));
        assert!(!is_left_within(&answers, 50).await, "nobody waits");
        wait_in_vain(&answers, 2).await;
        assert!(is_left_within(&answers, 1).await, "it was not one alone");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_is_no_silence() {
        let answers = Arc::<Answers>::default();
        wait_in_vain(&answers, 7).await;
        advance(Duration::from_secs(30)).await;
        let second = Awaited::begin(&answers);
        assert!(!answers.seen().is_silent_for(PATIENCE));
        drop(second);
        advance(FORGOTTEN).await;
        let _third = Awaited::begin(&answers);
        assert!(!is_left_within(&answers, 7).await, "that was long ago");
        assert!(is_left_within(&answers, 2).await);
    }

    async fn wait_in_vain(answers: &Arc<Answers>, seconds: u64) {
        let one = Awaited::begin(answers);
        advance(Duration::from_secs(seconds)).await;
        drop(one);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_in_use_while_anything_is_under_way() {
        let answers = Arc::<Answers>::default();
        let is_free = async || {
            let within = Duration::from_secs(1);
            timeout(within, answers.are_all_there()).await.is_ok()
        };
        let (upload, other) = (InUse::begin(&answers), InUse::begin(&answers));
        let awaited = Awaited::begin(&answers);
        assert!(!is_free().await);
        awaited.answered();
        drop(other);
        assert!(!is_free().await, "an upload goes on");
        assert!(!is_left_within(&answers, 3600).await, "it awaits no answer");
        drop(upload);
        assert!(is_free().await);
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
