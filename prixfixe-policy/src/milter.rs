//! Milters: filters written for Sendmail and Postfix, asked at every stage.

mod address;
mod content;
mod edits;
mod link;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_core::{EnhancedCode, Reply};
use prixfixe_milter::{Answer, Macros, MilterClient, MilterError, Sent};
use prixfixe_server::{
    Check, CheckSession, Client, Command, Content, Data, Edit, Finding, Hello, Mail, Peer, Rcpt,
    Verdict, reply,
};
use tokio::time::timeout;

pub use self::address::{InvalidMilterAddress, MilterAddress};
use self::content::Seen;
use self::link::{Failure, Link};
use crate::authentication::is_stranger;
use crate::health::{Health, News};
use crate::{Observer, OnFailure};

const REFUSED: Reply = reply!(554 5.7.1 "Refused by a filter");
const LATER: Reply = reply!(451 4.7.1 "Try again later");
const NO_ANSWER: Reply = reply!(451 4.7.1 "A filter does not answer, try again later");
const SHUTDOWN: Reply = reply!(421 4.7.0 "Closing the connection");

/// How many times [`Milter::timeout`] a step of the client's may take, however often the milter
/// says that it is at work.
const MOST_TIMEOUTS: u32 = 3;

/// A milter, asked about strangers' connections and messages by the protocol of Sendmail and
/// Postfix, version 6.
///
/// | it answers | what the client hears |
/// |---|---|
/// | accept | no more questions to the milter about the connection, or about the message |
/// | reject, tempfail | `554 5.7.1`, `451 4.7.1`: to the connection, HELO, MAIL, RCPT, DATA or the message |
/// | a reply of its own | that, without control characters |
/// | discard | `250`, and nobody gets the message |
/// | shutdown | `421 4.7.0`, and the connection is closed |
///
/// What it changes in a message becomes [edits](Edit). A milter sees the message with the edits of
/// the checks before it, as with other mail servers: one may go by what another has written. What
/// verifies signatures comes before what changes the signed parts.
///
/// A milter that is away, late, or breaks the protocol [has failed](Self::on_failure). The log says
/// when that begins and when it ends.
///
/// ```
/// use prixfixe_policy::{Milter, OnFailure};
///
/// let check = Milter::new("inet:127.0.0.1:8891".parse()?).on_failure(OnFailure::Accept);
/// # drop(check);
/// # Ok::<(), prixfixe_policy::InvalidMilterAddress>(())
/// ```
#[derive(Debug)]
pub struct Milter {
    address: MilterAddress,
    on_failure: OnFailure,
    timeout: Duration,
    name: Box<str>,
    max_body: u64,
    observer: Option<Arc<dyn Observer>>,
    /// Whether it answers, as far as the log says so.
    health: Health,
}

impl Milter {
    /// How long an answer may take, unless [`timeout`](Self::timeout) says else.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The one that listens there. Nothing is connected to yet.
    #[must_use]
    pub fn new(address: MilterAddress) -> Self {
        Self {
            address,
            on_failure: OnFailure::Defer,
            timeout: Self::TIMEOUT,
            name: "localhost".into(),
            max_body: 64 << 20,
            observer: None,
            health: Health::default(),
        }
    }

    /// What becomes of mail while the milter has failed. By default: `451 4.7.1`, from MAIL on.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How long an answer may take. A milter that says that it is at work gets the time anew.
    ///
    /// A step of the client's waits three times as long at the most: MAIL, for instance, to connect
    /// as well.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The server's own name (the macro `j`).
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// How large a body may be that the milter puts in a message's place. By default: 64 MiB.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Tells somebody what is found, and how long it took.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    fn observe(&self, result: &str, began: Instant) {
        if let Some(observer) = &self.observer {
            observer.observed("milter", result, began.elapsed());
        }
    }

    /// A line when it fails, and one when it answers again, as far as the log has room for them.
    fn tell(&self, failure: Option<&Failure>) {
        let news = self.health.is_now(failure.is_some(), Instant::now());
        let socket = &self.address;
        match (failure, news) {
            (Some(error), News::Down { left_out }) => {
                let on_failure = match self.on_failure {
                    OnFailure::Defer => "defer",
                    OnFailure::Accept => "accept",
                };
                let left_out = (left_out > 0).then_some(left_out);
                tracing::error!(
                    target: "prixfixe", %socket, on_failure, left_out, %error,
                    "a milter gives no answer"
                );
            }
            (Some(error), _) => {
                tracing::debug!(target: "prixfixe", %socket, %error, "a milter gives no answer");
            }
            (None, News::Up) => {
                tracing::info!(target: "prixfixe", %socket, "a milter answers again");
            }
            (None, _) => {}
        }
    }

    /// How long one step of the client's may wait for it: to connect, all questions of the step,
    /// and their answers.
    fn limit(&self) -> Duration {
        self.timeout.saturating_mul(MOST_TIMEOUTS)
    }

    /// A session that has not connected yet, and does so at its first message: for a client who has
    /// been greeted.
    #[must_use]
    pub fn session(self: &Arc<Self>, client: &Client) -> MilterSession {
        MilterSession {
            check: Arc::clone(self),
            link: None,
            peer: client.peer(),
            is_greeted: false,
            transaction: Transaction::None,
        }
    }
}

impl Check for Milter {
    type Session = MilterSession;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<MilterSession, Reply> {
        let mut session = self.session(client);
        if is_stranger(client) {
            let (began, limit) = (Instant::now(), self.limit());
            match timeout(limit, session.open(client)).await {
                Ok(opened) => opened?,
                Err(_) => session.fail(&Failure::Late(limit), began),
            }
        }
        Ok(session)
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection, as a milter sees it: it has one of its own.
#[derive(Debug)]
pub struct MilterSession {
    check: Arc<Milter>,
    /// Boxed: an idle connection has no room for buffers. `None`: nobody was asked, or the milter
    /// has failed.
    link: Option<Box<Link>>,
    /// Whom the milter was told of.
    peer: Peer,
    /// It was told of a HELO, too.
    is_greeted: bool,
    transaction: Transaction,
}

/// What a milter has to do with a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    /// There is none, or the milter is not asked about it.
    None,
    Asked,
    /// It is accepted, and nobody gets it.
    Discarded,
    /// The milter has failed in the middle, and that matters.
    Failed,
}

impl MilterSession {
    /// A connection to the milter, which is told of the client. A failure counts when there is a
    /// message.
    async fn open(&mut self, client: &Client) -> Result<(), Reply> {
        self.link = None;
        self.is_greeted = false;
        self.peer = client.peer();
        let began = Instant::now();
        match Link::open(&self.check).await {
            Ok(link) => self.link = Some(Box::new(link)),
            Err(failure) => {
                self.fail(&failure, began);
                return Ok(());
            }
        }
        let mut macros = Macros::default();
        told::connection(&mut macros, &self.check, client);
        let (host, address) = (
            client.host_name().unwrap_or("unknown"),
            told::address(client),
        );
        let asked = |milter: &mut MilterClient| milter.connect(host, &address, &macros);
        self.ask(asked).await.map(drop)
    }

    /// The connection that there is, or a new one where the milter has failed before, or knows of
    /// another client. One on which the milter refuses the client is closed: the next transaction
    /// asks anew.
    async fn reopen(&mut self, client: &Client) -> Result<(), Reply> {
        let introduced = self.introduce(client).await;
        if introduced.is_err() {
            self.link = None;
        }
        introduced
    }

    /// Tells of the client what the milter was not told of it.
    async fn introduce(&mut self, client: &Client) -> Result<(), Reply> {
        if self.peer != client.peer() || !self.is_ready() {
            self.open(client).await?;
        }
        match client.helo() {
            Some(name) if !self.is_greeted => self.greet(client, name).await,
            _ => Ok(()),
        }
    }

    /// Whether the milter can be asked. After a hook that was dropped in the middle, it still owes
    /// an answer.
    fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.is_busy())
    }

    async fn greet(&mut self, client: &Client, name: &str) -> Result<(), Reply> {
        self.is_greeted = true;
        let mut macros = Macros::default();
        told::connection(&mut macros, &self.check, client);
        let asked = |milter: &mut MilterClient| milter.hello(name, &macros);
        self.ask(asked).await.map(drop)
    }

    /// Asks, and obeys the answer. Where the milter fails, it has nothing against it until there is
    /// a message.
    async fn ask(
        &mut self,
        question: impl FnOnce(&mut MilterClient) -> Result<Sent, MilterError>,
    ) -> Result<(), Reply> {
        let began = Instant::now();
        let Some(link) = self.link.as_mut().filter(|link| !link.is_busy()) else {
            self.fail_unready(began);
            return self.unanswered();
        };
        match link.ask(question).await {
            Ok(None | Some(Answer::Continue | Answer::Accept | Answer::Skip)) => Ok(()),
            Ok(Some(Answer::Discard)) => {
                self.transaction = Transaction::Discarded;
                self.check.observe("discard", began);
                Ok(())
            }
            Ok(Some(answer)) => {
                let (reply, result) = refusal(&answer);
                self.check.observe(result, began);
                Err(reply)
            }
            Err(failure) => {
                self.fail(&failure, began);
                self.unanswered()
            }
        }
    }

    fn fail(&mut self, failure: &Failure, began: Instant) {
        self.link = None;
        self.check.tell(Some(failure));
        self.check.observe("temperror", began);
        self.transaction = match (self.transaction, self.check.on_failure) {
            (Transaction::Asked, OnFailure::Defer) => Transaction::Failed,
            _ => Transaction::None,
        };
    }

    /// A milter that owes an answer since before cannot look at the transaction any more.
    fn fail_unready(&mut self, began: Instant) {
        if self.transaction == Transaction::Asked {
            self.fail(&Failure::Late(self.check.timeout), began);
        }
    }

    fn unanswered(&self) -> Result<(), Reply> {
        match self.transaction {
            Transaction::Failed => Err(NO_ANSWER),
            _ => Ok(()),
        }
    }

    /// Tells of a sender, and before it what the milter was not told of the client.
    async fn begin(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.reopen(mail.client()).await?;
        let mut macros = Macros::default();
        told::sender(&mut macros, mail.reverse_path());
        let parameters = told::mail_parameters(mail.parameters());
        let parameters: Vec<_> = parameters.iter().map(|it| &**it).collect();
        let sender = mail.reverse_path().to_string();
        self.ask(|milter| milter.mail(&sender, &parameters, &macros))
            .await
    }

    /// What the milter wants done with a content.
    async fn look(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let began = Instant::now();
        let header = content::header(content.gathered()).await?;
        let Some(link) = self.link.as_mut().filter(|link| !link.is_busy()) else {
            self.fail_unready(began);
            return self.unanswered().map(|()| Verdict::default());
        };
        let limit = self.check.limit();
        let told = content::tell(link, content, &header, &self.check);
        let seen = match timeout(limit, told).await {
            Ok(seen) => seen,
            Err(_) => Err(Failure::Late(limit)),
        };
        let edits = seen.and_then(|Seen { answer, changes }| {
            let edits = edits::edits(changes, &header, &self.check.name)?;
            Ok((answer, edits))
        });
        let (answer, edits) = match edits {
            Ok(edits) => edits,
            Err(failure) => {
                self.fail(&failure, began);
                return self.unanswered().map(|()| Verdict::default());
            }
        };
        self.check.tell(None);
        let finding = |result: &str| {
            let finding = Finding::new("milter", result);
            finding.property("policy.socket", self.check.address.to_string())
        };
        match answer {
            Answer::Discard => {
                self.check.observe("discard", began);
                Ok(Verdict::default()
                    .found(finding("discard"))
                    .edit(Edit::Discard))
            }
            Answer::Continue | Answer::Accept | Answer::Skip => {
                let result = match edits.is_quarantined {
                    true => "quarantine",
                    false => "accept",
                };
                self.check.observe(result, began);
                let verdict = Verdict::default().found(finding(result));
                Ok(edits.edits.into_iter().fold(verdict, Verdict::edit))
            }
            refused => {
                let (reply, result) = refusal(&refused);
                self.check.observe(result, began);
                Err(reply)
            }
        }
    }
}

impl CheckSession for MilterSession {
    async fn hello(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        if self.link.is_none() {
            return Ok(());
        }
        self.greet(hello.client(), hello.name()).await
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.transaction = Transaction::None;
        if !is_stranger(mail.client()) {
            return Ok(());
        }
        self.transaction = Transaction::Asked;
        let (began, limit) = (Instant::now(), self.check.limit());
        // One time for all of it: the milter may have to be connected to, and told of the client,
        // first.
        match timeout(limit, self.begin(mail)).await {
            Ok(begun) => begun,
            Err(_) => {
                self.fail(&Failure::Late(limit), began);
                self.unanswered()
            }
        }
    }

    /// Recipients that checks have added come when the milter has seen the message.
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        if self.transaction != Transaction::Asked {
            return self.unanswered();
        }
        let mut macros = Macros::default();
        told::recipient(&mut macros, rcpt.path());
        let recipient = rcpt.path().to_string();
        self.ask(|milter| milter.rcpt(&recipient, &[], &macros))
            .await
    }

    async fn data(&mut self, _: Data<'_>) -> Result<(), Reply> {
        if self.transaction != Transaction::Asked {
            return self.unanswered();
        }
        self.ask(|milter| milter.data(&Macros::default())).await
    }

    async fn command(&mut self, command: Command<'_>) -> Result<(), Reply> {
        if self.link.is_none() || !is_stranger(command.client()) {
            return Ok(());
        }
        let line = format!("{} {}", command.verb(), command.argument());
        self.ask(|milter| milter.unknown(line.trim_end())).await
    }

    /// As mail servers do it: the verdict of one milter is for the next one to read.
    fn sees_edits(&self) -> bool {
        true
    }

    fn reads_content(&self) -> bool {
        match self.transaction {
            Transaction::None => false,
            // Where it cannot be asked any more it has failed, and that is seen to then.
            Transaction::Asked => {
                let link = self.link.as_ref();
                link.is_none_or(|link| link.is_busy() || link.is_open())
            }
            Transaction::Discarded | Transaction::Failed => true,
        }
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        match self.transaction {
            Transaction::Asked => {
                let verdict = self.look(content).await;
                self.transaction = Transaction::None;
                verdict
            }
            Transaction::None => Ok(Verdict::default()),
            Transaction::Discarded => Ok(Verdict::default().edit(Edit::Discard)),
            Transaction::Failed => Err(NO_ANSWER),
        }
    }

    /// A milter hears of it with the next message.
    fn reset(&mut self) {
        self.transaction = Transaction::None;
        if self.link.as_ref().is_some_and(|link| link.is_busy()) {
            self.link = None;
        }
    }
}

/// What the client hears of a refusal, and its name in the metrics.
fn refusal(answer: &Answer) -> (Reply, &'static str) {
    match answer {
        Answer::Reject => (REFUSED, "reject"),
        Answer::Shutdown => (SHUTDOWN.and_close(), "tempfail"),
        Answer::Reply(custom) => {
            let (class, subject, detail) = custom.enhanced();
            let (usual, result) = match class {
                4 => (LATER, "tempfail"),
                _ => (REFUSED, "reject"),
            };
            let text = match custom.text() {
                "" => usual.text().to_owned(),
                text => text.to_owned(),
            };
            let enhanced = EnhancedCode(class, subject, detail);
            let reply = Reply::new(custom.code(), enhanced, text).unwrap_or(usual);
            match custom.code() {
                421 => (reply.and_close(), result),
                _ => (reply, result),
            }
        }
        _ => (LATER, "tempfail"),
    }
}
