//! What becomes of a message after an attempt.

use std::time::{Duration, SystemTime};

use crate::{Delivered, Failure, FailureKind};

/// The recipients of an attempt, by what is next for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// They have it, and this is what the target said.
    pub(super) delivered: Vec<(u32, Option<Box<str>>)>,
    /// They are tried again.
    pub(super) waiting: Vec<(u32, Failure)>,
    /// They are given up.
    pub(super) failed: Vec<(u32, Failure)>,
}

/// Sorts them. What is too old is not tried again.
pub(super) fn verdict(
    places: &[u32],
    outcomes: Vec<Result<Delivered, Failure>>,
    is_too_old: bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    for (place, outcome) in places.iter().zip(outcomes) {
        match outcome {
            Ok(delivered) => verdict.delivered.push((*place, delivered.detail)),
            Err(failure) if is_too_old || failure.kind() == FailureKind::Never => {
                verdict.failed.push((*place, failure));
            }
            Err(failure) => verdict.waiting.push((*place, failure)),
        }
    }
    verdict
}

/// Why somebody waits or was given up.
pub(super) fn words(failure: &Failure) -> String {
    match failure.detail() {
        Some(detail) => format!("{}: {detail}", failure.reply()),
        None => failure.reply().to_string(),
    }
}

/// Whether a message has waited for so long that it is given up.
pub(super) fn is_too_old(since: SystemTime, now: SystemTime, give_up_after: Duration) -> bool {
    // A clock that went back says nothing.
    now.duration_since(since)
        .is_ok_and(|age| age >= give_up_after)
}

#[cfg(test)]
mod tests {
    use prixfixe_server::{Reply, reply};

    use super::*;

    const GONE: Reply = reply!(550 5.1.1 "No such user");

    #[test]
    fn a_recipient_is_done_waits_or_has_failed() {
        let outcomes = || {
            vec![
                Ok(Delivered::default()),
                Err(Failure::unreachable("refused")),
                Err(Failure::said(GONE)),
            ]
        };
        let young = verdict(&[4, 5, 7], outcomes(), false);
        assert_eq!(young.delivered, [(4, None)]);
        assert_eq!(young.waiting.len(), 1);
        assert_eq!(young.waiting[0].0, 5);
        assert_eq!(young.failed.len(), 1);
        assert_eq!(young.failed[0].0, 7);
        assert!(words(&young.waiting[0].1).contains("refused"));
        let old = verdict(&[4, 5, 7], outcomes(), true);
        assert!(old.waiting.is_empty());
        assert_eq!(old.failed.len(), 2);
        assert_eq!(verdict(&[], Vec::new(), true), Verdict::default());
    }

    #[test]
    fn age_is_what_has_passed_since_it_came() {
        let came = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let day = Duration::from_secs(86_400);
        assert!(!is_too_old(came, came + day - Duration::from_secs(1), day));
        assert!(is_too_old(came, came + day, day));
        assert!(!is_too_old(came, SystemTime::UNIX_EPOCH, day));
    }
}
