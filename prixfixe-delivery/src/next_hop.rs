//! `lmtp:`, `smtp:` and `smtps:`: mail goes on to another server.
//!
//! # What a `250` means
//!
//! | target | the client's `250` |
//! |---|---|
//! | `lmtp:` | the next hop has answered `250` for each recipient, after it had the whole message |
//! | `smtp:`, `smtps:` | the next hop has answered `250` to the whole message |
//!
//! Nothing is kept here: the client's own queue is the spool.
//!
//! # What is asked when
//!
//! | the client says | the next hop is asked |
//! |---|---|
//! | MAIL | nothing |
//! | the first RCPT | MAIL and RCPT, in one go where it offers PIPELINING |
//! | RCPT | RCPT: an unknown user is refused while the client is still there |
//! | DATA, BDAT | nothing, until 256 KiB or all of the content are there |
//! | more of the content | BDAT, or DATA; the client is read as fast as the next hop takes it |
//! | the end of the content | its verdict, for LMTP one for each recipient |
//!
//! # Whose matter a refusal is
//!
//! | said to | the client's matter: passed on | ours: `451 4.4.1`, and the target is down |
//! |---|---|---|
//! | greeting, EHLO, STARTTLS, AUTH | | everything |
//! | MAIL | 452, 550 to 554 | everything else |
//! | RCPT, DATA, BDAT, end of the content | 4xx and 5xx | 421, 454, 500 to 504, 530, 534, 535, 538, 555 |
//! | anything | | no answer in time, nonsense, a connection that is lost |
//!
//! A next hop that is down is tried by one message at a time. Where a whole message has failed
//! there, an answer to RCPT does not show that it is up again: another message does.
//!
//! Where the connection is lost after the whole content has been sent, the next hop may have the
//! message: the failure is [`Unknown`](crate::FailureKind::Unknown).
//!
//! # What a next hop cannot do
//!
//! - Make this server wait: connecting, TLS and each answer have the `timeout`, the last one the
//!   `final_timeout`, and 16 KiB of the content have to leave within the `timeout`.
//! - Make it grow: `prixfixe-client` bounds replies, and of a content at most 256 KiB and what goes
//!   out now are kept.
//! - Write into replies to clients: its text is made printable ASCII and is cut.
//! - Learn a password without a certificate that was verified; loopback addresses and Unix sockets
//!   excepted.

mod connect;
mod content;
mod envelope;
mod lent;
mod link;
mod login;
mod options;
mod pool;
mod stream;
mod tls;
mod transaction;
mod trouble;
mod url;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prixfixe_client::{Config, StartTls};
use prixfixe_server::Mail;

use self::login::Login;
pub use self::options::{NextHopError, NextHopOptions};
use self::pool::Pool;
use self::tls::Security;
use self::transaction::Relay;
use self::url::Kind;
pub use self::url::{NextHopUrl, ParseNextHopError};
use crate::upstream::{Patience, Upstream};
use crate::{Asked, Failure, Health, Target, TlsUse, Transaction};

/// Another server that mail is handed to: an LMTP server, or the next SMTP server.
///
/// Its futures run on tokio, in a runtime with I/O and time. Clones share the connections.
///
/// ```
/// use prixfixe_delivery::{NextHop, NextHopOptions};
///
/// let mut options = NextHopOptions::default();
/// options.own_domain = "mx.example.com".into();
/// let dovecot = NextHop::open(&"lmtp:/run/dovecot/lmtp".parse()?, options)?;
/// assert_eq!(dovecot.url().to_string(), "lmtp:/run/dovecot/lmtp");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct NextHop(Arc<Hop>);

/// What all transactions with it share.
struct Hop {
    name: Box<str>,
    url: NextHopUrl,
    config: Arc<Config>,
    /// The same without TLS, where that will do too.
    plain: Option<Arc<Config>>,
    security: Security,
    login: Option<Login>,
    strict_8bit: bool,
    patience: Patience,
    upstream: Upstream,
    pool: Pool,
    /// Whether the latest connection was offered DSN.
    dsn: AtomicBool,
}

/// More connections than this do not wait for their next transaction, however many may be under
/// way.
const MAX_WAITING: usize = 64;

impl NextHop {
    /// Makes it ready. Blocks while it reads files, and connects to nothing yet: a next hop that is
    /// away is no error.
    ///
    /// # Errors
    ///
    /// When the options do not go together, and when a file cannot be used.
    pub fn open(url: &NextHopUrl, options: NextHopOptions) -> Result<Self, NextHopError> {
        let security = Security::new(url, &options)?;
        let login = Login::new(&options)?;
        let config = config(url, &options, &security)?;
        let plain = (security.level == TlsUse::Opportunistic).then(|| {
            let mut plain = config.clone();
            plain.start_tls = StartTls::Never;
            Arc::new(plain)
        });
        Ok(Self(Arc::new(Hop {
            name: options.name.as_str().into(),
            url: url.clone(),
            config: Arc::new(config),
            plain,
            security,
            login,
            strict_8bit: options.strict_8bit,
            patience: Patience {
                each: limited(options.timeout),
                last: limited(options.final_timeout),
            },
            upstream: Upstream::new(&options.name, options.concurrency),
            pool: Pool::new(options.concurrency.clamp(1, MAX_WAITING)),
            dsn: AtomicBool::new(false),
        })))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &NextHopUrl {
        &self.0.url
    }
}

/// How the dialogue goes.
fn config(
    url: &NextHopUrl,
    options: &NextHopOptions,
    security: &Security,
) -> Result<Config, NextHopError> {
    let name = options.own_domain.as_str();
    let config = match url.kind {
        Kind::Lmtp => Config::lmtp(name),
        Kind::Smtp | Kind::Smtps => Config::smtp(name),
    };
    let mut config = config.map_err(|_| NextHopError::OwnDomain(name.to_owned()))?;
    config.start_tls = match (url.kind, security.level) {
        (Kind::Smtps, _) | (_, TlsUse::Off) => StartTls::Never,
        (_, TlsUse::Opportunistic) => StartTls::WhenOffered,
        (_, TlsUse::Require | TlsUse::Verify) => StartTls::Required,
    };
    // What is not verified is spoken to with a password on this machine alone.
    config.plaintext_passwords = url.is_local();
    let timeouts = &mut config.timeouts;
    for each in [
        &mut timeouts.greeting,
        &mut timeouts.command,
        &mut timeouts.mail,
        &mut timeouts.rcpt,
        &mut timeouts.data,
        &mut timeouts.block,
    ] {
        *each = limited(options.timeout);
    }
    timeouts.message = limited(options.final_timeout);
    Ok(config)
}

/// A time that can be added to any clock.
fn limited(time: Duration) -> Duration {
    time.min(Duration::from_secs(365 * 86_400))
}

impl Target for NextHop {
    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        let begun = Relay::begin(&self.0, mail);
        Asked::Now(begun.map(|relay| Box::new(relay) as Box<dyn Transaction>))
    }

    fn health(&self) -> Health {
        self.0.upstream.health()
    }

    fn offers_dsn(&self) -> bool {
        self.0.dsn.load(Ordering::Relaxed)
    }

    fn is_relay(&self) -> bool {
        !self.0.url.is_lmtp()
    }
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("url", &self.url)
            .field("tls", &self.security.level)
            .finish_non_exhaustive()
    }
}
