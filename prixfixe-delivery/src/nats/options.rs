//! How a NATS target is used, and why it could not be opened.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::TlsUse;

/// How a [`Nats`](crate::Nats) target is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NatsOptions {
    /// What log and health call it. By default: `default`.
    pub name: String,
    /// The server's own domain: that of a recipient who is `postmaster` alone. By default:
    /// `localhost`.
    pub domain: String,
    /// Messages that are handed over at once. By default: 16.
    pub concurrency: usize,
    /// For connecting, and for each acknowledgement. By default: 30 s.
    pub timeout: Duration,
    /// For all of a message: its object, and the acknowledgements for every domain. By default: 300
    /// s.
    pub final_timeout: Duration,
    /// The user, whose password is in [`password_file`](Self::password_file).
    pub username: Option<String>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// A credentials file (JWT and NKey), as `nsc` makes it.
    pub creds_file: Option<PathBuf>,
    /// How connections are secured. By default: [`TlsUse::Verify`] where there are credentials,
    /// else [`TlsUse::Off`]. A server that insists on TLS gets it.
    pub tls: Option<TlsUse>,
    /// The file with the certificates that servers are verified against. By default: the system's.
    pub tls_ca: Option<PathBuf>,
    /// The client's certificate chain, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The least replicas that the stream and the bucket must have. By default: 3.
    pub min_replicas: usize,
    /// The object store bucket for messages that are larger than the server takes. By default:
    /// `prixfixe`.
    pub objects: String,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            domain: "localhost".to_owned(),
            concurrency: 16,
            timeout: Duration::from_secs(30),
            final_timeout: Duration::from_secs(300),
            username: None,
            password_file: None,
            creds_file: None,
            tls: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            min_replicas: 3,
            objects: "prixfixe".to_owned(),
        }
    }
}

impl NatsOptions {
    pub(super) fn has_credentials(&self) -> bool {
        self.username.is_some() || self.creds_file.is_some()
    }

    pub(super) fn tls(&self) -> TlsUse {
        self.tls.unwrap_or(match self.has_credentials() {
            true => TlsUse::Verify,
            false => TlsUse::Off,
        })
    }
}

/// Why a [`Nats`](crate::Nats) target could not be opened: what no waiting mends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// A file of the options cannot be read, or holds something else.
    #[error("cannot use {path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A user without a password or the other way round, a key without a certificate, and the like.
    #[error("{0}")]
    Options(&'static str),
    /// Credentials would be sent where others may read them.
    #[error(
        "credentials are sent to verified servers alone: set tls = \"verify\", or use loopback addresses"
    )]
    CredentialsInClear,
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// The bucket's name is none.
    #[error("{0:?} is no name of a bucket: use letters, digits, - and _")]
    Bucket(String),
    /// The stream or the bucket does not keep what it acknowledges, or is missing.
    #[error("{0}")]
    Stream(String),
}
