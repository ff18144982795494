//! The issuer's keys, and the thread that fetches them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use prixfixe_http::{
    Client, ClientOptions, HttpError, HttpSetupError, InvalidHttpUrl, Method, Origin, Request,
    StatusCode, TlsFiles,
};
use prixfixe_server::Reply;
use serde::Deserialize;

use super::Keys;
use super::keys::{InvalidKeys, KeySet};

/// Logins that wait for keys. One more is told to come again.
const MAX_WAITING: usize = 1024;

/// How often, and how patiently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Of one request, twice in a fetch.
    pub(super) patience: Duration,
    /// Between two fetches, whoever asks.
    pub(super) between: Duration,
    /// When keys are fetched anew, beside the logins.
    pub(super) fresh: Duration,
    /// When they count no more.
    pub(super) usable: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            between: Duration::from_secs(10),
            fresh: Duration::from_secs(5 * 60),
            usable: Duration::from_secs(60 * 60),
        }
    }
}

pub(super) struct Issuer {
    latest: Arc<Mutex<Option<Fetched>>>,
    /// The end of it ends the thread.
    wanted: Sender<Wanted>,
    pace: Pace,
}

#[derive(Clone)]
struct Fetched {
    keys: Keys,
    at: Instant,
}

/// Somebody wants keys that are no older than this.
struct Wanted {
    since: Instant,
    outcome: Sender<()>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Url(#[from] InvalidHttpUrl),
    #[error(transparent)]
    Setup(#[from] HttpSetupError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{url} answers {status}")]
    Status { url: String, status: StatusCode },
    #[error("{0} is no description of a provider in JSON of at most 64 KiB: {1}")]
    Description(String, serde_json::Error),
    #[error("it calls itself {0:?}: set auth.issuer to that, if it is the one")]
    Name(String),
    #[error(transparent)]
    Keys(#[from] InvalidKeys),
    #[error("none of its keys is for signatures that are known here")]
    NoKey,
}

/// What counts of a provider's description.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    pub(super) fn open(name: String, configuration: String, pace: Pace) -> io::Result<Self> {
        let latest = Arc::default();
        let (wanted, asked) = async_channel::bounded(MAX_WAITING);
        let fetching = Fetching {
            name,
            configuration,
            pace,
            latest: Arc::clone(&latest),
            attempted: None,
            is_away: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("prixfixe-oidc".to_owned());
        thread.spawn(move || runtime.block_on(fetching.run(&asked)))?;
        let issuer = Self {
            latest,
            wanted,
            pace,
        };
        issuer.want(Instant::now());
        Ok(issuer)
    }

    /// Those that there are, or that can be had.
    pub(super) async fn keys(&self) -> Result<Keys, Reply> {
        let now = Instant::now();
        if let Some(Fetched { keys, at }) = lock(&self.latest).clone() {
            let age = now.duration_since(at);
            if age < self.pace.usable {
                if age >= self.pace.fresh {
                    self.want(now);
                }
                return Ok(keys);
            }
        }
        self.fetched_since(now).await
    }

    /// Those of now, as far as they may be fetched so soon.
    pub(super) async fn newer_keys(&self) -> Result<Keys, Reply> {
        self.fetched_since(Instant::now()).await
    }

    async fn fetched_since(&self, now: Instant) -> Result<Keys, Reply> {
        let outcome = self.want(now).ok_or(Reply::LOGIN_UNAVAILABLE)?;
        // It is dropped, whatever came of it.
        let _ = outcome.recv().await;
        let latest = lock(&self.latest).clone();
        // Keys from before an outage do not tell whether a new one is the issuer's.
        let usable = latest
            .filter(|latest| latest.at >= now || now.duration_since(latest.at) < self.pace.between);
        usable
            .map(|fetched| fetched.keys)
            .ok_or(Reply::LOGIN_UNAVAILABLE)
    }

    fn want(&self, since: Instant) -> Option<Receiver<()>> {
        let (outcome, wait) = async_channel::bounded(1);
        let wanted = Wanted { since, outcome };
        self.wanted.try_send(wanted).ok().map(|()| wait)
    }
}

/// The thread's.
struct Fetching {
    name: String,
    configuration: String,
    pace: Pace,
    latest: Arc<Mutex<Option<Fetched>>>,
    /// When the last fetch began, whatever came of it.
    attempted: Option<Instant>,
    is_away: bool,
}

impl Fetching {
    async fn run(mut self, asked: &Receiver<Wanted>) {
        while let Ok(Wanted { since, outcome }) = asked.recv().await {
            let may_fetch = self
                .attempted
                .is_none_or(|at| at < since && at.elapsed() >= self.pace.between);
            if may_fetch {
                self.attempted = Some(Instant::now());
                let fetched = self.fetch().await;
                self.settle(fetched);
            }
            drop(outcome);
        }
    }

    fn settle(&mut self, fetched: Result<KeySet, Fault>) {
        let issuer = &self.name;
        match fetched {
            Ok(keys) => {
                let is_first = lock(&self.latest).is_none();
                if is_first || self.is_away {
                    tracing::info!(issuer, keys = keys.len(), "keys of the issuer fetched");
                }
                self.is_away = false;
                let at = Instant::now();
                let keys = Arc::new(keys);
                *lock(&self.latest) = Some(Fetched { keys, at });
            }
            Err(error) => {
                if !self.is_away {
                    tracing::warn!(issuer, %error, "no keys of the issuer; logins that need them receive 454");
                }
                self.is_away = true;
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, Fault> {
        let text = self.get(&self.configuration).await?;
        let description: Description = serde_json::from_slice(&text)
            .map_err(|error| Fault::Description(self.configuration.clone(), error))?;
        // OpenID Connect Discovery 1.0 section 4.3.
        if description.issuer != self.name {
            let name = description.issuer.chars().take(200).collect();
            return Err(Fault::Name(name));
        }
        let keys = KeySet::parse(&self.get(&description.jwks_uri).await?)?;
        match keys.len() {
            0 => Err(Fault::NoKey),
            _ => Ok(keys),
        }
    }

    /// Everything is bounded: the time, and what is read. Plaintext is for this host alone.
    async fn get(&self, url: &str) -> Result<Vec<u8>, Fault> {
        let (origin, target) = Origin::parse(url)?;
        let options = ClientOptions {
            connect_timeout: self.pace.patience,
            max_idle: 0,
            tls: TlsFiles::default(),
            insecure: false,
        };
        let client = Client::new(origin, &options)?;
        let target = target
            .parse()
            .map_err(|_| InvalidHttpUrl::NoUrl(url.to_owned()))?;
        let request = Request::new(Method::GET, target);
        let response = client.send(&request, self.pace.patience).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let url = url.to_owned();
            return Err(Fault::Status { url, status });
        }
        Ok(response.read().await?.to_vec())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
