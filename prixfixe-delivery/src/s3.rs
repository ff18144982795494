//! S3: a pair of objects for each message.
//!
//! | a client's `250` | means |
//! |---|---|
//! | always | `KEY.json` and `KEY.eml` are stored, and the store has compared the checksum of each |
//! | for a repeat | the same, in this attempt or in an earlier one: a complete pair that is there already is success |
//!
//! `KEY.json` is stored first, so that whatever sees a `KEY.eml` finds what goes with it. An event
//! for objects that end with `.eml` is an event for each message.
//!
//! # What is stored
//!
//! `KEY.eml` is the message as final delivery writes it: `Return-Path`, a `Delivered-To` for each
//! recipient of this copy, `Received`, the content. `KEY.json` has the envelope:
//!
//! | member | value |
//! |---|---|
//! | `id`, `digest` | the names of this attempt, and of the message in all attempts |
//! | `timestamp` | when it was received (RFC 3339) |
//! | `size`, `sha256` | the bytes of the content; the SHA-256 of all of `KEY.eml`, in hexadecimal |
//! | `envelope`, `tls`, `authentication` | as in the JSON of a webhook |
//!
//! The key is `{digest}` below the prefix of the URL. With `{date}` or `{id}` in [`S3Options::key`]
//! a repeat may be stored twice; with `{domain}` there is a pair for each recipient domain.
//!
//! # How
//!
//! `If-None-Match: *` leaves what is there. A store that does not know it (501) is asked first what
//! is there. Objects over 16 MiB are stored in parts, each with a checksum; an upload that fails is
//! aborted. Requests are signed in their query.

mod answer;
mod credentials;
mod key;
mod multipart;
mod object;
mod options;
mod pair;
mod sidecar;
mod store;
mod url;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use prixfixe_server::{Digest, Gathered, Mail, Message, Recipient};
use rusty_s3::{Bucket, UrlStyle};
use tokio::time::sleep;

use self::credentials::{Credentials, Environment, process_environment, variable};
use self::key::{Names, Template};
use self::object::{Object, whole};
use self::pair::Pair;
use self::sidecar::Attempt;
use self::store::Store;
use crate::domains::{Copy, copies};
use crate::facts::Facts;
use crate::upstream::{Pass, Patience, Upstream};
use crate::{Asked, BoxFuture, Delivered, Failure, Health, Outcomes, Target, Transaction};
use prixfixe_http::{Client, ClientOptions, Origin, TlsFiles};

pub use self::options::{S3Credentials, S3Error, S3Options};
pub use self::url::{ParseS3UrlError, S3Url};

/// A bucket that messages are stored in. Clones share everything.
///
/// Its futures need a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct S3(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    upstream: Upstream,
    /// What all keys begin with.
    prefix: String,
    template: Template,
    domain: String,
    /// Somebody looks already whether it is back.
    is_probed: AtomicBool,
    name: String,
}

/// How often a store that failed is asked whether it is back.
const PROBE: Duration = Duration::from_secs(5);

impl S3 {
    /// Reads what there is to be read, and connects to nothing yet. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`S3Error`], which says what to mend.
    pub fn open(url: &S3Url, options: S3Options) -> Result<Self, S3Error> {
        Self::open_in(url, options, process_environment())
    }

    fn open_in(url: &S3Url, options: S3Options, environment: Environment) -> Result<Self, S3Error> {
        let bucket = bucket(url, &options, &environment)?;
        let (origin, _) = Origin::parse(bucket.base_url().as_str())?;
        let client = ClientOptions {
            connect_timeout: options.timeout,
            max_idle: options.concurrency,
            tls: TlsFiles {
                ca: options.tls_ca,
                identity: None,
            },
            insecure: options.insecure,
        };
        let store = Store {
            client: Client::new(origin, &client)?,
            bucket,
            credentials: Credentials::new(options.credentials, environment),
            patience: Patience {
                each: options.timeout,
                last: options.final_timeout,
            },
            is_unconditional: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(Shared {
            store: Arc::new(store),
            upstream: Upstream::new(&options.name, options.concurrency),
            prefix: url.prefix(),
            template: Template::parse(&options.key).map_err(S3Error::Key)?,
            domain: options.domain,
            is_probed: AtomicBool::new(false),
            name: options.name,
        })))
    }

    /// True where the key has a date or an id in it: the same message, sent again, may be stored
    /// twice.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        self.0.template.may_repeat()
    }
}

/// Whether a template of keys makes another key for a repeat.
pub(crate) fn key_may_repeat(key: &str) -> bool {
    Template::parse(key).is_ok_and(|template| template.may_repeat())
}

/// The bucket at its endpoint.
fn bucket(url: &S3Url, options: &S3Options, environment: &Environment) -> Result<Bucket, S3Error> {
    let variable = |name: &str| variable(environment, name);
    let region = options.region.clone();
    let region = region
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".to_owned());
    let set = options.endpoint.clone();
    let set = set
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| variable("AWS_ENDPOINT_URL"));
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_path = options.path_style.unwrap_or_else(|| {
        // A dot is fit for a host, and not for the certificate there.
        set.is_some() || !url.bucket().bytes().all(is_label)
    });
    let style = match is_path {
        true => UrlStyle::Path,
        false => UrlStyle::VirtualHost,
    };
    let endpoint = set.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    // What is wrong with it is said without a password that may be in it.
    Origin::parse(&endpoint)?;
    let parsed = endpoint
        .parse()
        .map_err(|_| crate::InvalidHttpUrl::NoUrl(endpoint.clone()))?;
    Bucket::new(parsed, style, url.bucket().to_owned(), region)
        .map_err(|_| S3Error::Host(url.bucket().to_owned()))
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.0.store.bucket.base_url().as_str())
            .finish_non_exhaustive()
    }
}

impl Target for S3 {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(Storing {
            shared: Arc::clone(&self.0),
            recipients: Vec::new(),
        })))
    }

    fn health(&self) -> Health {
        self.0.upstream.health()
    }
}

/// A message under way.
struct Storing {
    shared: Arc<Shared>,
    recipients: Vec<Recipient>,
}

impl Transaction for Storing {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        self.recipients.push(recipient.clone());
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            match self.store(message).await {
                Ok(outcomes) => outcomes,
                Err(failure) => failure.into(),
            }
        })
    }
}

impl Storing {
    async fn store(self, mut message: Message) -> Result<Outcomes, Failure> {
        let content = message.gather().await?;
        let digest = message.digest().await?;
        let Self { shared, recipients } = self;
        let pass = shared.upstream.enter().await?;
        if !shared.template.is_by_domain() {
            let all: Vec<&Recipient> = recipients.iter().collect();
            let stored = shared.copy(&message, &content, digest, &all, "").await;
            shared.report(&pass, stored.as_ref().err());
            return Ok(Outcomes::All(stored));
        }
        let all = copies(&recipients, &shared.domain);
        let mut outcomes = vec![Ok(Delivered::default()); recipients.len()];
        for Copy {
            domain,
            recipients,
            places,
        } in &all
        {
            let stored = shared
                .copy(&message, &content, digest, recipients, domain)
                .await;
            shared.report(&pass, stored.as_ref().err());
            for place in places {
                if let Some(place) = outcomes.get_mut(*place) {
                    *place = stored.clone();
                }
            }
        }
        Ok(Outcomes::Each(outcomes))
    }
}

impl Shared {
    /// Stores the pair of a copy.
    async fn copy(
        &self,
        message: &Message,
        content: &Gathered,
        digest: Digest,
        recipients: &[&Recipient],
        domain: &str,
    ) -> Result<Delivered, Failure> {
        let owned = recipients.iter().copied().cloned().collect();
        let facts = Facts::new(message, digest, content.size(), owned);
        let trace = message.trace_headers(recipients.iter().copied());
        let (front, checksum) = whole(trace, content).await?;
        let received = facts.received_text();
        let key = self.template.key(
            &self.prefix,
            &Names {
                digest: &facts.digest,
                id: &facts.id,
                date: received.get(..10).unwrap_or_default(),
                domain,
            },
        );
        let attempt = Attempt {
            id: facts.id.clone(),
            received,
            sha256: checksum.hexadecimal(),
        };
        let pair = Pair {
            store: &self.store,
            facts: &facts,
            json: format!("{key}.json"),
            object: Object {
                key: &format!("{key}.eml"),
                content_type: "message/rfc822",
                front,
                content: Some(content.clone()),
                checksum,
                attempt: Some(&attempt),
            },
        };
        let what = pair.put(&attempt).await?;
        Ok(Delivered::saying(format!("{key}.eml, {what}")))
    }

    /// Says how it went. A store that failed is asked until it is back, so that this is known
    /// without mail too.
    fn report(self: &Arc<Self>, pass: &Pass, failure: Option<&Failure>) {
        let Some(failure) = failure else {
            pass.succeeded();
            return;
        };
        if failure.reply().code() == 452 {
            // Full, and at work.
            pass.succeeded();
            return;
        }
        pass.failed(&failure.to_string());
        if !self.is_probed.swap(true, Ordering::AcqRel) {
            tokio::spawn(probe(Arc::downgrade(self)));
        }
    }
}

/// Asks for an object that is not there. Any answer but an error of the store's own says that it is
/// worth a message.
async fn probe(shared: Weak<Shared>) {
    loop {
        sleep(PROBE).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if shared.upstream.is_down() {
            let key = format!("{}prixfixe-probe", shared.prefix);
            let answer = shared.store.head(&key).await;
            let Ok(pass) = shared.upstream.enter().await else {
                continue;
            };
            match answer {
                Ok(_) => pass.succeeded(),
                Err(failure) => {
                    tracing::debug!(target = shared.name, cause = %failure, "the store is not back yet");
                    continue;
                }
            }
        }
        shared.is_probed.store(false, Ordering::Release);
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(
        url: &str,
        change: impl FnOnce(&mut S3Options),
        variables: &'static [(&str, &str)],
    ) -> String {
        let environment: Environment = Arc::new(|name| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        let mut options = S3Options::default();
        change(&mut options);
        match bucket(&url.parse().unwrap(), &options, &environment) {
            Ok(bucket) => format!("{} {}", bucket.base_url(), bucket.region()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_endpoint_and_the_style_are_those_of_all_tools() {
        let plain = |url| base(url, |_| {}, &[]);
        assert_eq!(
            plain("s3://mail"),
            "https://mail.s3.us-east-1.amazonaws.com/ us-east-1"
        );
        assert_eq!(
            plain("s3://my.mail"),
            "https://s3.us-east-1.amazonaws.com/my.mail/ us-east-1"
        );
        let region = base(
            "s3://mail",
            |_| {},
            &[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "a")],
        );
        assert_eq!(region, "https://mail.s3.a.amazonaws.com/ a");
        let set = base(
            "s3://mail",
            |_| {},
            &[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")],
        );
        assert_eq!(set, "http://127.0.0.1:9000/mail/ us-east-1");
        let option = |it: &mut S3Options| {
            it.endpoint = Some("https://s3.example.com".to_owned());
            it.path_style = Some(false);
            it.region = Some("eu".to_owned());
        };
        let option = base(
            "s3://mail",
            option,
            &[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")],
        );
        assert_eq!(option, "https://mail.s3.example.com/ eu");
        let secret = base(
            "s3://mail",
            |_| {},
            &[("AWS_ENDPOINT_URL", "https://a:secret@b/")],
        );
        assert!(!secret.contains("secret"), "{secret}");
    }
}
