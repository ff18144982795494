//! What happened, for people, when somebody wants to know.

use crate::runtime::Nanos;
use crate::scenario::seconds;

#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
    /// Of all that happened: twice the same run gives the same number twice.
    pub digest: u64,
}

impl Trace {
    pub fn new(kept: bool) -> Self {
        Self {
            lines: kept.then(Vec::new),
            digest: 0xCBF2_9CE4_8422_2325,
        }
    }

    pub fn line(&mut self, now: Nanos, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{} {}", seconds(now), text()));
        }
    }

    pub fn count(&mut self, number: u64) {
        self.digest = (self.digest ^ number).wrapping_mul(0x0000_0100_0000_01B3);
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
