//! What can be set for a target, whatever its kind.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What can be set for a target, by the keys of a `[[target]]` table. `None` is the kind's own
/// default.
///
/// Which of them a kind takes [`TargetUrl::check_options`](crate::TargetUrl::check_options) knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each is a key of the configuration, where it is explained"
)]
#[non_exhaustive]
pub struct TargetOptions {
    pub concurrency: Option<usize>,
    pub timeout: Option<Duration>,
    pub final_timeout: Option<Duration>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub creds_file: Option<PathBuf>,
    pub tls: Option<TlsUse>,
    pub tls_ca: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub secret_file: Option<PathBuf>,
    pub format: Option<String>,
    pub on_4xx: Option<String>,
    pub header_file: Option<PathBuf>,
    pub args: Vec<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: Option<bool>,
    pub key: Option<String>,
    pub min_replicas: Option<usize>,
    pub objects: Option<String>,
    pub strict_8bit: Option<bool>,
    pub insecure: Option<bool>,
    pub mode: Option<u32>,
    /// Its number.
    pub group: Option<u32>,
    pub create: Option<bool>,
}

/// How strong TLS to a target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsUse {
    /// None.
    Off,
    /// Where it is offered, with any certificate; in plaintext where it cannot be had. It keeps out
    /// those who only listen (RFC 7435).
    Opportunistic,
    /// Always, with any certificate.
    Require,
    /// Always, with a certificate of that name from a trusted authority.
    Verify,
}

impl fmt::Display for TlsUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Opportunistic => "opportunistic",
            Self::Require => "require",
            Self::Verify => "verify",
        })
    }
}

impl TargetOptions {
    /// The keys of those that are set.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("concurrency", self.concurrency.is_some()),
            ("timeout", self.timeout.is_some()),
            ("final-timeout", self.final_timeout.is_some()),
            ("username", self.username.is_some()),
            ("password-file", self.password_file.is_some()),
            ("creds-file", self.creds_file.is_some()),
            ("tls", self.tls.is_some()),
            ("tls-ca", self.tls_ca.is_some()),
            ("tls-cert", self.tls_cert.is_some()),
            ("tls-key", self.tls_key.is_some()),
            ("secret-file", self.secret_file.is_some()),
            ("format", self.format.is_some()),
            ("on-4xx", self.on_4xx.is_some()),
            ("header-file", self.header_file.is_some()),
            ("args", !self.args.is_empty()),
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("path-style", self.path_style.is_some()),
            ("key", self.key.is_some()),
            ("min-replicas", self.min_replicas.is_some()),
            ("objects", self.objects.is_some()),
            ("strict-8bit", self.strict_8bit.is_some()),
            ("insecure", self.insecure.is_some()),
            ("mode", self.mode.is_some()),
            ("group", self.group.is_some()),
            ("create", self.create.is_some()),
        ];
        let set = keys.into_iter().filter(|(_, is_set)| *is_set);
        set.map(|(key, _)| key).collect()
    }
}
