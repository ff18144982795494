//! Certificates, and what is asked of clients.

use std::path::PathBuf;

use prixfixe_tls::{CertificateSource, TlsConfig, TlsError, TrustAnchors};
use serde::Serialize;

/// The `[tls]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Tls {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) key_password_file: Option<PathBuf>,
    pub(crate) self_signed: bool,
    pub(crate) min_version: TlsVersion,
    pub(crate) required: bool,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) client_auth: ClientAuth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientAuth {
    Off,
    Request,
    Require,
}

impl Tls {
    /// Whether there is a certificate at all.
    pub(crate) fn is_on(&self) -> bool {
        self.self_signed || self.cert.is_some()
    }

    /// Reads and checks all files. `None`: there is no TLS.
    pub(crate) fn load(&self, domain: &str) -> Result<Option<TlsConfig>, TlsError> {
        let source = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => CertificateSource::Files {
                cert: cert.clone(),
                key: key.clone(),
                password_file: self.key_password_file.clone(),
            },
            _ if self.self_signed => CertificateSource::SelfSigned {
                domains: vec![domain.to_owned()],
            },
            _ => return Ok(None),
        };
        let min_version = match self.min_version {
            TlsVersion::Tls12 => prixfixe_tls::TlsVersion::Tls12,
            TlsVersion::Tls13 => prixfixe_tls::TlsVersion::Tls13,
        };
        let builder = TlsConfig::builder()
            .certificate(source)
            .min_version(min_version)
            .client_auth(self.client_auth());
        builder.build().map(Some)
    }

    fn client_auth(&self) -> prixfixe_tls::ClientAuth {
        match (self.client_auth, &self.client_ca) {
            (ClientAuth::Request, Some(file)) => {
                prixfixe_tls::ClientAuth::Request(TrustAnchors::File(file.clone()))
            }
            (ClientAuth::Require, Some(file)) => {
                prixfixe_tls::ClientAuth::Require(TrustAnchors::File(file.clone()))
            }
            (ClientAuth::Off, _) | (_, None) => prixfixe_tls::ClientAuth::Off,
        }
    }
}
