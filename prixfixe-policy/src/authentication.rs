//! The check that asks SPF, DKIM and DMARC.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::Reply;
use prixfixe_server::{
    Check, CheckSession, Client, Content, Edit, Finding, Mail, Rcpt, Verdict, reply,
};

use crate::message::Header;
use crate::task::Task;
use crate::{Observer, Outcome, Resolver, dkim, dmarc, results, spf};

const SPF_FAILED: Reply = reply!(550 5.7.23 "The sender's domain does not allow this host (SPF)");
const DMARC_FAILED: Reply = reply!(550 5.7.26 "The author's domain asks for refusal (DMARC)");
const NO_ANSWER: Reply = reply!(451 4.7.24 "The DNS of the sender's domain does not answer");
const UNREADABLE: Reply = reply!(451 4.3.0 "The message cannot be read again");

/// What is done with what a method finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Nothing is looked at.
    #[default]
    Off,
    /// It is written into the message and its [`Verdict`].
    Mark,
    /// It is written, and what is wrong is refused.
    Enforce,
}

/// SPF, DKIM and DMARC: whether the domains that a message names stand behind it.
///
/// What is found stands in an `Authentication-Results` field (RFC 8601) on top of the message, and in
/// [`Message::verdict`](prixfixe_server::Message::verdict). Fields of that name that came in with our id are removed.
/// Clients that have logged in, and those that come by a Unix socket, are not asked about.
///
/// SPF is looked up while the content arrives. Of the content, the header is held in memory (1 MiB at most) and the
/// body is read in pieces. At most 8 signatures are verified.
///
/// ```
/// use prixfixe_policy::{Authentication, Mode, Resolver};
/// use prixfixe_server::{Server, inbox};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # let _entered = runtime.enter();
/// let resolver = Resolver::with_servers([([127, 0, 0, 1], 53).into()])?;
/// let (handler, _inbox) = inbox();
/// let server = Server::builder()
///     .listen(([127, 0, 0, 1], 0))
///     .check(Authentication::new(resolver, "mx.example.com").dmarc(Mode::Enforce))
///     .handler(handler)
///     .start()?;
/// # drop(server);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Authentication {
    resolver: Resolver,
    id: Box<str>,
    spf: Mode,
    dkim: bool,
    dmarc: Mode,
    observer: Option<Arc<dyn Observer>>,
}

impl Authentication {
    /// A check that looks at nothing yet. The id says who found it: a domain of ours (RFC 8601 section 2.5).
    #[must_use]
    pub fn new(resolver: Resolver, id: impl Into<Box<str>>) -> Self {
        Self {
            resolver,
            id: id.into(),
            spf: Mode::Off,
            dkim: false,
            dmarc: Mode::Off,
            observer: None,
        }
    }

    /// SPF. Enforced, `fail` is `550 5.7.23` at RCPT and a DNS that does not answer `451 4.7.24`, but only while DMARC
    /// is off: with DMARC, SPF alone never refuses, since forwarded mail fails it.
    #[must_use]
    pub fn spf(mut self, mode: Mode) -> Self {
        self.spf = mode;
        self
    }

    /// DKIM. A signature that does not verify is worth as much as none (RFC 6376 section 6.3), so nothing is refused.
    #[must_use]
    pub fn dkim(mut self, on: bool) -> Self {
        self.dkim = on;
        self
    }

    /// DMARC, and with it SPF and DKIM. Enforced, what fails a policy of `reject` is `550 5.7.26` after the content,
    /// and a DNS that does not answer `451 4.7.24`. `quarantine`, and a policy under test, are marked.
    #[must_use]
    pub fn dmarc(mut self, mode: Mode) -> Self {
        self.dmarc = mode;
        self
    }

    /// Tells somebody what is found, and how long it took.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    fn is_on(&self) -> bool {
        self.asks_spf() || self.asks_dkim()
    }

    fn asks_spf(&self) -> bool {
        self.spf != Mode::Off || self.dmarc != Mode::Off
    }

    fn asks_dkim(&self) -> bool {
        self.dkim || self.dmarc != Mode::Off
    }

    /// SPF alone decides.
    fn spf_refuses(&self) -> bool {
        self.spf == Mode::Enforce && self.dmarc == Mode::Off
    }

    fn observe(&self, check: &'static str, outcome: Outcome, since: Instant) {
        if let Some(observer) = &self.observer {
            observer.observed(check, outcome.as_str(), since.elapsed());
        }
    }
}

impl Check for Authentication {
    type Session = AuthenticationSession;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<AuthenticationSession, Reply> {
        Ok(AuthenticationSession {
            check: Arc::clone(self),
            transaction: Transaction::Exempt,
        })
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection, as SPF, DKIM and DMARC see it.
#[derive(Debug)]
pub struct AuthenticationSession {
    check: Arc<Authentication>,
    transaction: Transaction,
}

#[derive(Debug)]
enum Transaction {
    /// There is none, or nothing is looked at in it.
    Exempt,
    /// A stranger's.
    Judged(Spf),
}

/// What is known of SPF in a transaction.
#[derive(Debug)]
enum Spf {
    NotAsked,
    Asked(Task<spf::Answer>),
    Known(spf::Answer),
}

impl Spf {
    /// Its answer, as soon as it is there; nothing where it was not asked.
    async fn answer(&mut self) -> Option<&spf::Answer> {
        if let Self::Asked(task) = self {
            *self = match task.await {
                Some(answer) => Self::Known(answer),
                None => Self::NotAsked,
            };
        }
        match self {
            Self::Known(answer) => Some(answer),
            _ => None,
        }
    }
}

impl Authentication {
    fn ask_spf(self: &Arc<Self>, mail: Mail<'_>) -> Spf {
        let question = spf::Question::new(mail.client(), mail.reverse_path());
        let Some(question) = question.filter(|_| self.asks_spf()) else {
            return Spf::NotAsked;
        };
        let check = Arc::clone(self);
        Spf::Asked(Task::spawn(Box::pin(async move {
            let began = Instant::now();
            let answer = question.ask(check.resolver.clone()).await;
            check.observe("spf", answer.outcome(), began);
            answer
        })))
    }

    /// What all methods find in a content.
    async fn look(
        &self,
        content: Content<'_>,
        header: &Header,
        spf: Option<&spf::Answer>,
    ) -> Result<Found, Reply> {
        let mut found = Found::default();
        if let Some(spf) = spf {
            found.findings.push(spf.finding());
        }
        if !self.asks_dkim() {
            return Ok(found);
        }
        let began = Instant::now();
        let message = header.message(content.gathered()).await;
        let message = message.map_err(|_| UNREADABLE)?.unwrap_or_default();
        let signatures = dkim::verify(&message, &self.resolver).await;
        self.observe("dkim", dkim::best(&signatures), began);
        found.findings.extend(dkim::findings(&signatures));
        if let Some(spf) = spf
            && self.dmarc != Mode::Off
        {
            let began = Instant::now();
            let bytes = header.as_bytes();
            let resolver = &self.resolver;
            let dmarc = dmarc::evaluate(bytes, &signatures, spf, resolver).await;
            self.observe("dmarc", dmarc.outcome(), began);
            found.findings.push(dmarc.finding());
            found.dmarc = Some(dmarc);
        }
        Ok(found)
    }
}

/// What all methods found.
#[derive(Debug, Default)]
struct Found {
    findings: Vec<Finding>,
    dmarc: Option<dmarc::Answer>,
}

impl CheckSession for AuthenticationSession {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        let judged = self.check.is_on() && is_stranger(mail.client());
        self.transaction = match judged {
            true => Transaction::Judged(self.check.ask_spf(mail)),
            false => Transaction::Exempt,
        };
        Ok(())
    }

    async fn rcpt(&mut self, _: Rcpt<'_>) -> Result<(), Reply> {
        let Transaction::Judged(spf) = &mut self.transaction else {
            return Ok(());
        };
        if !self.check.spf_refuses() {
            return Ok(());
        }
        match spf.answer().await.map(spf::Answer::outcome) {
            Some(Outcome::Fail) => Err(SPF_FAILED),
            Some(Outcome::TempError) => Err(NO_ANSWER),
            _ => Ok(()),
        }
    }

    fn reads_content(&self) -> bool {
        matches!(self.transaction, Transaction::Judged(_))
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let Transaction::Judged(spf) = &mut self.transaction else {
            return Ok(Verdict::default());
        };
        let header = Header::read(content.gathered()).await;
        let header = header.map_err(|_| UNREADABLE)?;
        let spf = spf.answer().await;
        let found = self.check.look(content, &header, spf).await?;
        if self.check.dmarc == Mode::Enforce
            && let Some(dmarc) = &found.dmarc
        {
            match dmarc.outcome() {
                Outcome::TempError => return Err(NO_ANSWER),
                _ if dmarc.asks_for_refusal() => return Err(DMARC_FAILED),
                _ => {}
            }
        }
        Ok(verdict(&header, &self.check.id, found.findings))
    }

    fn reset(&mut self) {
        self.transaction = Transaction::Exempt;
    }
}

/// Whom policy is about: who has logged in has been asked for more, and a Unix socket is the host's own.
pub(crate) fn is_stranger(client: &Client) -> bool {
    client.identity().is_none() && client.peer().ip().is_some()
}

fn verdict(header: &Header, id: &str, findings: Vec<Finding>) -> Verdict {
    let mut verdict = Verdict::default();
    for occurrence in results::forged(header.as_bytes(), id) {
        let name = results::FIELD.into();
        verdict = verdict.edit(Edit::Remove { name, occurrence });
    }
    let value = results::value(id, &findings);
    let name = results::FIELD.into();
    let verdict = verdict.edit(Edit::Prepend { name, value });
    findings.into_iter().fold(verdict, Verdict::found)
}
