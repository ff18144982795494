//! A webhook: each message is posted to an HTTP endpoint, and the status of the response is the
//! reply to the client.
//!
//! `docs/WEBHOOK.md` has the payloads and the replies.

mod answer;
mod file;
mod form;
mod json;
mod mime;
mod options;
mod payload;
mod postmark;
mod raw;
mod signature;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Uri};
use prixfixe_server::{Mail, Message, Recipient, Reply, reply};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use self::answer::{Answer, Said};
use self::file::{Watched, lines};
pub use self::options::{On4xx, UnknownWord, WebhookFormat, WebhookOptions};
use self::payload::Payload;
use self::signature::Secrets;
pub use self::url::WebhookUrl;
use crate::facts::Facts;
use crate::revival::{Revival, Revived};
use crate::upstream::{Patience, Upstream};
use crate::{Asked, BoxFuture, Delivered, Failure, Health, Outcomes, Target, Transaction};
use prixfixe_http::{
    Client, ClientOptions, HttpError, HttpSetupError, Request, Response, TlsFiles,
};

/// An HTTP endpoint that messages are posted to. Cheap to clone; clones share connections and
/// limits.
///
/// A client's `250` means that the endpoint has answered 2xx. Its futures need a tokio runtime with
/// I/O and time.
#[derive(Debug, Clone)]
pub struct Webhook(Arc<Shared>);

struct Shared {
    client: Client,
    upstream: Upstream,
    revival: Revival,
    uri: Uri,
    format: WebhookFormat,
    on_4xx: On4xx,
    patience: Patience,
    secrets: Watched<Secrets>,
    headers: Watched<Vec<(HeaderName, HeaderValue)>>,
    username: Option<String>,
    password: Watched<String>,
    /// KiB for payloads that are made in memory.
    memory: Arc<Semaphore>,
}

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// A file of secrets, headers or a password.
    #[error("cannot use {0}")]
    File(String),
    /// TLS, or plaintext where it must not be.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// One without the other.
    #[error("tls-cert and tls-key belong together")]
    HalfIdentity,
    /// One without the other.
    #[error("username and password-file belong together")]
    HalfLogin,
    /// The path holds what no request may.
    #[error("{0:?} is no path of a URL")]
    Path(String),
}

/// One recipient more than the headers of a request can hold.
const TOO_MANY: Reply = reply!(452 4.5.3 "Too many recipients, send to this one separately");

/// Payloads that are made at once take so many KiB, or one message's.
const MEMORY: u32 = 128 << 10;

impl Webhook {
    /// Reads the files, and connects to nothing yet. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`WebhookError`], which says what to mend.
    pub fn open(url: &WebhookUrl, options: WebhookOptions) -> Result<Self, WebhookError> {
        let identity = match (options.tls_cert, options.tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(WebhookError::HalfIdentity),
        };
        if options.username.is_some() != options.password_file.is_some() {
            return Err(WebhookError::HalfLogin);
        }
        let uri = url.path.parse();
        let client = ClientOptions {
            connect_timeout: options.timeout,
            max_idle: options.concurrency.get(),
            tls: TlsFiles {
                ca: options.tls_ca,
                identity,
            },
            insecure: options.insecure,
        };
        let one = |path: Option<PathBuf>| path.into_iter().collect();
        Ok(Self(Arc::new(Shared {
            client: Client::new(url.origin.clone(), &client)?,
            upstream: Upstream::new(&options.name, options.concurrency.get()),
            revival: Revival::default(),
            uri: uri.map_err(|_| WebhookError::Path(url.path.to_string()))?,
            format: options.format,
            on_4xx: options.on_4xx,
            patience: Patience {
                each: options.timeout,
                last: options.final_timeout,
            },
            secrets: Watched::open(options.secret_files, Secrets::parse)?,
            headers: Watched::open(one(options.header_file), parse_headers)?,
            username: options.username,
            password: Watched::open(one(options.password_file), parse_password)?,
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
        })))
    }

    /// Whether mail can be handed over now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.upstream.health()
    }
}

impl Target for Webhook {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(Posting {
            webhook: Arc::clone(&self.0),
            recipients: Vec::new(),
            length: 0,
        })))
    }

    fn health(&self) -> Health {
        self.health()
    }
}

/// A message on its way.
struct Posting {
    webhook: Arc<Shared>,
    recipients: Vec<Recipient>,
    /// What they take in the headers of a request.
    length: usize,
}

impl Transaction for Posting {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        if self.webhook.format == WebhookFormat::Raw {
            let length = self.length + raw::size_of(&recipient.to_string());
            if length > raw::MAX_RECIPIENTS {
                return Asked::Now(Err(Failure::said(TOO_MANY)));
            }
            self.length = length;
        }
        self.recipients.push(recipient.clone());
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let Self {
                webhook,
                recipients,
                ..
            } = *self;
            Outcomes::All(webhook.post(message, recipients).await)
        })
    }
}

/// The same for each attempt, and another for each copy: an endpoint drops what has an id that it
/// knows.
fn id_of(facts: &Facts, is_part: bool) -> String {
    let digest = &facts.digest;
    if !is_part {
        return format!("msg_{digest}");
    }
    let mut recipients: Vec<String> = facts.to().collect();
    recipients.sort_unstable();
    recipients.dedup();
    let mut hash = Sha256::new();
    for recipient in recipients {
        hash.update(recipient);
        hash.update("\n");
    }
    let hash = hash.finalize();
    let some = hash.iter().take(8).map(|byte| format!("{byte:02x}"));
    format!("msg_{digest}_{}", some.collect::<String>())
}

impl Shared {
    async fn post(
        self: &Arc<Self>,
        mut message: Message,
        recipients: Vec<Recipient>,
    ) -> Result<Delivered, Failure> {
        let digest = message.digest().await?;
        let content = message.gather().await?;
        let is_part = message.is_part();
        let facts = Facts::new(&message, digest, content.size(), recipients);
        drop(message);
        let pass = self.upstream.enter().await?;
        let id = id_of(&facts, is_part);
        let timestamp = now();
        let payload = Payload::make(self, facts, content, timestamp).await?;
        let request = self.request(&id, timestamp, &payload).await?;
        let response = self.client.send(&request, self.patience.last).await;
        match self.answer(response).await {
            Ok((answer, status)) => match answer {
                Answer::Taken => {
                    pass.succeeded();
                    Ok(Delivered::saying(format!("status {status}")))
                }
                Answer::Judged(failure) => {
                    pass.succeeded();
                    Err(failure)
                }
                Answer::Unclear(failure) => Err(failure),
                Answer::Broken(failure) => {
                    pass.failed(&failure.to_string());
                    Revival::begin(self, true);
                    Err(failure)
                }
            },
            // A file of ours says nothing about the endpoint.
            Err(HttpError::Content(error)) => Err(Failure::said(Reply::TRY_LATER).because(error)),
            Err(error) => {
                let detail = error.to_string();
                pass.failed(&detail);
                Revival::begin(self, error.is_reached());
                Err(match error.is_unknown() {
                    true => Failure::unknown(detail),
                    false => Failure::unreachable(detail),
                })
            }
        }
    }

    /// The head of the request, signed.
    async fn request(
        &self,
        id: &str,
        timestamp: u64,
        payload: &Payload,
    ) -> Result<Request, Failure> {
        let mut request = Request::new(Method::POST, self.uri.clone())
            .header(CONTENT_TYPE, payload.content_type.clone())
            .header(HeaderName::from_static("webhook-id"), ascii(id))
            .header(
                HeaderName::from_static("webhook-timestamp"),
                HeaderValue::from(timestamp),
            );
        let secrets = self.secrets.get();
        if !secrets.is_empty() {
            let signature = secrets.sign(id, timestamp, &payload.content).await;
            let signature = signature.map_err(|error| Failure::said(error.into()))?;
            request = request.header(
                HeaderName::from_static("webhook-signature"),
                ascii(&signature),
            );
        }
        if let Some(username) = &self.username {
            let login = STANDARD.encode(format!("{username}:{}", self.password.get()));
            let mut value = ascii(&format!("Basic {login}"));
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in self.headers.get().iter().chain(&payload.headers) {
            request = request.header(name.clone(), value.clone());
        }
        Ok(request.content(payload.content.clone()))
    }

    async fn answer(
        &self,
        response: Result<Response, HttpError>,
    ) -> Result<(Answer, u16), HttpError> {
        let response = response?;
        let status = response.status();
        let location = response.headers().get(LOCATION);
        let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        // The status alone decides, unless there may be a reply in the body.
        let json = match status.is_client_error() && is_json(&response) {
            true => response.read().await.unwrap_or_default(),
            false => {
                response.discard().await;
                Bytes::new()
            }
        };
        let said = Said {
            status,
            location: location.as_deref(),
            json: &json,
        };
        Ok((Answer::of(&said, self.on_4xx), status.as_u16()))
    }
}

impl Revived for Shared {
    fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    fn revival(&self) -> &Revival {
        &self.revival
    }

    async fn look(&self) -> Result<(), String> {
        let reached = self.client.reach().await;
        reached.map_err(|error| error.to_string())
    }
}

fn is_json(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Digits, base64 and spaces are a header's value.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Our own headers are not a file's to set.
const RESERVED: [&str; 5] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "content-type",
];

fn parse_headers(files: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for line in files.iter().flat_map(|file| lines(file)) {
        let number = headers.len() + 1;
        let wrong = || format!("header {number} is not of the form Name: value");
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
        let is_ours =
            name.as_str().starts_with("webhook-") || name.as_str().starts_with("prixfixe-");
        if is_ours || RESERVED.contains(&name.as_str()) {
            return Err(format!("the header {name} is not to be set"));
        }
        let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(headers)
}

/// The first line.
fn parse_password(files: &[String]) -> Result<String, String> {
    let Some(file) = files.first() else {
        return Ok(String::new());
    };
    match file.lines().next().unwrap_or_default() {
        "" => Err(String::from("there is no password in its first line")),
        password => Ok(password.to_owned()),
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("client", &self.client)
            .field("upstream", &self.upstream)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
