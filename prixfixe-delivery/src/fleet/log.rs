//! What the log says of an attempt.

use std::time::Duration;

use super::letter::Stored;
use super::mail::Kept;
use super::round::Round;
use super::verdict::Verdict;

impl Round {
    /// One line for each recipient.
    pub(super) fn log(&self, stored: &Stored, kept: &Kept, verdict: &Verdict, duration: Duration) {
        let (id, target) = (&*kept.envelope().id, self.target.name());
        let (digest, duration) = (&*stored.digest, duration.as_secs_f64());
        let attempt = stored.attempt.saturating_add(1);
        macro_rules! line {
            ($level:ident, $place:expr, $reply:expr, $cause:expr, $words:literal) => {
                tracing::$level!(
                    target: "prixfixe",
                    id, digest, target, recipient = kept.recipient($place).map(|it| cut(&it.to)),
                    attempt, reply = $reply.map(cut), cause = $cause.map(cut), duration, $words
                )
            };
        }
        for (place, said) in &verdict.delivered {
            line!(info, *place, said.as_deref(), None::<&str>, "delivered");
        }
        for (place, failure) in &verdict.waiting {
            let reply = failure.reply().to_string();
            line!(info, *place, Some(&*reply), failure.detail(), "deferred");
        }
        for (place, failure) in &verdict.failed {
            let reply = failure.reply().to_string();
            line!(error, *place, Some(&*reply), failure.detail(), "given up");
        }
    }
}

/// A line of the log is at most 4 KiB.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(512)).unwrap_or(text)
}
