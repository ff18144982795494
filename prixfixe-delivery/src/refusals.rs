//! What the log says of messages that could not be kept.
//!
//! A full disk refuses each message that comes, for as long as it is full, and clients come again. The first refusal is a
//! line, what follows within [`INTERVAL`] is one line together: a log on the same disk does not help to fill it.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Fault;

/// The shortest time between two lines that say the same.
const INTERVAL: Duration = Duration::from_secs(10);

/// Refusals that no line has told of yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    untold: u64,
    /// Of the last one.
    fault: Option<Arc<Fault>>,
    told_at: Option<Instant>,
    /// It works again, and no line has said so yet.
    works_again: bool,
    told_again_at: Option<Instant>,
}

/// A line for the log.
#[derive(Debug, Clone)]
enum Line {
    Refused { messages: u64, fault: Arc<Fault> },
    WorksAgain,
}

impl Refusals {
    /// One more.
    pub(crate) fn add(&mut self, now: Instant, fault: Arc<Fault>) {
        self.untold = self.untold.saturating_add(1);
        self.fault = Some(fault);
        self.works_again = false;
        self.tell(now);
    }

    /// A message was kept, or could be, for the first time since.
    pub(crate) fn end(&mut self, now: Instant) {
        self.works_again = true;
        self.tell(now);
    }

    /// Tells what is due. Gives the time to call again, where something is left.
    pub(crate) fn tell_rest(&mut self, now: Instant) -> Option<Instant> {
        self.tell(now);
        let refused_at = (self.untold > 0).then_some(self.told_at).flatten();
        let again_at = self.works_again.then_some(self.told_again_at).flatten();
        let next = refused_at.into_iter().chain(again_at).min()?;
        Some(next + INTERVAL)
    }

    fn tell(&mut self, now: Instant) {
        while let Some(line) = self.due(now) {
            match line {
                Line::Refused { messages: 1, fault } => {
                    tracing::error!(path = fault.subject(), cause = %fault, "a message could not be stored");
                }
                Line::Refused { messages, fault } => {
                    tracing::error!(messages, path = fault.subject(), cause = %fault, "messages could not be stored; the last one's cause is here");
                }
                Line::WorksAgain => tracing::info!("delivery works again"),
            }
        }
    }

    fn due(&mut self, now: Instant) -> Option<Line> {
        let is_due = |told_at: Option<Instant>| {
            told_at.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL)
        };
        if self.untold > 0
            && is_due(self.told_at)
            && let Some(fault) = self.fault.take()
        {
            self.told_at = Some(now);
            return Some(Line::Refused {
                messages: mem::take(&mut self.untold),
                fault,
            });
        }
        if self.works_again && is_due(self.told_again_at) {
            self.works_again = false;
            self.told_again_at = Some(now);
            return Some(Line::WorksAgain);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What is told, as text.
    fn told(refusals: &mut Refusals, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| refusals.due(now))
            .map(|line| match line {
                Line::Refused { messages, fault } => format!("{messages} {}", fault.subject()),
                Line::WorksAgain => String::from("again"),
            })
            .collect()
    }

    fn count(refusals: &mut Refusals, subject: &str) {
        let error = io::ErrorKind::StorageFull.into();
        refusals.untold += 1;
        refusals.works_again = false;
        refusals.fault = Some(Arc::new(Fault::new("write to", subject, error)));
    }

    #[test]
    fn the_first_refusal_is_told_at_once_and_the_others_together() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        count(&mut refusals, "one");
        assert_eq!(told(&mut refusals, now), ["1 one"]);
        count(&mut refusals, "two");
        count(&mut refusals, "three");
        assert_eq!(told(&mut refusals, now + INTERVAL / 2).len(), 0);
        assert_eq!(refusals.tell_rest(now + INTERVAL / 2), Some(now + INTERVAL));
        assert_eq!(told(&mut refusals, now + INTERVAL), ["2 three"]);
        assert_eq!(refusals.tell_rest(now + INTERVAL), None);
    }

    #[test]
    fn a_disk_that_comes_and_goes_does_not_fill_the_log() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        let mut lines = Vec::new();
        for _ in 0..1000 {
            count(&mut refusals, "disk");
            lines.extend(told(&mut refusals, now));
            refusals.works_again = true;
            lines.extend(told(&mut refusals, now));
        }
        assert_eq!(lines, ["1 disk", "again"]);
        assert_eq!(refusals.tell_rest(now), Some(now + INTERVAL));
        assert_eq!(told(&mut refusals, now + INTERVAL), ["999 disk", "again"]);
    }

    #[test]
    fn what_works_again_is_not_said_while_it_does_not() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        for _ in 0..2 {
            count(&mut refusals, "disk");
            refusals.works_again = true;
            told(&mut refusals, now);
        }
        count(&mut refusals, "disk");
        assert_eq!(told(&mut refusals, now + INTERVAL), ["2 disk"]);
    }
}
