//! How a next hop is spoken with.

use std::path::PathBuf;
use std::time::Duration;

use crate::TlsUse;

/// How a next hop is spoken with.
///
/// ```
/// use prixfixe_delivery::{NextHopOptions, TlsUse};
///
/// let mut options = NextHopOptions::default();
/// options.own_domain = "mx.example.com".into();
/// options.tls = Some(TlsUse::Verify);
/// assert_eq!(options.concurrency, 16);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextHopOptions {
    /// What the log and `/readyz` call it. `default` unless it is set.
    pub name: String,
    /// The name in EHLO and LHLO: this server's domain. `localhost` unless it is set.
    pub own_domain: String,
    /// Messages on their way there at once. 16 unless it is set.
    pub concurrency: usize,
    /// For connecting, and for each of its answers but the last. 30 seconds unless it is set.
    pub timeout: Duration,
    /// For its answer to a whole message. 300 seconds unless it is set.
    pub final_timeout: Duration,
    /// Who logs in there. Nobody unless it is set.
    pub username: Option<String>,
    /// The file with the password, on one line. It is read when the target is opened and again for
    /// each login, so that a new password needs no restart.
    pub password_file: Option<PathBuf>,
    /// How TLS is used. Unless it is set: [`Off`](TlsUse::Off) for `lmtp:`,
    /// [`Opportunistic`](TlsUse::Opportunistic) for `smtp:`, and [`Verify`](TlsUse::Verify) for
    /// `smtps:` and wherever there is a `username`.
    pub tls: Option<TlsUse>,
    /// A PEM file of the certificate authorities that the next hop's certificate is verified
    /// against. The system's unless it is set.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the certificate that is shown to the next hop, the chain behind it.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with its key.
    pub tls_key: Option<PathBuf>,
    /// Content with bytes over 127 is refused where the next hop does not offer 8BITMIME. Otherwise
    /// it goes as it is.
    pub strict_8bit: bool,
}

impl Default for NextHopOptions {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            own_domain: "localhost".to_owned(),
            concurrency: 16,
            timeout: Duration::from_secs(30),
            final_timeout: Duration::from_secs(300),
            username: None,
            password_file: None,
            tls: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            strict_8bit: false,
        }
    }
}

/// A next hop that cannot be used as it is configured. The message says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NextHopError {
    /// `own_domain` cannot stand in EHLO.
    #[error("{0:?} cannot be this server's name in EHLO: write a domain or an address literal")]
    OwnDomain(String),
    /// One of `username` and `password-file` without the other.
    #[error("username and password-file belong together: write both, or neither")]
    HalfALogin,
    /// The name or the password cannot be sent.
    #[error("the username is empty, or it or the password has a NUL or more than 1024 bytes")]
    Credentials,
    /// A password for a server that is not verified.
    #[error(
        "tls = \"{0}\" would send a password to a server that is not verified: write tls = \"verify\", or leave it out"
    )]
    UnverifiedLogin(TlsUse),
    /// `smtps:` without TLS.
    #[error("tls = \"{0}\" does not go with smtps: write \"require\" or \"verify\", or smtp:")]
    NotSmtps(TlsUse),
    /// TLS over a Unix socket.
    #[error("a Unix socket has no TLS: leave tls, tls-ca, tls-cert and tls-key out")]
    UnixTls,
    /// One of `tls-cert` and `tls-key` without the other.
    #[error("tls-cert and tls-key belong together: write both, or neither")]
    HalfACertificate,
    /// A file cannot be used.
    #[error("cannot read {what} from {}: {reason}", path.display())]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing to verify against.
    #[error("this system has no certificate authorities: install ca-certificates, or write tls-ca")]
    NoRoots,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}
