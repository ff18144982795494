//! Certificates and policy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;

use crate::{TlsError, TlsVersion};

/// Certificates and policy, ready for handshakes; can be read anew while running. Cheap to clone: the clones are one.
#[derive(Debug, Clone)]
pub struct TlsConfig {}

impl TlsConfig {
    /// Starts from the defaults: TLS 1.2 and 1.3, no client certificates, 30 seconds for a handshake.
    #[must_use]
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder {}
    }

    /// What the next handshake will use.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        todo!()
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        todo!()
    }

    /// The certificates in use, the default one first.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        todo!()
    }

    /// Reads all files anew. Sessions under way keep what they have.
    ///
    /// # Errors
    /// As for [`TlsConfigBuilder::build`]; what was in use stays in use.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        todo!()
    }

    /// Reloads if the content of any file changed since it was read last.
    ///
    /// # Errors
    /// As for [`reload`](Self::reload), once for every content that is bad.
    pub fn reload_if_changed(&self) -> Result<Reloaded, TlsError> {
        todo!()
    }

    /// Starts a thread that calls [`reload_if_changed`](Self::reload_if_changed) every `interval` and logs
    /// what came of it, until the `Watch` is dropped.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(&self, interval: Duration) -> std::io::Result<Watch> {
        let _ = interval;
        todo!()
    }
}

/// Collects what a [`TlsConfig`] is made of.
#[derive(Debug)]
pub struct TlsConfigBuilder {}

impl TlsConfigBuilder {
    /// Adds a certificate. The first is the default; the others are for clients that ask for one of their names.
    #[must_use]
    pub fn certificate(self, source: CertificateSource) -> Self {
        let _ = source;
        self
    }

    /// The lowest version to accept; 1.2 unless set.
    #[must_use]
    pub fn min_version(self, version: TlsVersion) -> Self {
        let _ = version;
        self
    }

    /// Whether clients are asked for a certificate; off unless set.
    #[must_use]
    pub fn client_auth(self, client_auth: ClientAuth) -> Self {
        let _ = client_auth;
        self
    }

    /// How long a handshake may take; 30 seconds unless set.
    #[must_use]
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        let _ = timeout;
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// Names the file at fault and the reason.
    pub fn build(self) -> Result<TlsConfig, TlsError> {
        todo!()
    }
}

/// Where a certificate chain and its key come from.
#[derive(Debug, Clone)]
pub enum CertificateSource {
    /// PEM files, read anew by a reload.
    Files {
        /// The certificate, then those that lead from it to a root.
        cert: PathBuf,
        /// The private key: PKCS#8 (encrypted too), PKCS#1 or SEC1.
        key: PathBuf,
        /// A file whose first line is the password of an encrypted key.
        password_file: Option<PathBuf>,
    },
    /// PEM that the application holds.
    Memory {
        /// The certificate, then those that lead from it to a root.
        cert: Vec<u8>,
        /// The private key: PKCS#8, PKCS#1 or SEC1.
        key: Vec<u8>,
    },
    /// Made at start, signed by itself: for development.
    SelfSigned {
        /// The names it is for.
        domains: Vec<String>,
    },
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked. One that has none, or none from this CA, is served all the same, without a subject.
    Request(TrustAnchors),
    /// They are asked; the handshake fails without a certificate that this CA vouches for.
    Require(TrustAnchors),
}

/// The CA certificates that vouch for clients, in PEM.
#[derive(Debug, Clone)]
pub enum TrustAnchors {
    /// A file, read anew by a reload.
    File(PathBuf),
    /// PEM that the application holds.
    Memory(Vec<u8>),
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Where it came from: the file's path, `memory` or `self-signed`.
    pub source: String,
    /// Its names, wildcards included, in lower case.
    pub names: Vec<String>,
    /// When it expires.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files hold what is in use already.
    Unchanged,
    /// New handshakes use what was read now.
    Changed,
}

/// Watches the files of a [`TlsConfig`] until it is dropped.
#[derive(Debug)]
pub struct Watch {}
