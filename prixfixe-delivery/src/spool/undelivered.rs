//! What is asked for when the delivery of a message is over and its sender may have to hear of it.

use std::fmt;
use std::time::SystemTime;

use prixfixe_server::{Message, Reply};

use super::envelope::{StoredEnvelope, StoredRecipient};

/// Writes to senders what became of their mail.
///
/// It is asked for recipients that a target has refused or that were given up, unless their NOTIFY asks for no report of
/// that, and for those that were delivered where their sender wants to hear of it (`NOTIFY=SUCCESS`, RFC 3461).
pub trait Bouncer: Send + Sync + 'static {
    /// What the sender is to get. It goes into the spool as any other message does, by the routes.
    ///
    /// A recipient of whom it says nothing is kept in `failed/`, if the message was not delivered there; without any notice,
    /// all of them are.
    fn report(&self, report: &Report<'_>) -> Option<Notice>;
}

/// A message to a sender, and of which recipients it tells.
#[derive(Debug)]
pub struct Notice {
    message: Message,
    about: About,
}

#[derive(Debug)]
enum About {
    All,
    /// Places in [`Report::recipients`].
    Some(Vec<usize>),
}

impl Notice {
    /// It tells of all of them.
    #[must_use]
    pub fn of_all(message: Message) -> Self {
        Self {
            message,
            about: About::All,
        }
    }

    /// It tells of those at these places of [`Report::recipients`].
    #[must_use]
    pub fn of_some(message: Message, places: impl IntoIterator<Item = usize>) -> Self {
        Self {
            message,
            about: About::Some(places.into_iter().collect()),
        }
    }

    /// Whether it tells of the recipient at this place.
    #[must_use]
    pub fn tells_of(&self, place: usize) -> bool {
        match &self.about {
            About::All => true,
            About::Some(places) => places.contains(&place),
        }
    }

    /// The message.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }
}

/// Nobody hears of anything: what is not delivered goes to `failed/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBounces;

impl Bouncer for NoBounces {
    fn report(&self, _: &Report<'_>) -> Option<Notice> {
        None
    }
}

/// Recipients of a message for whom the delivery to a target is over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<'a> {
    /// The message.
    pub envelope: &'a StoredEnvelope,
    /// The target.
    pub target: &'a str,
    /// What has become of the message there.
    pub ending: Ending,
    /// For whom.
    pub recipients: &'a [Ended],
    /// The beginning of the content: all of its header, unless that is larger than 256 KiB.
    pub content: &'a [u8],
    /// That is all of it.
    pub is_whole: bool,
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The target has the message.
    Delivered,
    /// The target has said that it will never take it.
    Refused,
    /// It was tried for too long.
    GivenUp,
}

/// A recipient for whom the delivery is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Who.
    pub recipient: StoredRecipient,
    /// The target's own words of the last attempt: of a failure, or of a delivery where it said any.
    pub reply: Option<Reply>,
    /// More words for the log, of what stood in the way.
    pub detail: Option<String>,
    /// Attempts that were made.
    pub attempts: u32,
    /// When the last one was.
    pub last_attempt: SystemTime,
}

impl Ended {
    /// A recipient for whom the delivery is over.
    #[must_use]
    pub fn new(recipient: StoredRecipient, attempts: u32, last_attempt: SystemTime) -> Self {
        Self {
            recipient,
            reply: None,
            detail: None,
            attempts,
            last_attempt,
        }
    }

    /// Whether the sender wants to hear of it. Without NOTIFY, of failures alone (RFC 3461 section 4.1).
    pub(super) fn is_asked_for(&self, ending: Ending) -> bool {
        let notify = self.recipient.notify.as_deref();
        let is_in = |word| notify.map(|it| it.to_ascii_uppercase().contains(word));
        match ending {
            Ending::Delivered => is_in("SUCCESS").unwrap_or(false),
            Ending::Refused | Ending::GivenUp => is_in("FAILURE").unwrap_or(true),
        }
    }
}

impl<'a> Report<'a> {
    /// A report, for tests and for whoever delivers in another way.
    #[must_use]
    pub fn new(
        envelope: &'a StoredEnvelope,
        target: &'a str,
        ending: Ending,
        recipients: &'a [Ended],
    ) -> Self {
        Self {
            envelope,
            target,
            ending,
            recipients,
            content: &[],
            is_whole: false,
        }
    }

    /// The same, with the beginning of the content, which may be all of it.
    #[must_use]
    pub fn with_content(mut self, content: &'a [u8], is_whole: bool) -> Self {
        self.content = content;
        self.is_whole = is_whole;
        self
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::GivenUp => "given up",
        })
    }
}
