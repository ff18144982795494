//! One bucket: requests that are signed, answers that are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use prixfixe_server::Reply;
use rusty_s3::{Bucket, S3Action};
use tokio::time::sleep;

use super::answer::{Answer, no_answer};
use super::credentials::Credentials;
use super::object::Object;
use super::sidecar::Attempt;
use crate::Failure;
use crate::upstream::Patience;
use prixfixe_http::{Client, Part, Request};

/// A bucket of a store.
pub(super) struct Store {
    pub(super) client: Client,
    pub(super) bucket: Bucket,
    pub(super) credentials: Credentials,
    pub(super) patience: Patience,
    /// It does not know `If-None-Match`: it is asked first what is there.
    pub(super) is_unconditional: AtomicBool,
}

/// How an object may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Where there is none.
    New,
    /// In place of another.
    Over,
}

/// What became of a conditional request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Stored,
    /// There is one already.
    Exists,
}

/// What is known of an object that is perhaps there.
#[derive(Debug)]
pub(super) enum Head {
    Found(Option<Attempt>),
    Absent,
    /// Who asks may write, and may not look.
    Hidden,
}

/// How a request that stores something went.
pub(super) enum Tried {
    Put(Put),
    /// Another request for the same key is under way.
    Conflict(Failure),
    /// The store does not know the condition.
    Unsupported,
}

/// A header that is signed.
pub(super) type Field = (&'static str, String);

/// How long a signature is good. A request is checked when it begins.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);

const CONFLICT_PAUSE: Duration = Duration::from_millis(300);

impl Store {
    /// Stores an object.
    pub(super) async fn put(
        self: &Arc<Self>,
        object: &Object<'_>,
        mode: Mode,
    ) -> Result<Put, Failure> {
        let mut has_conflicted = false;
        loop {
            if mode == Mode::New
                && self.is_unconditional.load(Ordering::Relaxed)
                && matches!(self.head(object.key).await?, Head::Found(_))
            {
                return Ok(Put::Exists);
            }
            match self.try_put(object, mode).await? {
                Tried::Put(put) => return Ok(put),
                Tried::Conflict(failure) if has_conflicted => return Err(failure),
                Tried::Conflict(_) => {
                    has_conflicted = true;
                    sleep(CONFLICT_PAUSE).await;
                }
                Tried::Unsupported => {
                    if self.is_unconditional.swap(true, Ordering::Relaxed) {
                        let words = "the store does not implement what is asked of it (501)";
                        return Err(Failure::said(Reply::TRY_LATER).because(words));
                    }
                }
            }
        }
    }

    async fn try_put(self: &Arc<Self>, object: &Object<'_>, mode: Mode) -> Result<Tried, Failure> {
        if object.is_large() {
            return self.upload(object, mode).await;
        }
        let mut fields = object.fields();
        fields.push(("x-amz-checksum-sha256", object.checksum.base64()));
        self.condition(&mut fields, mode);
        let sign = |bucket: &Bucket, credentials: &rusty_s3::Credentials| {
            let action = bucket.put_object(Some(credentials), object.key);
            signed(action, &fields)
        };
        let answer = self
            .ask(sign, &fields, object.parts(), self.patience.last)
            .await?;
        let tried = tried(&answer);
        if let Ok(Tried::Put(Put::Stored)) = &tried
            && let Some(theirs) = answer.header("x-amz-checksum-sha256")
            && theirs != object.checksum.base64()
        {
            let words = "the store has another checksum than was sent";
            return Err(Failure::unreachable(words));
        }
        tried
    }

    /// Adds the condition, where the store knows it.
    pub(super) fn condition(&self, fields: &mut Vec<Field>, mode: Mode) {
        if mode == Mode::New && !self.is_unconditional.load(Ordering::Relaxed) {
            fields.push(("if-none-match", "*".to_owned()));
        }
    }

    /// Looks whether there is an object.
    pub(super) async fn head(&self, key: &str) -> Result<Head, Failure> {
        let sign = |bucket: &Bucket, credentials: &rusty_s3::Credentials| {
            signed(bucket.head_object(Some(credentials), key), &[])
        };
        let answer = self.ask(sign, &[], Vec::new(), self.patience.each).await?;
        match answer.status {
            200..=299 => Ok(Head::Found(attempt(&answer))),
            404 => Ok(Head::Absent),
            403 => Ok(Head::Hidden),
            _ => Err(answer.failure()),
        }
    }

    /// Signs a request and sends it; once more with new credentials, where the old ones have ended.
    pub(super) async fn ask(
        &self,
        sign: impl Fn(&Bucket, &rusty_s3::Credentials) -> Option<Request>,
        fields: &[Field],
        content: Vec<Part>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let mut has_forgotten = false;
        loop {
            let known = self
                .credentials
                .current()
                .await
                .map_err(|words| Failure::said(Reply::TRY_LATER).because(words))?;
            let (key, secret) = (&*known.access_key_id, &*known.secret_access_key);
            let credentials = match &known.session_token {
                Some(token) => rusty_s3::Credentials::new_with_token(key, secret, &**token),
                None => rusty_s3::Credentials::new(key, secret),
            };
            let request = sign(&self.bucket, &credentials).and_then(|it| with_fields(it, fields));
            let Some(request) = request else {
                let words = "the request would be no HTTP";
                return Err(Failure::said(Reply::TRY_LATER).because(words));
            };
            let request = request.content(content.clone());
            let response = self.client.send(&request, patience).await;
            let answer = match response {
                Ok(response) => Answer::read(response).await,
                Err(error) => Err(error),
            };
            let answer = answer.map_err(|error| no_answer(&error))?;
            if !answer.is_expired() || has_forgotten {
                return Ok(answer);
            }
            has_forgotten = true;
            self.credentials.forget(&known).await;
        }
    }
}

/// The request for an action, its fields signed. `None`: its URL is none for HTTP.
pub(super) fn signed<'a, A: S3Action<'a>>(mut action: A, fields: &'a [Field]) -> Option<Request> {
    for (name, value) in fields {
        action.headers_mut().insert(*name, value.as_str());
    }
    let url = action.sign(SIGNED_FOR);
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let method = match A::METHOD {
        rusty_s3::Method::Head => hyper::Method::HEAD,
        rusty_s3::Method::Get => hyper::Method::GET,
        rusty_s3::Method::Post => hyper::Method::POST,
        rusty_s3::Method::Put => hyper::Method::PUT,
        rusty_s3::Method::Delete => hyper::Method::DELETE,
    };
    Some(Request::new(method, target.parse().ok()?))
}

fn with_fields(mut request: Request, fields: &[Field]) -> Option<Request> {
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).ok()?;
        request = request.header(HeaderName::from_static(name), value);
    }
    Some(request)
}

/// What the answer to a request says that stores something.
pub(super) fn tried(answer: &Answer) -> Result<Tried, Failure> {
    match answer.status {
        412 => Ok(Tried::Put(Put::Exists)),
        409 => Ok(Tried::Conflict(answer.failure())),
        501 => Ok(Tried::Unsupported),
        _ if answer.is_error() => Err(answer.failure()),
        _ => Ok(Tried::Put(Put::Stored)),
    }
}

fn attempt(answer: &Answer) -> Option<Attempt> {
    let field = |name: &str| answer.header(name).map(str::to_owned);
    Some(Attempt {
        id: field("x-amz-meta-prixfixe-id")?,
        received: field("x-amz-meta-prixfixe-received")?,
        sha256: field("x-amz-meta-prixfixe-sha256")?,
    })
}
