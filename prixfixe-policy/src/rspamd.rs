//! rspamd, asked over HTTP.

mod answer;
mod question;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_core::Reply;
use prixfixe_http::{
    BoxFuture, Client as HttpClient, ClientOptions, HttpError, HttpSetupError, InvalidHttpUrl,
    Origin, StatusCode, TlsFiles, Uri,
};
use prixfixe_server::{
    Check, CheckSession, Client, Content, Edit, Finding, Mail, Verdict, header_separator, reply,
};

use self::answer::{Action, Answer, Unreadable};
use crate::Observer;
use crate::authentication::is_stranger;
use crate::health::{Health, News};
use crate::message::Header;

const REFUSED: Reply = reply!(554 5.7.1 "The message was taken for spam");
const LATER: Reply = reply!(451 4.7.1 "Try again later");
const NO_ANSWER: Reply = reply!(451 4.7.1 "The content filter does not answer, try again later");
const UNREADABLE: Reply = reply!(451 4.3.0 "The message cannot be read again");

/// The path of rspamd's that gives the actions.
const PATH: &str = "/checkv2";

/// The largest answer that is read. rspamd names each host that a message links to, 10,240 of them at the most.
const MAX_ANSWER: usize = 4 << 20;

/// Connections that are kept while nobody needs them.
const MAX_IDLE: usize = 16;

/// What becomes of a message when a filter gives no answer about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// `451 4.7.1`: its client tries again later.
    #[default]
    Defer,
    /// It goes on as if the filter had nothing against it.
    Accept,
}

/// No rspamd can be asked there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RspamdError {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] InvalidHttpUrl),
    /// The client for it cannot be made.
    #[error(transparent)]
    Setup(#[from] HttpSetupError),
}

/// [rspamd](https://rspamd.com), asked over HTTP (`POST /checkv2`) about each message of a stranger.
///
/// | action | what becomes of the message |
/// |---|---|
/// | `reject` | `554 5.7.1` with the text that rspamd has for it |
/// | `soft reject`, `greylist` | `451 4.7.1` |
/// | `discard` | `250`, and nobody gets it |
/// | `quarantine` | `X-Quarantine: rspamd` |
/// | `add header` | `X-Spam: Yes` |
/// | `rewrite subject` | the subject that rspamd says |
/// | `no action`, one of your own | nothing but the header fields that rspamd adds and removes |
///
/// No answer, one that is not understood, over 4 MiB, with over 1,000 changes or too late, and a status other than 200 are the same failure
/// ([`on_failure`](Self::on_failure)). The log says when it begins and when it ends.
///
/// Plaintext goes to loopback, private and link-local addresses alone, unless it is [insecure](Self::insecure).
///
/// ```
/// use prixfixe_policy::{OnFailure, Rspamd};
///
/// let check = Rspamd::new("http://127.0.0.1:11333")?.on_failure(OnFailure::Accept);
/// # drop(check);
/// # Ok::<(), prixfixe_policy::RspamdError>(())
/// ```
#[derive(Debug)]
pub struct Rspamd {
    client: HttpClient,
    url: Box<str>,
    path: Uri,
    on_failure: OnFailure,
    timeout: Duration,
    name: Option<Box<str>>,
    observer: Option<Arc<dyn Observer>>,
    /// Whether it answers, as far as the log says so.
    health: Health,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}; is it running, and is it the worker \"normal\" that listens there?")]
    Http(#[from] HttpError),
    #[error(
        "no answer within {} s; give it more processes, or raise policy.timeout", .0.as_secs()
    )]
    Late(Duration),
    #[error(
        "status {0}; the URL is that of rspamd's worker \"normal\", which takes what is under options.max_message"
    )]
    Status(StatusCode),
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
}

impl Rspamd {
    /// How long an answer may take, unless [`timeout`](Self::timeout) says else.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The one at this URL. Without a path it is asked at `/checkv2`. Nothing is connected to yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL; plaintext to a host that is not near.
    pub fn new(url: &str) -> Result<Self, RspamdError> {
        let (origin, _) = Origin::parse(url)?;
        Self::with(url, is_near(&origin))
    }

    /// As [`new`](Self::new), and plaintext may go to any host: a name in a network that you trust, say.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL.
    pub fn insecure(url: &str) -> Result<Self, RspamdError> {
        Self::with(url, true)
    }

    fn with(url: &str, insecure: bool) -> Result<Self, RspamdError> {
        let (origin, path) = Origin::parse(url)?;
        let path = match &*path {
            "/" => PATH,
            path => path,
        };
        let options = ClientOptions {
            connect_timeout: Self::TIMEOUT / 2,
            max_idle: MAX_IDLE,
            tls: TlsFiles::default(),
            insecure,
        };
        Ok(Self {
            url: origin.to_string().into(),
            // It was read as a part of a URL before.
            path: path.parse().unwrap_or_default(),
            client: HttpClient::new(origin, &options)?,
            on_failure: OnFailure::Defer,
            timeout: Self::TIMEOUT,
            name: None,
            observer: None,
            health: Health::default(),
        })
    }

    /// What becomes of a message when there is no answer about it. By default: its client tries again later.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How long an answer may take, from the question's first byte on.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The server's own name, which rspamd puts into what it writes (`MTA-Name`).
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Tells somebody what is found, and how long it took.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Its answer about a content; nothing where it gives none and that does not matter.
    fn look<'f>(
        &'f self,
        content: Content<'f>,
        received: Vec<u8>,
    ) -> BoxFuture<'f, Result<Option<Answer>, Reply>> {
        Box::pin(async move {
            let began = Instant::now();
            let asked = tokio::time::timeout(self.timeout, self.ask(content, received));
            let answer = match asked.await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Late(self.timeout)),
            };
            if let Some(observer) = &self.observer {
                let result = answer.as_ref().map_or("temperror", |it| it.action.as_str());
                observer.observed("rspamd", result, began.elapsed());
            }
            self.tell(answer.as_ref().err());
            match (answer, self.on_failure) {
                (Ok(answer), _) => Ok(Some(answer)),
                (Err(_), OnFailure::Accept) => Ok(None),
                (Err(_), OnFailure::Defer) => Err(NO_ANSWER),
            }
        })
    }

    async fn ask(&self, content: Content<'_>, received: Vec<u8>) -> Result<Answer, Failure> {
        let name = self.name.as_deref();
        let request = question::request(self.path.clone(), name, content, received);
        let response = self.client.send(&request, self.timeout).await?;
        let status = response.status();
        if status != StatusCode::OK {
            response.discard().await;
            return Err(Failure::Status(status));
        }
        let body = response.read_up_to(MAX_ANSWER).await?;
        Ok(Answer::read(&body)?)
    }

    /// A line when it fails, and one when it answers again, as far as the log has room for them.
    fn tell(&self, failure: Option<&Failure>) {
        let news = self.health.is_now(failure.is_some(), Instant::now());
        let url = &*self.url;
        match (failure, news) {
            (Some(error), News::Down { left_out }) => {
                let on_failure = match self.on_failure {
                    OnFailure::Defer => "defer",
                    OnFailure::Accept => "accept",
                };
                let left_out = (left_out > 0).then_some(left_out);
                tracing::error!(
                    target: "prixfixe", url, on_failure, left_out, %error, "rspamd gives no answer"
                );
            }
            (Some(error), _) => {
                tracing::debug!(target: "prixfixe", url, %error, "rspamd gives no answer");
            }
            (None, News::Up) => tracing::info!(target: "prixfixe", url, "rspamd answers again"),
            (None, _) => {}
        }
    }
}

/// Where plaintext may go: what does not leave this host, or the networks that are nobody else's.
fn is_near(origin: &Origin) -> bool {
    match origin.host.parse::<IpAddr>().map(|it| it.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => origin.is_loopback(),
    }
}

impl Check for Rspamd {
    type Session = RspamdSession;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<RspamdSession, Reply> {
        Ok(RspamdSession {
            check: Arc::clone(self),
            is_asked: false,
        })
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection, as rspamd's check sees it.
#[derive(Debug)]
pub struct RspamdSession {
    check: Arc<Rspamd>,
    /// The transaction is a stranger's.
    is_asked: bool,
}

impl CheckSession for RspamdSession {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.is_asked = is_stranger(mail.client());
        Ok(())
    }

    fn reads_content(&self) -> bool {
        self.is_asked
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        if !self.is_asked {
            return Ok(Verdict::default());
        }
        let header = Header::read(content.gathered()).await;
        let header = header.map_err(|_| UNREADABLE)?;
        let mut received = content.received_header();
        let is_received = !received.is_empty();
        if is_received {
            received.extend_from_slice(header_separator(header.beginning()));
        }
        let Some(answer) = self.check.look(content, received).await? else {
            return Ok(Verdict::default());
        };
        let finding = answer.finding();
        match answer.action {
            Action::Reject => Err(answer.reply(REFUSED)),
            Action::SoftReject | Action::Greylist => Err(answer.reply(LATER)),
            Action::Discard => Ok(Verdict::default().edit(Edit::Discard).found(finding)),
            _ => {
                let edits = answer.edits(header.as_bytes(), is_received);
                let verdict = Verdict::default().found(finding);
                Ok(edits.into_iter().fold(verdict, Verdict::edit))
            }
        }
    }

    fn reset(&mut self) {
        self.is_asked = false;
    }
}

impl Answer {
    fn finding(&self) -> Finding {
        let finding = Finding::new("rspamd", self.action.as_str());
        let finding = finding.property("policy.score", format!("{:.2}", self.score));
        finding.property("policy.required", format!("{:.2}", self.required_score))
    }
}
