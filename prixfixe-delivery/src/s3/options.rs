//! How an S3 target is used, and why it could not be opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{HttpSetupError, InvalidHttpUrl};

/// How an [`S3`](crate::S3) target is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct S3Options {
    /// What log and health call it. By default: `default`.
    pub name: String,
    /// The server's own domain: that of a recipient who is `postmaster` alone. By default:
    /// `localhost`.
    pub domain: String,
    /// The service. By default: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, else that of AWS in the
    /// region.
    pub endpoint: Option<String>,
    /// The region. By default: `AWS_REGION`, `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path rather than in the host's name. By default: at an
    /// endpoint that is set, and for buckets whose name is none of a host.
    pub path_style: Option<bool>,
    /// The key, without `.json` or `.eml`: words with `{digest}`, `{date}`, `{id}`, `{domain}` in
    /// them. By default: `{digest}`.
    pub key: String,
    /// Credentials. By default they come from where all tools look: the environment, the shared
    /// credentials file, the container's or the instance's endpoint.
    pub credentials: Option<S3Credentials>,
    /// For a connection, and for each answer but that to the content. By default: 30 s.
    pub timeout: Duration,
    /// For the answer to the content, since it was sent. By default: 300 s.
    pub final_timeout: Duration,
    /// Messages that are handed over at once. By default: 16.
    pub concurrency: usize,
    /// The roots that the service is verified against, in PEM. By default: the system's.
    pub tls_ca: Option<PathBuf>,
    /// Whether plaintext may go to another host. By default: no.
    pub insecure: bool,
}

/// Credentials of an S3 service.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`, of those that end.
    pub session_token: Option<String>,
}

/// Secrets do not print.
impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            domain: "localhost".to_owned(),
            endpoint: None,
            region: None,
            path_style: None,
            key: "{digest}".to_owned(),
            credentials: None,
            timeout: Duration::from_secs(30),
            final_timeout: Duration::from_secs(300),
            concurrency: 16,
            tls_ca: None,
            insecure: false,
        }
    }
}

/// Why an [`S3`](crate::S3) target could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The template of keys.
    #[error("{0}")]
    Key(String),
    /// The endpoint is no URL.
    #[error("endpoint: {0}")]
    Endpoint(#[from] InvalidHttpUrl),
    /// The bucket's name is none that a host can have, and path-style is off.
    #[error("the bucket {0:?} cannot stand in the name of a host: set path-style = true")]
    Host(String),
    /// TLS, or plaintext where it must not be.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
}
