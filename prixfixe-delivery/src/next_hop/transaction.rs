//! One message under way: its recipients are asked for there while the client waits for the answer
//! to each.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use prixfixe_client::{Extension, Extensions, Limits, Rcpt, ReplyBuf, Stage, Unsendable};
use prixfixe_server::{Mail, Message, Recipient, Reply, reply};
use tokio::time::timeout;

use super::Hop;
use super::content::{FRONT, Part, Verdicts, deliver};
use super::envelope::{said_mail, said_rcpt};
use super::link::{Link, Said, now};
use super::trouble::{Trouble, is_about_mail, our_matter, said};
use crate::target::{Asked, BoxFuture, Failure, Outcomes, Transaction};
use crate::upstream::Approach;

/// One message under way.
pub(super) struct Relay {
    hop: Arc<Hop>,
    /// The right to ask, until there is an answer.
    approach: Option<Approach>,
    mail: prixfixe_client::Mail<'static>,
    /// The client has announced internationalised headers.
    smtp_utf8: bool,
    state: State,
}

enum State {
    /// Nothing was said there.
    Fresh,
    /// MAIL was accepted there.
    Open(Open),
    /// Nothing more can be said.
    Over(Failure),
}

/// A transaction there.
struct Open {
    link: Box<Link>,
    /// Those that were accepted, as the dialogue counts them.
    accepted: Vec<usize>,
    named: Named,
}

/// What the next hop's LIMITS (RFC 9422) count of a transaction.
#[derive(Default)]
struct Named {
    recipients: u32,
    /// Of those, where it limits them.
    domains: HashSet<Box<str>>,
}

/// What the next hop says about a recipient.
enum Answer {
    Accepted,
    /// It judges the mail.
    Judged(Failure),
    /// It does not work.
    Ours(Failure),
}

impl Relay {
    pub(super) fn begin(hop: &Arc<Hop>, mail: Mail<'_>) -> Result<Self, Failure> {
        Ok(Self {
            mail: said_mail(mail)?,
            smtp_utf8: mail.parameters().smtputf8,
            approach: Some(hop.upstream.approach()?),
            hop: Arc::clone(hop),
            state: State::Fresh,
        })
    }

    async fn ask(&mut self, recipient: &Recipient) -> Result<(), Failure> {
        let rcpt = said_rcpt(recipient).inspect_err(|_| {
            // Nothing is asked, and the client may be silent now for as long as it likes: others
            // may ask.
            self.approach = None;
        })?;
        if matches!(self.state, State::Fresh) && self.approach.is_none() {
            self.approach = Some(self.hop.upstream.approach()?);
        }
        // What stays where this future is dropped in the middle.
        let given_up = Failure::unreachable("a question to the next hop was given up");
        let (state, answer) = match mem::replace(&mut self.state, State::Over(given_up)) {
            State::Fresh => self.ask_first(recipient, &rcpt).await,
            State::Open(open) => self.ask_next(open, recipient, &rcpt).await,
            State::Over(failure) => (State::Over(failure.clone()), Answer::Judged(failure)),
        };
        self.state = state;
        match answer {
            Answer::Accepted => {
                self.answered();
                Ok(())
            }
            Answer::Judged(failure) => {
                self.answered();
                Err(failure)
            }
            Answer::Ours(failure) => {
                self.hop.upstream.unanswered(&failure.to_string());
                self.approach = None;
                Err(failure)
            }
        }
    }

    /// There was an answer: others may ask too.
    fn answered(&mut self) {
        if self.approach.take().is_some() {
            self.hop.upstream.answered();
        }
    }

    async fn ask_first(&self, recipient: &Recipient, rcpt: &Rcpt<'_>) -> (State, Answer) {
        match self.say_first(recipient, rcpt).await {
            Ok(result) => result,
            Err(trouble) => {
                let failure = trouble.failure();
                (State::Over(failure.clone()), Answer::Ours(failure))
            }
        }
    }

    /// MAIL and RCPT, on a connection that waited or on a new one. One that turns out dead is
    /// replaced once.
    async fn say_first(
        &self,
        recipient: &Recipient,
        rcpt: &Rcpt<'_>,
    ) -> Result<(State, Answer), Trouble> {
        if let Some(mut link) = self.hop.waiting().await {
            match self.say_mail(&mut link, rcpt).await {
                Ok(first) => return Ok(self.settle(link, recipient, first)),
                // The others have waited as long, and the next hop was perhaps started anew.
                Err(trouble) if trouble.is_gone() => self.hop.pool.clear(),
                Err(trouble) => return Err(trouble),
            }
        }
        // Boxed: few messages need a new connection, and all would have room for it.
        let mut link = Box::pin(self.hop.connect()).await?;
        let first = self.say_mail(&mut link, rcpt).await?;
        Ok(self.settle(link, recipient, first))
    }

    async fn say_mail(&self, link: &mut Link, rcpt: &Rcpt<'_>) -> Result<First, Trouble> {
        let offered = *link.dialogue.extensions();
        if let Some(refusal) = self.unfit(&offered, rcpt) {
            return Ok(First::Unfit(refusal));
        }
        let wants_utf8 = self.smtp_utf8 || !rcpt.forward_path().is_ascii();
        let internationalised;
        let mail = match wants_utf8 && offered.smtp_utf8 {
            true => {
                internationalised = self.mail.clone().smtp_utf8();
                &internationalised
            }
            false => &self.mail,
        };
        match link.dialogue.mail(now(), mail) {
            Ok(()) => {}
            Err(Unsendable::NotOffered(Extension::BinaryMime)) => {
                return Ok(First::Unfit(BINARY));
            }
            Err(error) => return Err(Trouble::new(format!("MAIL cannot be said: {error}"))),
        }
        let told = link.dialogue.rcpt(now(), rcpt);
        told.map_err(|error| Trouble::new(format!("RCPT cannot be said: {error}")))?;
        let mut refusal = None;
        loop {
            match (link.next().await?, &refusal) {
                (Said::Mail(Err(reply)), _) => refusal = Some(reply),
                (Said::Rcpt(number, answer), None) => return Ok(First::Rcpt(number, answer)),
                (Said::Done, Some(reply)) => return Ok(First::Mail(reply.clone())),
                (Said::Done, None) => return Err(Trouble::new("the transaction ended early")),
                _ => {}
            }
        }
    }

    /// What cannot go there at all.
    fn unfit(&self, offered: &Extensions, rcpt: &Rcpt<'_>) -> Option<Reply> {
        let is_ascii = self.mail.reverse_path().is_ascii() && rcpt.forward_path().is_ascii();
        (!is_ascii && !offered.smtp_utf8).then_some(NO_SMTPUTF8)
    }

    fn settle(&self, link: Box<Link>, recipient: &Recipient, first: First) -> (State, Answer) {
        match first {
            First::Unfit(refusal) => {
                self.hop.pool.put(link);
                (State::Fresh, Answer::Judged(Failure::said(refusal)))
            }
            First::Mail(reply) => {
                let answer = judge(Stage::Mail, &reply);
                let failure = match &answer {
                    Answer::Judged(failure) | Answer::Ours(failure) => failure.clone(),
                    Answer::Accepted => Failure::unreachable("MAIL was refused"),
                };
                // One that has a matter with us may do better by a new connection.
                if matches!(answer, Answer::Judged(_)) {
                    self.hop.pool.put(link);
                }
                (State::Over(failure), answer)
            }
            First::Rcpt(number, answer) => {
                let mut named = Named::default();
                named.add(recipient, &link.dialogue.extensions().limits);
                let accepted = Vec::new();
                let mut open = Open {
                    link,
                    accepted,
                    named,
                };
                let answer = open.take(number, answer);
                (State::Open(open), answer)
            }
        }
    }

    async fn ask_next(
        &self,
        mut open: Open,
        recipient: &Recipient,
        rcpt: &Rcpt<'_>,
    ) -> (State, Answer) {
        if !open.link.is_alive() {
            let failure = Failure::unreachable(GAVE_UP_WAITING);
            return (State::Over(failure.clone()), Answer::Judged(failure));
        }
        let limits = open.link.dialogue.extensions().limits;
        if !open.named.has_room_for(recipient, &limits) {
            return (State::Open(open), Answer::Judged(Failure::said(TOO_MANY)));
        }
        if let Err(error) = open.link.dialogue.rcpt(now(), rcpt) {
            let failure = match error {
                Unsendable::NeedsSmtpUtf8 => Failure::said(NO_SMTPUTF8),
                error => Failure::unreachable(format!("RCPT cannot be said: {error}")),
            };
            return (State::Open(open), Answer::Judged(failure));
        }
        open.named.add(recipient, &limits);
        loop {
            match open.link.next().await {
                Ok(Said::Rcpt(number, answer)) => {
                    let answer = open.take(number, answer);
                    return (State::Open(open), answer);
                }
                Ok(_) => {}
                Err(trouble) => {
                    let failure = trouble.failure();
                    return (State::Over(failure.clone()), Answer::Ours(failure));
                }
            }
        }
    }

    async fn hand_over(mut self: Box<Self>, mut message: Message) -> Outcomes {
        self.approach = None;
        let over = State::Over(Failure::unreachable("the message was handed over before"));
        let open = match mem::replace(&mut self.state, over) {
            State::Open(open) if !open.accepted.is_empty() => open,
            State::Over(failure) => return failure.into(),
            State::Open(_) | State::Fresh => {
                return Failure::unreachable("there is no recipient for it").into();
            }
        };
        let headers = message.received_header();
        let front = match Part::gather(message.body(), FRONT).await {
            Ok(front) => front.behind(headers),
            Err(error) => {
                // Nothing of it was said there, so the connection is as good as before.
                self.state = State::Open(open);
                return Failure::said(error.into()).into();
            }
        };
        let Open {
            mut link,
            accepted,
            named,
        } = open;
        let is_strict = self.hop.strict_8bit && !link.dialogue.extensions().eight_bit_mime;
        if is_strict && !front.is_ascii() {
            self.state = State::Open(Open {
                link,
                accepted,
                named,
            });
            return Failure::said(EIGHT_BIT).into();
        }
        // As long as the next hop may take for those that are there.
        let place = timeout(self.hop.patience.last, self.hop.upstream.enter()).await;
        let pass = match place {
            Ok(Ok(pass)) => pass,
            Ok(Err(failure)) => return failure.into(),
            Err(_) => return Failure::unreachable(NO_PLACE).into(),
        };
        if !link.is_alive() {
            return Failure::unreachable(GAVE_UP_WAITING).into();
        }
        let mut verdicts = Verdicts::new(self.hop.url.is_lmtp(), accepted);
        let body = message.body();
        let (outcomes, link, trouble) =
            match deliver(&mut link, &mut verdicts, front, body, is_strict).await {
                Ok(()) => (verdicts.finish(), Some(link), None),
                Err(stop) => {
                    let trouble = stop.trouble();
                    verdicts.stop(stop);
                    (verdicts.finish(), None, trouble)
                }
            };
        match trouble.or_else(|| verdicts.trouble()) {
            Some(text) => pass.failed(&text),
            None => pass.succeeded(),
        }
        if let Some(link) = link {
            self.hop.pool.put(link);
        }
        outcomes
    }
}

/// What the first question has led to.
enum First {
    /// It cannot even be asked.
    Unfit(Reply),
    /// MAIL was refused.
    Mail(ReplyBuf),
    Rcpt(usize, Result<(), ReplyBuf>),
}

impl Open {
    fn take(&mut self, number: usize, answer: Result<(), ReplyBuf>) -> Answer {
        match answer {
            Ok(()) => {
                self.accepted.push(number);
                Answer::Accepted
            }
            Err(reply) => judge(Stage::Rcpt, &reply),
        }
    }
}

impl Named {
    /// Whether one more goes into the same transaction there.
    fn has_room_for(&self, recipient: &Recipient, limits: &Limits) -> bool {
        let is_known = |domain: &str| self.domains.contains(domain);
        let is_below = |most: Option<u32>, count: usize| {
            most.is_none_or(|most| count < usize::try_from(most).unwrap_or(usize::MAX))
        };
        let recipients = usize::try_from(self.recipients).unwrap_or(usize::MAX);
        is_below(limits.rcpt, recipients)
            && (is_below(limits.rcpt_domains, self.domains.len())
                || domain_of(recipient).is_none_or(|domain| is_known(&domain)))
    }

    fn add(&mut self, recipient: &Recipient, limits: &Limits) {
        self.recipients = self.recipients.saturating_add(1);
        if limits.rcpt_domains.is_some()
            && let Some(domain) = domain_of(recipient)
        {
            self.domains.insert(domain);
        }
    }
}

/// In its one form. A bare `postmaster` is in none.
fn domain_of(recipient: &Recipient) -> Option<Box<str>> {
    let mailbox = recipient.path().mailbox()?;
    Some(mailbox.domain().to_ascii().into())
}

fn judge(stage: Stage, reply: &ReplyBuf) -> Answer {
    match is_about_mail(stage, reply.code()) {
        true => Answer::Judged(said(reply.as_reply())),
        false => Answer::Ours(Failure::unreachable(our_matter(stage, reply.as_reply()))),
    }
}

impl Hop {
    /// A connection that waited. What a transaction has left there is cleared first.
    async fn waiting(&self) -> Option<Box<Link>> {
        while let Some(mut link) = self.pool.take() {
            if link.dialogue.is_idle() {
                return Some(link);
            }
            if link.dialogue.reset(now()).is_err() {
                continue;
            }
            loop {
                match link.next().await {
                    Ok(Said::Done) => return Some(link),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
        None
    }
}

impl Transaction for Relay {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::later(self.ask(recipient))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(self.hand_over(message))
    }
}

impl Drop for Relay {
    /// Given up between two questions: the connection can serve another transaction, RSET first.
    fn drop(&mut self) {
        let over = State::Over(Failure::unreachable("the transaction is over"));
        if let State::Open(open) = mem::replace(&mut self.state, over)
            && open.link.dialogue.stage() == Stage::Idle
        {
            self.hop.pool.put(open.link);
        }
    }
}

const NO_SMTPUTF8: Reply =
    reply!(553 5.6.7 "The next server does not take internationalised addresses");
pub(super) const EIGHT_BIT: Reply = reply!(554 5.6.3 "The next server does not take 8-bit content");
const BINARY: Reply = reply!(554 5.6.3 "The next server does not take binary content");
/// RFC 5321 section 4.5.3.1.10: the client sends the rest in another transaction.
const TOO_MANY: Reply = reply!(452 4.5.3 "Send this recipient in another transaction");
const GAVE_UP_WAITING: &str = "the server closed the connection while the client was waited for";
const NO_PLACE: &str =
    "no place within final-timeout: raise concurrency, or see why the server is slow";
