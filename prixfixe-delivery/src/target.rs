//! A place that mail can be handed to.
//!
//! Whoever adds one writes a [`Target`] and one line of the registry. Everything else (routes,
//! outcomes of repeats, counters, log lines, the reply to the client) is the same for all of them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use prixfixe_server::{Accepted, Mail, Message, Recipient, Reply};

use crate::{Fault, Health, MinFree, Storage};

/// A future of a target's: boxed, since targets are chosen while a program runs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place that mail can be handed to.
///
/// It is asked in the order of the dialogue: [`admit`](Self::admit) at MAIL, [`begin`](Self::begin)
/// at the first recipient that goes there, [`Transaction::rcpt`] for each, [`Transaction::deliver`]
/// with the content. Every future may be dropped at any `.await`: the client is gone, or its time
/// is over.
pub trait Target: Send + Sync + 'static {
    /// Whether a transaction has a chance. Looks at memory alone: it is asked for each MAIL.
    ///
    /// # Errors
    ///
    /// The reply to MAIL: there is no space, say.
    fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        let _ = mail;
        Ok(())
    }

    /// Begins a transaction. The recipients of `mail` are none of its business yet.
    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>>;

    /// Whether mail can be handed over now: what a readiness check asks.
    fn health(&self) -> Health;

    /// Each file system that it writes to.
    fn storage(&self) -> Vec<Storage> {
        Vec::new()
    }

    /// Changes [`MaildirOptions::min_free`](crate::MaildirOptions::min_free), where it has one,
    /// from now on.
    fn set_min_free(&self, min_free: MinFree) {
        let _ = min_free;
    }

    /// Changes [`MaildirOptions::fsync`](crate::MaildirOptions::fsync), where it has one, from the
    /// next message on.
    ///
    /// # Errors
    ///
    /// [`Fault`] when what is there cannot be synced. Then nothing has changed.
    fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        let _ = fsync;
        Ok(())
    }

    /// True for what passes mail on by SMTP to whomever the recipient names: strangers must not
    /// choose where it goes.
    fn is_relay(&self) -> bool {
        false
    }

    /// True where it was seen to take the parameters of DSN (RFC 3461) and to act on them.
    fn offers_dsn(&self) -> bool {
        false
    }

    /// True for what is on this machine: [`begin`](Self::begin) and [`Transaction::rcpt`] answer at
    /// once, there is one outcome for all recipients, and a `250` tells all that the log could say
    /// of it.
    fn is_local(&self) -> bool {
        false
    }
}

/// One message under way to a target. Dropping it gives it up.
pub trait Transaction: Send {
    /// Whether the target takes a recipient. A refusal leaves the transaction as it is.
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>>;

    /// Hands the message over: pulls its content, and tells what became of it for each recipient
    /// that was taken, in their order.
    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes>;
}

/// An answer that is there, or will be. Targets that know at once cost no allocation.
pub enum Asked<'a, T> {
    /// It is there.
    Now(T),
    /// It will be.
    Later(BoxFuture<'a, T>),
}

impl<'a, T> Asked<'a, T> {
    /// An answer that has to be waited for.
    pub fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Later(Box::pin(future))
    }

    /// The answer, if it is there.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(answer) => Some(answer),
            Self::Later(_) => None,
        }
    }

    /// Waits for it.
    pub async fn answer(self) -> T {
        match self {
            Self::Now(answer) => answer,
            Self::Later(future) => future.await,
        }
    }
}

impl<T> fmt::Debug for Asked<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
        })
    }
}

/// The target has taken responsibility for a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// What the target said, for the log: the name that it gave the message, say.
    pub detail: Option<Box<str>>,
}

impl Delivered {
    /// Taken, with these words.
    #[must_use]
    pub fn saying(detail: impl Into<Box<str>>) -> Self {
        Self {
            detail: Some(detail.into()),
        }
    }
}

/// Why a target did not take a message or a recipient, and what its client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", detail.as_deref().unwrap_or(reply.text()))]
pub struct Failure {
    kind: FailureKind,
    reply: Reply,
    detail: Option<Box<str>>,
}

/// What a client, or a queue, may conclude from a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The target has not taken it, and may later: a 4xx.
    NotNow,
    /// The target will never take it: a 5xx, and the target's own judgement of this mail.
    Never,
    /// The connection was lost after the content: the target may have it. A 4xx, and a repeat may
    /// be one too many.
    Unknown,
}

impl Failure {
    /// The target's own judgement of this mail: its reply is the client's.
    #[must_use]
    pub fn said(reply: Reply) -> Self {
        Self {
            kind: match reply.is_permanent() {
                true => FailureKind::Never,
                false => FailureKind::NotNow,
            },
            reply,
            detail: None,
        }
    }

    /// Trouble between us and the target, which is none of the client's matter: `451 4.4.1`. The
    /// detail is for the log: it says what to mend, and never holds a secret.
    #[must_use]
    pub fn unreachable(detail: impl Into<Box<str>>) -> Self {
        Self {
            kind: FailureKind::NotNow,
            reply: UNREACHABLE,
            detail: Some(detail.into()),
        }
    }

    /// The answer to the whole message was lost: the target may have it. `451 4.4.1` too.
    #[must_use]
    pub fn unknown(detail: impl Into<Box<str>>) -> Self {
        Self {
            kind: FailureKind::Unknown,
            reply: UNREACHABLE,
            detail: Some(detail.into()),
        }
    }

    /// The same, with words for the log.
    #[must_use]
    pub fn because(self, detail: impl Into<Box<str>>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// What may be concluded from it.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What the client is told.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Words for the log, beside the reply.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The reply alone.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        self.reply
    }
}

/// The target cannot be reached, or does not behave.
pub(crate) const UNREACHABLE: Reply = Reply::from_static(
    451,
    prixfixe_server::EnhancedCode(4, 4, 1),
    "Delivery is not possible now, try again later",
);

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcomes {
    /// The same for all recipients.
    All(Result<Delivered, Failure>),
    /// For each recipient that was taken, in their order.
    Each(Vec<Result<Delivered, Failure>>),
}

impl Outcomes {
    /// One for each of so many recipients.
    #[must_use]
    pub fn each_of(self, recipients: usize) -> Vec<Result<Delivered, Failure>> {
        match self {
            Self::All(outcome) => vec![outcome; recipients],
            Self::Each(outcomes) => outcomes,
        }
    }
}

impl Outcomes {
    /// What a [session](prixfixe_server::Session) answers about the message.
    ///
    /// # Errors
    ///
    /// The reply, where all recipients have the same failure.
    pub fn into_answer(self) -> Result<Accepted, Reply> {
        match self {
            Self::All(Ok(_)) => Ok(Accepted::default()),
            Self::All(Err(failure)) => Err(failure.into_reply()),
            Self::Each(outcomes) => {
                let outcomes = outcomes.into_iter();
                let replies = outcomes.map(|it| it.map(drop).map_err(Failure::into_reply));
                Ok(Accepted::each(replies.collect()))
            }
        }
    }
}

impl From<Failure> for Outcomes {
    fn from(failure: Failure) -> Self {
        Self::All(Err(failure))
    }
}

impl From<Reply> for Failure {
    fn from(reply: Reply) -> Self {
        Self::said(reply)
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_server::reply;

    use super::*;

    #[test]
    fn what_a_target_says_is_final_where_its_code_is() {
        let gone = Failure::said(reply!(550 5.1.1 "No such user"));
        assert_eq!(gone.kind(), FailureKind::Never);
        let full = Failure::said(reply!(452 4.2.2 "Over quota"));
        assert_eq!(full.kind(), FailureKind::NotNow);
        assert_eq!(full.to_string(), "Over quota");
    }

    #[test]
    fn our_trouble_with_a_target_is_not_told_to_clients() {
        let down = Failure::unreachable("relay.example.com:587: connection refused");
        assert_eq!(down.reply().code(), 451);
        assert!(!down.reply().to_string().contains("relay"));
        assert_eq!(
            down.to_string(),
            "relay.example.com:587: connection refused"
        );
        assert_eq!(Failure::unknown("lost").kind(), FailureKind::Unknown);
    }
}
