//! The line that lives while a run goes on.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::plan::Pace;
use crate::workload::Progress;

/// A progress line on stderr; nothing where stderr is no terminal.
#[derive(Debug)]
pub(super) struct Line {
    bar: ProgressBar,
    pace: Pace,
    began: Option<Instant>,
    before: (Instant, u64),
}

impl Line {
    pub(super) fn new(name: &str, pace: Pace) -> Self {
        let length = match (pace.messages, pace.duration) {
            (Some(messages), _) => Some(messages),
            (None, duration) => duration.map(milliseconds),
        };
        let bar = ProgressBar::new(length.unwrap_or(0));
        let template = "{prefix} [{bar:30}] {elapsed} {msg}";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(name.to_owned());
        bar.set_message("opening connections in the background");
        Self {
            bar,
            pace,
            began: None,
            before: (Instant::now(), 0),
        }
    }

    /// Draws the line anew.
    pub(super) fn tick(&mut self, progress: Progress, now: Instant) {
        if !progress.has_begun {
            return self.bar.tick();
        }
        let began = *self.began.get_or_insert(now);
        let (accepted, failed) = (progress.accepted, progress.failed);
        let position = match self.pace.messages {
            Some(_) => accepted + failed,
            None => milliseconds(now - began),
        };
        let elapsed = now
            .saturating_duration_since(self.before.0)
            .as_secs_f64()
            .max(1e-3);
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let rate = accepted.saturating_sub(self.before.1) as f64 / elapsed;
        self.before = (now, accepted);
        let failures = if failed > 0 {
            format!(", {failed} failed")
        } else {
            String::new()
        };
        self.bar.set_position(position);
        self.bar
            .set_message(format!("{accepted} accepted{failures}, {rate:.0}/s"));
    }

    /// Says lines that stay above it; nothing where stderr is no terminal.
    pub(super) fn teller(&self) -> impl Fn(&str) + use<> {
        let bar = self.bar.clone();
        move |text| bar.println(text)
    }

    /// Takes the line away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
