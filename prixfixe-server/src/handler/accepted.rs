//! What became of a message.

use std::borrow::Cow;
use std::time::SystemTime;

use prixfixe_core::{Protocol, Reply};

use crate::{BodyError, MessageId, Recipient, replies};

/// A message is safe: what its client is told.
///
/// By default `250 2.0.0 OK ID`, with the message's id.
#[derive(Debug, Clone, Default)]
pub struct Accepted(Kind);

/// What the client of a message is told.
pub(crate) enum Outcome {
    /// The same for all recipients.
    One(Result<Reply, Reply>),
    /// In LMTP, where recipients came out differently.
    Each {
        /// In the order of RCPT.
        replies: Vec<Reply>,
        /// How many of them are no refusals.
        accepted: usize,
        /// What SMTP would have said.
        common: Reply,
    },
}

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    Usual,
    With(Reply),
    Each(Vec<Result<(), Reply>>),
}

impl Accepted {
    /// Accepted, with a text in place of `OK ID`.
    #[must_use]
    pub fn with_text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::with_reply(Reply::ok(text))
    }

    /// Accepted, with a reply of one's own. Its code has to be a 2xx: anything else is sent as
    /// `451 4.3.0`.
    #[must_use]
    pub fn with_reply(reply: Reply) -> Self {
        Self(Kind::With(reply))
    }

    /// What became of it for each recipient, in the order of
    /// [`Envelope::recipients`](crate::Envelope::recipients).
    ///
    /// Over LMTP each recipient gets its own reply. Over SMTP there is one for all of them: the one
    /// that they have in common; else `451 4.3.0` while one of them is a 4xx, so that the client
    /// tries again; else the worst.
    #[must_use]
    pub fn each(outcomes: Vec<Result<(), Reply>>) -> Self {
        Self(Kind::Each(outcomes))
    }

    /// What a client of SMTP is told, for a test of a session: the one reply that it gets.
    ///
    /// # Errors
    ///
    /// The refusal that the outcomes come to.
    pub fn reply(self) -> Result<Reply, Reply> {
        self.into_answer(MessageId::new(SystemTime::UNIX_EPOCH))
    }

    /// False where there are outcomes for other recipients than so many.
    pub(crate) fn concerns(&self, recipients: usize) -> bool {
        match &self.0 {
            Kind::Each(outcomes) => outcomes.len() == recipients,
            Kind::Usual | Kind::With(_) => true,
        }
    }

    /// What its client is told in that protocol.
    pub(crate) fn told(self, id: MessageId, protocol: Protocol) -> Outcome {
        match self.0 {
            Kind::Each(outcomes) if protocol == Protocol::Lmtp => of_each(outcomes, id),
            kind => Outcome::One(Self(kind).into_answer(id)),
        }
    }

    /// The outcomes of those recipients that the client has named, where [checks](crate::Check)
    /// have changed them.
    ///
    /// Who was removed is told 250, as the client's part in it is over. Of who was added the client
    /// knows nothing: where it failed there, all fail, so that no message is lost.
    pub(crate) fn of_named(self, named: &[Recipient], asked: &[Recipient]) -> Result<Self, Reply> {
        let Kind::Each(outcomes) = self.0 else {
            return Ok(self);
        };
        let mut rest = asked.iter().zip(&outcomes).peekable();
        let mut of_named = Vec::with_capacity(named.len());
        for recipient in named {
            let outcome = rest.next_if(|(asked, _)| asked.path() == recipient.path());
            of_named.push(outcome.map_or(Ok(()), |(_, outcome)| outcome.clone()));
        }
        match rest.any(|(_, outcome)| outcome.is_err()) {
            true => Err(common(outcomes).unwrap_or(replies::LOCAL_ERROR)),
            false => Ok(Self(Kind::Each(of_named))),
        }
    }

    /// The one answer to the client.
    pub(crate) fn into_answer(self, id: MessageId) -> Result<Reply, Reply> {
        match self.0 {
            // Formatting would cost more than all else about this reply.
            Kind::Usual => Ok(Reply::ok(["OK ", id.as_str()].concat())),
            Kind::With(reply) if reply.is_positive() => Ok(reply),
            Kind::With(_) => Err(replies::LOCAL_ERROR),
            Kind::Each(outcomes) => match common(outcomes) {
                None => Self::default().into_answer(id),
                Some(reply) => Err(reply),
            },
        }
    }

    /// The reply to a command that is none of SMTP's.
    pub(crate) fn command_reply(self) -> Result<Reply, Reply> {
        match self.0 {
            Kind::With(reply) => Ok(reply),
            Kind::Usual | Kind::Each(_) => Err(replies::LOCAL_ERROR),
        }
    }
}

/// A refusal that would end the session says nothing of one recipient among others, and one that
/// contradicts itself neither.
fn of_each(outcomes: Vec<Result<(), Reply>>, id: MessageId) -> Outcome {
    let accepted = outcomes.iter().filter(|it| it.is_ok()).count();
    let all_alike = outcomes.windows(2).all(|pair| pair.first() == pair.last());
    let Some(common) = common(outcomes.clone()).filter(|_| !all_alike) else {
        return Outcome::One(Accepted(Kind::Each(outcomes)).into_answer(id));
    };
    let is_usable =
        |it: &Reply| (it.is_transient() || it.is_permanent()) && it.code() != 421 && !it.closes();
    let replies = outcomes.into_iter().map(|outcome| match outcome {
        Ok(()) => Reply::ok(["OK ", id.as_str()].concat()),
        Err(reply) if is_usable(&reply) => reply,
        Err(_) => replies::LOCAL_ERROR,
    });
    Outcome::Each {
        replies: replies.collect(),
        accepted,
        common,
    }
}

/// The refusal that several outcomes become; `None` when there is none.
fn common(outcomes: Vec<Result<(), Reply>>) -> Option<Reply> {
    let all_alike = outcomes.windows(2).all(|pair| pair.first() == pair.last());
    let mut refusals = outcomes.into_iter().filter_map(Result::err);
    let first = refusals.next()?;
    if all_alike {
        return Some(first);
    }
    let is_final = |reply: &Reply| reply.is_permanent();
    refusals
        .try_fold(first, |worst, reply| {
            (is_final(&worst) && is_final(&reply)).then(|| match reply.code() > worst.code() {
                true => reply,
                false => worst,
            })
        })
        .filter(is_final)
        .or(Some(replies::LOCAL_ERROR))
}

/// So that a session can write `message.collect().await?`. The client of a broken message is gone
/// or gets the reply that its mistake earned, whatever the session says.
impl From<BodyError> for Reply {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Refused(reply) => reply,
            BodyError::TooLarge => Self::TOO_LARGE,
            BodyError::Incomplete | BodyError::TimedOut | BodyError::Stopped => {
                Self::transient("message incomplete")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_core::reply;

    use super::*;

    fn answer(outcomes: Vec<Result<(), Reply>>) -> String {
        let id = MessageId::new(SystemTime::now());
        match Accepted::each(outcomes).into_answer(id) {
            Ok(reply) | Err(reply) => reply.to_string(),
        }
    }

    #[test]
    fn several_outcomes_become_one_reply() {
        let (full, gone) = (Reply::MAILBOX_FULL, Reply::NO_SUCH_USER);
        let policy = reply!(554 5.7.1 "No");
        assert!(answer(vec![Ok(()), Ok(())]).starts_with("250 2.0.0 OK "));
        for (outcomes, expected) in [
            (vec![Err(full.clone())], "452 4.2.2 Mailbox full"),
            (
                vec![Err(full.clone()), Err(full.clone())],
                "452 4.2.2 Mailbox full",
            ),
            (
                vec![Ok(()), Err(full.clone())],
                "451 4.3.0 Local error, try again later",
            ),
            (
                vec![Err(gone.clone()), Err(full)],
                "451 4.3.0 Local error, try again later",
            ),
            (
                vec![Ok(()), Err(gone.clone())],
                "550 5.1.1 No such user here",
            ),
            (vec![Err(policy), Err(gone)], "554 5.7.1 No"),
        ] {
            assert_eq!(answer(outcomes), expected);
        }
    }

    /// RFC 2033 section 4.2.
    #[test]
    fn over_lmtp_each_recipient_has_its_own() {
        let told = |outcomes| {
            let id = MessageId::new(SystemTime::now());
            match Accepted::each(outcomes).told(id, Protocol::Lmtp) {
                Outcome::One(Ok(reply) | Err(reply)) => vec![reply.code()],
                Outcome::Each { replies, .. } => replies.iter().map(Reply::code).collect(),
            }
        };
        let (full, gone) = (Reply::MAILBOX_FULL, Reply::NO_SUCH_USER);
        let away = reply!(421 4.3.2 "No");
        assert_eq!(told(vec![Ok(()), Err(full.clone())]), [250, 452]);
        assert_eq!(told(vec![Err(gone.clone()), Err(full)]), [550, 452]);
        assert_eq!(told(vec![Ok(()), Ok(())]), [250]);
        assert_eq!(told(vec![Err(gone.clone()); 2]), [550]);
        assert_eq!(told(vec![Err(away.clone()); 2]), [421]);
        assert_eq!(told(vec![Err(away), Err(gone)]), [451, 550]);
        assert_eq!(told(vec![Err(Reply::ok("no refusal")), Ok(())]), [451, 250]);
    }

    #[test]
    fn outcomes_are_those_of_the_recipients_that_the_client_has_named() {
        let recipients = |names: &[&str]| -> Vec<Recipient> {
            let recipient =
                |name: &&str| Recipient::new(format!("{name}@example.com").parse().unwrap());
            names.iter().map(recipient).collect()
        };
        let of_named = |named: &[&str], asked: &[&str], outcomes| {
            let accepted = Accepted::each(outcomes);
            match accepted.of_named(&recipients(named), &recipients(asked)) {
                Ok(Accepted(Kind::Each(outcomes))) => outcomes,
                Ok(_) => Vec::new(),
                Err(reply) => vec![Err(reply)],
            }
        };
        let gone = || Err(Reply::NO_SUCH_USER);
        let outcomes = of_named(&["a", "b", "b"], &["b", "b"], vec![gone(), Ok(())]);
        assert_eq!(outcomes, [Ok(()), gone(), Ok(())]);
        let outcomes = of_named(
            &["a", "b"],
            &["a", "b", "new"],
            vec![Ok(()), gone(), Ok(())],
        );
        assert_eq!(outcomes, [Ok(()), gone()]);
        let outcomes = of_named(&["a"], &["a", "new"], vec![Ok(()), gone()]);
        assert_eq!(outcomes, [gone()], "nobody else is told of it");
    }

    #[test]
    fn outcomes_for_other_recipients_than_there_are_are_seen() {
        for outcomes in [vec![], vec![Ok(())], vec![Ok(()); 3]] {
            assert!(!Accepted::each(outcomes).concerns(2));
        }
        assert!(Accepted::each(vec![Ok(()); 2]).concerns(2));
        assert!(Accepted::default().concerns(2));
    }
}
