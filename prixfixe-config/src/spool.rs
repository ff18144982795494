//! The `[spool]` table.

use std::path::PathBuf;
use std::time::Duration;

use prixfixe_delivery::{FleetUrl, TlsUse};
use serde::{Deserialize, Serialize};

use super::given::Invalid;
use super::sources::Sources;
use super::targets::Tls;
use super::units::{Count, DAY, Seconds, Size};
use super::words::{display_some, read, spool_place};

/// Where mail is kept until its targets have it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spool {
    /// Directory, or servers of a fleet, that keep mail until its targets have it; clients do not
    /// wait for them
    #[arg(id = "spool.path", long = "spool", value_name = "PATH|nats://HOSTS", value_parser = spool_place)]
    #[serde(skip)]
    pub(super) given: Option<Place>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::spool_path"
    )]
    pub path: Option<PathBuf>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "display_some",
        deserialize_with = "read::spool_url"
    )]
    pub url: Option<FleetUrl>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::stream"
    )]
    pub stream: Option<String>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Count<1, 5>>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Count<1, 256>>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub password_file: Option<PathBuf>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub creds_file: Option<PathBuf>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_word"
    )]
    pub tls: Option<Tls>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub tls_ca: Option<PathBuf>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub tls_cert: Option<PathBuf>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub tls_key: Option<PathBuf>,
    #[arg(skip)]
    pub max_size: Size<{ 1 << 20 }, { 1 << 50 }>,
    #[arg(skip)]
    pub give_up_after: Seconds<60, { 30 * DAY }>,
    /// The pauses between attempts; the last one repeats.
    #[arg(skip)]
    #[serde(deserialize_with = "read::pauses")]
    pub retry: Vec<Seconds<1>>,
}

/// Where a flag or a variable says that the spool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Directory(PathBuf),
    Fleet(FleetUrl),
}

/// RFC 5321 section 4.5.4.1 asks for 30 minutes and more after the first attempts, and for four to
/// five days.
const RETRY: [u64; 7] = [60, 300, 900, 1800, 3600, 7200, 14_400];

/// What the fleet's spool has where nothing is said.
pub(super) const STREAM: &str = "PRIXFIXE";
pub(super) const REPLICAS: u64 = 3;
pub(super) const PARTITIONS: u64 = 1;

impl Default for Spool {
    fn default() -> Self {
        Self {
            given: None,
            path: None,
            url: None,
            stream: None,
            replicas: None,
            partitions: None,
            username: None,
            password_file: None,
            creds_file: None,
            tls: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            max_size: Size::nearest(10 << 30),
            give_up_after: Seconds::nearest(Duration::from_secs(5 * DAY)),
            retry: RETRY
                .map(|pause| Seconds::nearest(Duration::from_secs(pause)))
                .to_vec(),
        }
    }
}

impl Spool {
    pub(super) fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is a spool, of either form.
    pub fn is_on(&self) -> bool {
        self.path.is_some() || self.url.is_some()
    }

    pub fn pauses(&self) -> Vec<Duration> {
        self.retry.iter().map(|pause| pause.get()).collect()
    }

    /// The stream of a fleet's spool.
    pub fn stream(&self) -> &str {
        self.stream.as_deref().unwrap_or(STREAM)
    }

    pub fn replicas(&self) -> usize {
        self.replicas
            .unwrap_or_else(|| Count::nearest(REPLICAS as usize))
            .size()
    }

    pub fn partitions(&self) -> usize {
        self.partitions
            .unwrap_or_else(|| Count::nearest(PARTITIONS as usize))
            .size()
    }

    pub fn tls(&self) -> Option<TlsUse> {
        self.tls.map(TlsUse::from)
    }

    /// This one, with what can change while running as `wanted` has it. Where the mail is stays:
    /// what waits there would be left behind.
    pub(super) fn changed_while_running(&self, wanted: &Self) -> Self {
        let stays = Self {
            max_size: wanted.max_size,
            give_up_after: wanted.give_up_after,
            retry: wanted.retry.clone(),
            ..self.clone()
        };
        match (&self.url, &wanted.url) {
            // How servers are reached means nothing for a directory.
            (Some(_), Some(_)) => Self {
                given: stays.given,
                path: stays.path,
                url: stays.url,
                stream: stays.stream,
                replicas: stays.replicas,
                partitions: stays.partitions,
                ..wanted.clone()
            },
            _ => stays,
        }
    }

    /// What a flag or a variable says takes the place of both keys. Where there is a fleet's spool,
    /// its keys have their values.
    pub(super) fn settle(&mut self) {
        match self.given.take() {
            Some(Place::Directory(path)) => {
                // What the file says of a fleet does not count either.
                *self = Self {
                    path: Some(path),
                    max_size: self.max_size,
                    give_up_after: self.give_up_after,
                    retry: std::mem::take(&mut self.retry),
                    ..Self::default()
                };
            }
            Some(Place::Fleet(url)) => (self.path, self.url) = (None, Some(url)),
            None => {}
        }
        if self.url.is_some() {
            self.stream.get_or_insert_with(|| STREAM.to_owned());
            self.replicas = Some(Count::nearest(self.replicas()));
            self.partitions = Some(Count::nearest(self.partitions()));
        }
    }

    /// What no key says by itself.
    pub(super) fn check(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
        match self.problem() {
            Some((key, problem)) => {
                let place = sources.place(&format!("spool.{key}"));
                Err(Invalid::new(place, problem))
            }
            None => Ok(()),
        }
    }

    /// The key, and what is wrong with it.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if self.path.is_some() && self.url.is_some() {
            let problem = "there is spool.path too, and a spool is in one place; leave out one of \
                           spool.path and spool.url";
            return Some(("url", problem.to_owned()));
        }
        let Some(url) = &self.url else {
            let key = self.keys_of_fleets().into_iter().next()?;
            let problem = "is for the spool of a fleet; set spool.url, or leave it out";
            return Some((key, problem.to_owned()));
        };
        let problem = |key, text: &str| Some((key, text.to_owned()));
        let has_credentials = self.username.is_some() || self.creds_file.is_some();
        if self.creds_file.is_some() && (self.username.is_some() || self.password_file.is_some()) {
            return problem(
                "creds-file",
                "goes without username and password-file; leave out one of them",
            );
        }
        if self.username.is_some() != self.password_file.is_some() {
            let key = match self.username {
                Some(_) => "username",
                None => "password-file",
            };
            return problem(
                key,
                "username and password-file go together; add the other one",
            );
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            let key = match self.tls_cert {
                Some(_) => "tls-cert",
                None => "tls-key",
            };
            return problem(key, "tls-cert and tls-key go together; add the other one");
        }
        let is_verified = matches!(self.tls, None | Some(Tls::Verify));
        if has_credentials && !is_verified && !url.is_loopback() {
            let text =
                "credentials are sent to verified servers alone; set \"verify\", or leave it out";
            return problem("tls", text);
        }
        None
    }

    /// Those that are given and mean nothing for a directory.
    fn keys_of_fleets(&self) -> Vec<&'static str> {
        let keys = [
            ("stream", self.stream.is_some()),
            ("replicas", self.replicas.is_some()),
            ("partitions", self.partitions.is_some()),
            ("username", self.username.is_some()),
            ("password-file", self.password_file.is_some()),
            ("creds-file", self.creds_file.is_some()),
            ("tls", self.tls.is_some()),
            ("tls-ca", self.tls_ca.is_some()),
            ("tls-cert", self.tls_cert.is_some()),
            ("tls-key", self.tls_key.is_some()),
        ];
        let given = keys.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(key, _)| key).collect()
    }

    /// Where it is, in words.
    pub(super) fn place(&self) -> Option<String> {
        if let Some(path) = &self.path {
            return Some(format!("the spool in {}", path.display()));
        }
        let url = self.url.as_ref()?;
        let streams = match self.partitions() {
            1 => format!("stream {}", self.stream()),
            count => format!("streams {0}-0 to {0}-{1}", self.stream(), count - 1),
        };
        let replicas = match self.replicas() {
            1 => "1 replica".to_owned(),
            count => format!("{count} replicas"),
        };
        Some(format!(
            "the spool of the fleet at {url} ({streams}, {replicas})"
        ))
    }
}
