//! What a method finds, in RFC 8601's words.

use std::fmt;

use mail_auth::{DkimResult, DmarcResult, SpfResult};

/// What a method finds, in the words of RFC 8601 section 2.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// There is nothing to go by: no record, no signature.
    None,
    /// It is right.
    Pass,
    /// It is wrong.
    Fail,
    /// SPF's weak "probably wrong".
    SoftFail,
    /// The domain says nothing about it, or a signature cannot be used.
    Neutral,
    /// The DNS gave no answer.
    TempError,
    /// What the domain published makes no sense.
    PermError,
}

impl Outcome {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Outcome> for SpfResult {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Fail => Self::Fail,
            Outcome::SoftFail => Self::SoftFail,
            Outcome::Neutral => Self::Neutral,
            Outcome::TempError => Self::TempError,
            Outcome::PermError => Self::PermError,
            Outcome::None => Self::None,
        }
    }
}

impl From<&DkimResult> for Outcome {
    fn from(result: &DkimResult) -> Self {
        match result {
            DkimResult::Pass => Self::Pass,
            DkimResult::Neutral(_) => Self::Neutral,
            DkimResult::Fail(_) => Self::Fail,
            DkimResult::PermError(_) => Self::PermError,
            DkimResult::TempError(_) => Self::TempError,
            DkimResult::None => Self::None,
        }
    }
}

impl From<&DmarcResult> for Outcome {
    fn from(result: &DmarcResult) -> Self {
        match result {
            DmarcResult::Pass => Self::Pass,
            DmarcResult::Fail(_) => Self::Fail,
            DmarcResult::TempError(_) => Self::TempError,
            DmarcResult::PermError(_) => Self::PermError,
            DmarcResult::None => Self::None,
        }
    }
}
