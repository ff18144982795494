//! What the log says of messages that could not be kept.
//!
//! A full disk refuses each message that comes, for as long as it is full, and clients come again.
//! The first refusal is a line, what follows within [`INTERVAL`] is one line together: a log on the
//! same disk does not help to fill it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Fault;

/// The shortest time between two lines that say the same.
const INTERVAL: Duration = Duration::from_secs(10);

/// Refusals that no line has told of yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// By cause, the latest last. At most [`CAUSES`].
    untold: VecDeque<Untold>,
    told_at: Option<Instant>,
    /// It works again, and no line has said so yet.
    works_again: bool,
    told_again_at: Option<Instant>,
}

/// Refusals in a row for one cause.
#[derive(Debug)]
struct Untold {
    messages: u64,
    /// Of the last one.
    fault: Arc<Fault>,
}

/// Causes that are kept apart between two lines; what comes on top counts with the last one.
const CAUSES: usize = 4;

/// A line for the log.
#[derive(Debug)]
enum Line {
    Refused(Untold),
    WorksAgain,
}

impl Refusals {
    /// One more.
    pub(crate) fn add(&mut self, now: Instant, fault: Arc<Fault>) {
        self.count(fault);
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
        let refused_at = (!self.untold.is_empty()).then_some(self.told_at).flatten();
        let again_at = self.works_again.then_some(self.told_again_at).flatten();
        let next = refused_at.into_iter().chain(again_at).min()?;
        Some(next + INTERVAL)
    }

    #[cfg(test)]
    pub(crate) fn has_told_of_an_end(&self) -> bool {
        self.told_again_at.is_some()
    }

    fn count(&mut self, fault: Arc<Fault>) {
        self.works_again = false;
        let is_full = self.untold.len() >= CAUSES;
        match self.untold.back_mut() {
            Some(last) if is_full || last.fault.kind() == fault.kind() => {
                last.messages = last.messages.saturating_add(1);
                last.fault = fault;
            }
            _ => self.untold.push_back(Untold { messages: 1, fault }),
        }
    }

    fn tell(&mut self, now: Instant) {
        for line in self.due(now) {
            match line {
                Line::Refused(Untold { messages: 1, fault }) => {
                    tracing::error!(path = fault.subject(), cause = %fault, "a message could not be stored");
                }
                Line::Refused(Untold { messages, fault }) => {
                    tracing::error!(messages, path = fault.subject(), cause = %fault, "messages could not be stored; the last one's cause is here");
                }
                Line::WorksAgain => tracing::info!("delivery works again"),
            }
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Line> {
        let is_due = |told_at: Option<Instant>| {
            told_at.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL)
        };
        let again = self.works_again && is_due(self.told_again_at);
        let mut lines = Vec::new();
        // An end is told after all that it ends, or the rest would seem to belong to the next
        // trouble.
        if !self.untold.is_empty() && (again || is_due(self.told_at)) {
            self.told_at = Some(now);
            lines.extend(self.untold.drain(..).map(Line::Refused));
        }
        if again {
            self.works_again = false;
            self.told_again_at = Some(now);
            lines.push(Line::WorksAgain);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What is told, as text.
    fn told(refusals: &mut Refusals, now: Instant) -> Vec<String> {
        let lines = refusals.due(now).into_iter();
        lines
            .map(|line| match line {
                Line::Refused(Untold { messages, fault }) => {
                    format!("{messages} {}", fault.subject())
                }
                Line::WorksAgain => String::from("again"),
            })
            .collect()
    }

    fn count(refusals: &mut Refusals, subject: &str) {
        count_for(refusals, subject, io::ErrorKind::StorageFull);
    }

    fn count_for(refusals: &mut Refusals, subject: &str, kind: io::ErrorKind) {
        refusals.count(Arc::new(Fault::new("write to", subject, kind.into())));
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

    #[test]
    fn the_rest_is_told_before_the_end_and_under_its_own_cause() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        for _ in 0..3 {
            count(&mut refusals, "full");
            refusals.works_again = false;
        }
        assert_eq!(told(&mut refusals, now), ["3 full"]);
        count(&mut refusals, "full");
        refusals.works_again = true;
        assert_eq!(told(&mut refusals, now), ["1 full", "again"]);

        // No end can be told so soon after the last: the causes are kept apart all the same.
        count(&mut refusals, "full");
        refusals.works_again = true;
        assert_eq!(told(&mut refusals, now).len(), 0);
        let read_only = io::ErrorKind::ReadOnlyFilesystem;
        count_for(&mut refusals, "read-only", read_only);
        count_for(&mut refusals, "read-only", read_only);
        assert_eq!(
            told(&mut refusals, now + INTERVAL),
            ["1 full", "2 read-only"]
        );
    }

    #[test]
    fn however_many_causes_there_are_a_few_lines_tell_of_them() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        count(&mut refusals, "first");
        told(&mut refusals, now);
        for number in 0..100 {
            let kind = match number % 2 {
                0 => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::ReadOnlyFilesystem,
            };
            count_for(&mut refusals, "disk", kind);
        }
        let lines = told(&mut refusals, now + INTERVAL);
        assert_eq!(lines, ["1 disk", "1 disk", "1 disk", "97 disk"]);
    }
}
