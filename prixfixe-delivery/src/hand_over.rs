//! A whole transaction with a target, in one call.

use prixfixe_server::{Mail, Message, Recipient, Reply, reply};

use crate::{Delivered, Failure, Outcomes, Target};

/// The target did not say what became of each recipient.
pub(crate) const LOCAL_ERROR: Reply = reply!(451 4.3.0 "Local error, try again later");

/// Hands a message over to a target, for all of its recipients: begins a transaction there, names
/// them, and lets it pull the content. For a session of your own that has decided what to accept.
///
/// ```
/// use prixfixe_delivery::{Discard, hand_over};
/// use prixfixe_server::{Accepted, Message, Reply};
///
/// async fn keep(target: &Discard, message: Message) -> Result<Accepted, Reply> {
///     hand_over(target, message).await.into_answer()
/// }
/// ```
///
/// There is an outcome for each recipient, in their order, or one for all of them.
pub async fn hand_over(target: &dyn Target, message: Message) -> Outcomes {
    let envelope = message.shared_envelope();
    let client = message.client().clone();
    let begun = target.begin(Mail::new(&client, &envelope)).answer().await;
    let mut transaction = match begun {
        Ok(transaction) => transaction,
        Err(failure) => return failure.into(),
    };
    let recipients = envelope.recipients();
    let mut refusals: Vec<Option<Failure>> = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        let answer = transaction.rcpt(recipient).answer().await;
        refusals.push(answer.err());
    }
    let count = refusals.iter().filter(|it| it.is_none()).count();
    if count == recipients.len() {
        return checked(transaction.deliver(message).await, count);
    }
    let outcomes = match count {
        0 => Vec::new(),
        _ => {
            let both = recipients.iter().zip(&refusals);
            let taken = both.filter(|(_, refusal)| refusal.is_none());
            let taken: Vec<Recipient> = taken.map(|(it, _)| it.clone()).collect();
            let outcomes = transaction.deliver(message.with_recipients(taken)).await;
            checked(outcomes, count).each_of(count)
        }
    };
    let mut outcomes = outcomes.into_iter();
    let each = refusals.into_iter().map(|refusal| match refusal {
        Some(failure) => Err(failure),
        None => next_of(&mut outcomes),
    });
    Outcomes::Each(each.collect())
}

/// Outcomes for others than there are say nothing.
pub(crate) fn checked(outcomes: Outcomes, recipients: usize) -> Outcomes {
    match outcomes {
        Outcomes::Each(each) if each.len() != recipients => Failure::said(LOCAL_ERROR).into(),
        outcomes => outcomes,
    }
}

/// The next outcome, where there is one.
pub(crate) fn next_of(
    outcomes: &mut impl Iterator<Item = Result<Delivered, Failure>>,
) -> Result<Delivered, Failure> {
    outcomes
        .next()
        .unwrap_or_else(|| Err(Failure::said(LOCAL_ERROR)))
}
