//! Kinds of commands, and what was agreed on about each.

use crate::{Stage, Steps};

/// A kind of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Hello,
    Mail,
    Rcpt,
    Data,
    Header,
    EndOfHeader,
    Body,
    EndOfMessage,
    Unknown,
}

impl Kind {
    pub(crate) const fn command(self) -> u8 {
        match self {
            Self::Connect => b'C',
            Self::Hello => b'H',
            Self::Mail => b'M',
            Self::Rcpt => b'R',
            Self::Data => b'T',
            Self::Header => b'L',
            Self::EndOfHeader => b'N',
            Self::Body => b'B',
            Self::EndOfMessage => b'E',
            Self::Unknown => b'U',
        }
    }

    /// The step that leaves it out, and the one that leaves it unanswered.
    pub(crate) const fn steps(self) -> (Option<Steps>, Option<Steps>) {
        let (absent, silent) = match self {
            Self::Connect => (Steps::NO_CONNECT, Steps::SILENT_CONNECT),
            Self::Hello => (Steps::NO_HELO, Steps::SILENT_HELO),
            Self::Mail => (Steps::NO_MAIL, Steps::SILENT_MAIL),
            Self::Rcpt => (Steps::NO_RCPT, Steps::SILENT_RCPT),
            Self::Data => (Steps::NO_DATA, Steps::SILENT_DATA),
            Self::Header => (Steps::NO_HEADERS, Steps::SILENT_HEADER),
            Self::EndOfHeader => (Steps::NO_END_OF_HEADER, Steps::SILENT_END_OF_HEADER),
            Self::Body => (Steps::NO_BODY, Steps::SILENT_BODY),
            Self::Unknown => (Steps::NO_UNKNOWN, Steps::SILENT_UNKNOWN),
            Self::EndOfMessage => return (None, None),
        };
        (Some(absent), Some(silent))
    }

    /// It belongs to a message that MAIL has begun.
    pub(crate) const fn needs_message(self) -> bool {
        !matches!(
            self,
            Self::Connect | Self::Hello | Self::Mail | Self::Unknown
        )
    }

    /// It comes several times, so that the rest can be skipped.
    pub(crate) const fn is_repeated(self) -> bool {
        matches!(self, Self::Rcpt | Self::Header | Self::Body)
    }

    /// The stage whose macros go before it.
    pub(crate) const fn stage(self) -> Option<Stage> {
        match self {
            Self::Connect => Some(Stage::Connect),
            Self::Hello => Some(Stage::Hello),
            Self::Mail => Some(Stage::Mail),
            Self::Rcpt => Some(Stage::Rcpt),
            Self::Data => Some(Stage::Data),
            Self::EndOfHeader => Some(Stage::EndOfHeader),
            Self::EndOfMessage => Some(Stage::EndOfMessage),
            Self::Header | Self::Body | Self::Unknown => None,
        }
    }
}
