//! How far the delivery of a message is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::envelope::StoredEnvelope;

/// How far the delivery of a message is, for each of its targets in their order.
///
/// It is small, whatever the number of recipients: a bit for each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeliveryState {
    /// The form of all this: 1.
    pub version: u32,
    /// One for each of [`StoredEnvelope::targets`].
    pub targets: Vec<TargetState>,
}

/// How far the delivery to a target is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetState {
    /// Attempts that were made.
    pub attempts: u32,
    /// When the next one is, in milliseconds since 1970.
    pub next: u64,
    /// What the last failed attempt said, at most 400 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who has it, or never will: a hexadecimal digit for four recipients, the first of them its lowest bit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ended: String,
    /// Nothing is left to be done for this target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

/// The most of an error that is kept.
const MAX_ERROR: usize = 400;

impl DeliveryState {
    /// No attempt was made yet.
    #[must_use]
    pub fn new(envelope: &StoredEnvelope) -> Self {
        Self {
            version: 1,
            targets: vec![TargetState::default(); envelope.targets.len()],
        }
    }

    /// What was stored; without anything, or with what cannot be read, no attempt was made.
    #[must_use]
    pub fn from_bytes(bytes: Option<&[u8]>, envelope: &StoredEnvelope) -> Self {
        let read = bytes.and_then(|bytes| serde_json::from_slice::<Self>(bytes).ok());
        let fits = |it: &Self| it.version == 1 && it.targets.len() == envelope.targets.len();
        read.filter(fits).unwrap_or_else(|| Self::new(envelope))
    }

    /// The bytes that are stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and lists of them: nothing that JSON cannot say.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_over(&self, envelope: &StoredEnvelope) -> bool {
        let mut both = envelope.targets.iter().zip(&self.targets);
        both.all(|(target, state)| state.is_over(target.recipients.len()))
    }
}

impl TargetState {
    /// Whether the recipient at this place of the target's has it, or never will.
    #[must_use]
    pub fn has_ended(&self, place: usize) -> bool {
        self.digit(place / 4) & (1 << (place % 4)) != 0
    }

    /// The recipient at this place of the target's has it, or never will.
    pub fn end(&mut self, place: usize) {
        let mut digits: Vec<u8> = (0..self.ended.len().max(place / 4 + 1))
            .map(|at| self.digit(at))
            .collect();
        if let Some(digit) = digits.get_mut(place / 4) {
            *digit |= 1 << (place % 4);
        }
        let digits = digits.iter();
        self.ended = digits
            .filter_map(|it| char::from_digit(u32::from(*it), 16))
            .collect();
    }

    /// Whether all of so many recipients have it, or never will.
    #[must_use]
    pub fn is_over(&self, recipients: usize) -> bool {
        (0..recipients).all(|place| self.has_ended(place))
    }

    /// When the next attempt is.
    #[must_use]
    pub fn next_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.next)
    }

    /// Remembers what a failed attempt said.
    pub fn failed(&mut self, error: &str) {
        let end = error.floor_char_boundary(MAX_ERROR);
        self.error = Some(error.get(..end).unwrap_or_default().to_owned());
    }

    fn digit(&self, at: usize) -> u8 {
        let digit = self.ended.as_bytes().get(at).copied();
        let value = digit.and_then(|it| char::from(it).to_digit(16));
        value.and_then(|it| u8::try_from(it).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipient_ends_by_itself() {
        let mut state = TargetState::default();
        assert!(!state.is_over(1) && state.is_over(0));
        for place in [0, 9, 5, 1] {
            assert!(!state.has_ended(place));
            state.end(place);
            assert!(state.has_ended(place));
        }
        assert_eq!(state.ended, "322");
        let ended: Vec<_> = (0..12).filter(|it| state.has_ended(*it)).collect();
        assert_eq!(ended, [0, 1, 5, 9]);
        (0..10).for_each(|place| state.end(place));
        assert!(state.is_over(10) && !state.is_over(11));
    }

    #[test]
    fn an_error_is_cut_and_not_in_the_middle_of_a_letter() {
        let mut state = TargetState::default();
        state.failed(&"\u{e4}\u{20ac}".repeat(300));
        assert!(state.error.is_some_and(|it| it.len() <= MAX_ERROR));
    }
}
