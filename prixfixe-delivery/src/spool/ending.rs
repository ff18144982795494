//! What came of an attempt, recipient by recipient.

use std::time::Duration;

use prixfixe_spool::MessageId;

use super::attempt::{Trial, words};
use super::undelivered::{Ended, Ending};
use crate::{Delivered, Failure, FailureKind};

/// Outcomes of an attempt.
pub(super) struct Endings {
    attempts: u32,
    outcomes: Vec<Outcome>,
}

struct Outcome {
    /// In the target's list of recipients.
    place: usize,
    fate: Fate,
    failure: Option<Failure>,
    /// The target's words of a delivery.
    said: Option<String>,
    duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ends(Ending),
    Again,
}

impl Endings {
    /// Those of the attempt of this number.
    pub(super) fn new(attempts: u32) -> Self {
        Self {
            attempts,
            outcomes: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        place: usize,
        outcome: Result<Delivered, Failure>,
        duration: Duration,
    ) {
        let (fate, failure, said) = match outcome {
            Ok(delivered) => (
                Fate::Ends(Ending::Delivered),
                None,
                delivered.detail.map(Into::into),
            ),
            Err(failure) => {
                let fate = match failure.kind() {
                    FailureKind::Never => Fate::Ends(Ending::Refused),
                    FailureKind::NotNow | FailureKind::Unknown => Fate::Again,
                };
                (fate, Some(failure), None)
            }
        };
        self.outcomes.push(Outcome {
            place,
            fate,
            failure,
            said,
            duration,
        });
    }

    /// Nobody is tried again.
    pub(super) fn give_up(&mut self) {
        for outcome in &mut self.outcomes {
            if outcome.fate == Fate::Again {
                outcome.fate = Fate::Ends(Ending::GivenUp);
            }
        }
    }

    /// Those who have ended so have not, for a reason of ours.
    pub(super) fn keep(&mut self, ending: Ending, why: &str) {
        for outcome in &mut self.outcomes {
            if outcome.fate == Fate::Ends(ending) {
                outcome.fate = Fate::Again;
                let failure = Failure::said(crate::fault::NOT_STORED).because(why);
                outcome.failure = Some(failure);
            }
        }
    }

    /// The target has taken the message, or has judged it: it works.
    pub(super) fn is_any_ended(&self) -> bool {
        let mut outcomes = self.outcomes.iter();
        outcomes.any(|outcome| outcome.fate != Fate::Again)
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.outcomes.iter().filter_map(|it| it.failure.as_ref())
    }

    /// What the last of those said that are tried again.
    pub(super) fn last_error(&self) -> Option<String> {
        let again = self.outcomes.iter().rev();
        let mut again = again.filter(|outcome| outcome.fate == Fate::Again);
        again.find_map(|outcome| outcome.failure.as_ref().map(words))
    }

    /// Places in the target's list of those who have ended so.
    pub(super) fn places(&self, ending: Ending) -> Vec<usize> {
        let outcomes = self.outcomes.iter();
        let ended = outcomes.filter(|outcome| outcome.fate == Fate::Ends(ending));
        ended.map(|outcome| outcome.place).collect()
    }

    /// What there is to be told of those who have ended so, each with the place among the envelope's recipients.
    pub(super) fn ended(&self, trial: &Trial, ending: Ending, now: u64) -> Vec<(u32, Ended)> {
        let time = std::time::UNIX_EPOCH + Duration::from_millis(now);
        let outcomes = self.outcomes.iter();
        let ended = outcomes.filter(|outcome| outcome.fate == Fate::Ends(ending));
        let told = ended.filter_map(|outcome| {
            let place = *trial.target.recipients.get(outcome.place)?;
            let recipient = trial.recipient(outcome.place)?.clone();
            let failure = outcome.failure.as_ref();
            let ended = Ended {
                reply: failure.map(|it| it.reply().clone()),
                detail: failure
                    .and_then(|it| it.detail().map(ToOwned::to_owned))
                    .or_else(|| outcome.said.clone()),
                ..Ended::new(recipient, self.attempts, time)
            };
            Some((place, ended))
        });
        told.collect()
    }

    /// One line for each recipient.
    pub(super) fn log(&self, trial: &Trial, id: MessageId) {
        for outcome in &self.outcomes {
            let is_usual = !matches!(outcome.fate, Fate::Ends(Ending::Refused | Ending::GivenUp));
            // Nothing is looked up for a line that nobody reads.
            if is_usual && !tracing::enabled!(target: "prixfixe", tracing::Level::INFO) {
                continue;
            }
            let recipient = trial.recipient(outcome.place).map(|it| cut(&it.to));
            let reply = outcome.failure.as_ref().map(|it| it.reply().to_string());
            let reply = reply.as_deref().or(outcome.said.as_deref()).map(cut);
            let cause = outcome.failure.as_ref().and_then(|it| it.detail()).map(cut);
            macro_rules! line {
                ($level:ident, $words:literal) => {
                    tracing::$level!(
                        target: "prixfixe",
                        id = &*trial.envelope().id, digest = &*trial.envelope().digest, spool = %id,
                        target = &*trial.target.name, recipient, attempt = self.attempts,
                        reply, cause, duration = outcome.duration.as_secs_f64(), $words
                    )
                };
            }
            match outcome.fate {
                Fate::Ends(Ending::Delivered) => line!(info, "delivered"),
                Fate::Ends(Ending::Refused | Ending::GivenUp) => line!(error, "given up"),
                Fate::Again => line!(info, "deferred"),
            }
        }
    }
}

/// A line of the log is at most 4 KiB.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(512)).unwrap_or(text)
}
