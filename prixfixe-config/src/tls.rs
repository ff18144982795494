//! The `[tls]` table: certificates, and what is asked of clients.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ValueEnum};
use prixfixe_tls::{CertificateSource, TlsConfig, TlsConfigBuilder, TlsError, TrustAnchors};
use serde::{Deserialize, Serialize};

use super::given::Invalid;
use super::sources::Sources;
use super::units::{Seconds, switch};
use super::words::{Word, path, read};

/// What TLS needs where it is asked for.
pub(super) const CERTIFICATE: &str =
    "a certificate; add --tls-cert and --tls-key, or --tls-self-signed";

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// Certificate chain in PEM; turns on STARTTLS
    #[arg(id = "tls.cert", long = "tls-cert", value_name = "FILE", value_parser = path)]
    #[serde(deserialize_with = "read::path")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(id = "tls.key", long = "tls-key", value_name = "FILE", value_parser = path)]
    #[serde(deserialize_with = "read::path")]
    pub key: Option<PathBuf>,
    /// File with the password of an encrypted key on its first line
    #[arg(id = "tls.key-password-file", long = "tls-key-password-file", value_name = "FILE", value_parser = path)]
    #[serde(deserialize_with = "read::path")]
    pub key_password_file: Option<PathBuf>,
    /// Generate a self-signed certificate for the domain at start
    #[arg(id = "tls.self-signed", long = "tls-self-signed", value_name = "BOOLEAN", action = ArgAction::Set, value_parser = switch)]
    pub self_signed: bool,
    /// Oldest TLS version to accept
    #[arg(id = "tls.min-version", long = "tls-min-version", value_name = "1.2|1.3", value_parser = Word::<TlsVersion>::default())]
    #[serde(deserialize_with = "read::word")]
    pub min_version: TlsVersion,
    /// Refuse mail without TLS
    #[arg(id = "tls.required", long = "tls-required", value_name = "BOOLEAN", action = ArgAction::Set, value_parser = switch)]
    pub required: bool,
    /// CA certificates for client certificates, in PEM
    #[arg(id = "tls.client-ca", long = "tls-client-ca", value_name = "FILE", value_parser = path)]
    #[serde(deserialize_with = "read::path")]
    pub client_ca: Option<PathBuf>,
    /// Whether to ask clients for a certificate issued by --tls-client-ca
    #[arg(id = "tls.client-auth", long = "tls-client-auth", value_name = "off|request|require", value_parser = Word::<ClientAuth>::default())]
    #[serde(deserialize_with = "read::word")]
    pub client_auth: ClientAuth,
    #[arg(skip)]
    pub handshake_timeout: Seconds<1>,
    /// Zero: files are read again on SIGHUP only.
    #[arg(skip)]
    pub reload_interval: Seconds<0>,
    /// For clients that ask for one of their names; the default is above.
    #[arg(skip)]
    #[serde(
        rename = "certificate",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub certificates: Vec<Certificate>,
}

/// One `[[tls.certificate]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Certificate {
    #[serde(deserialize_with = "read::path")]
    pub cert: PathBuf,
    #[serde(deserialize_with = "read::path")]
    pub key: PathBuf,
    #[serde(default, deserialize_with = "read::path")]
    pub key_password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
pub enum TlsVersion {
    #[default]
    #[value(name = "1.2")]
    #[serde(rename = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    #[default]
    Off,
    Request,
    Require,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            key_password_file: None,
            self_signed: false,
            min_version: TlsVersion::default(),
            required: false,
            client_ca: None,
            client_auth: ClientAuth::default(),
            handshake_timeout: Seconds::nearest(TlsConfigBuilder::HANDSHAKE_TIMEOUT),
            reload_interval: Seconds::nearest(RELOAD_INTERVAL),
            certificates: Vec::new(),
        }
    }
}

/// How often this command looks at the files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

impl Tls {
    /// Whether there is a certificate at all.
    pub fn is_on(&self) -> bool {
        self.self_signed || self.cert.is_some()
    }

    /// Reads and checks all files. `None`: there is no TLS.
    pub fn load(&self, domain: &str) -> Result<Option<TlsConfig>, TlsError> {
        let source = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => CertificateSource::files(cert.clone(), key.clone())
                .password_file(self.key_password_file.clone()),
            _ if self.self_signed => CertificateSource::self_signed([domain]),
            _ => return Ok(None),
        };
        let min_version = match self.min_version {
            TlsVersion::Tls12 => prixfixe_tls::TlsVersion::Tls12,
            TlsVersion::Tls13 => prixfixe_tls::TlsVersion::Tls13,
        };
        let builder = TlsConfig::builder()
            .certificate(source)
            .min_version(min_version)
            .client_auth(self.client_auth())
            .handshake_timeout(self.handshake_timeout.get());
        let more = self.certificates.iter().map(Certificate::source);
        more.fold(builder, TlsConfigBuilder::certificate)
            .build()
            .map(Some)
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

impl Certificate {
    fn source(&self) -> CertificateSource {
        CertificateSource::files(self.cert.clone(), self.key.clone())
            .password_file(self.key_password_file.clone())
    }
}

impl Tls {
    /// What is asked for needs what it is made of.
    pub(super) fn check(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
        let needs_certificate = format!("needs {CERTIFICATE}");
        let rules = [
            (
                "tls.cert",
                self.cert.is_some() && self.key.is_none(),
                "needs its private key; add --tls-key",
            ),
            (
                "tls.key",
                self.key.is_some() && self.cert.is_none(),
                "needs its certificate; add --tls-cert",
            ),
            (
                "tls.self-signed",
                self.self_signed && self.cert.is_some(),
                "there is a certificate already; remove --tls-self-signed or --tls-cert",
            ),
            (
                "tls.key-password-file",
                self.key_password_file.is_some() && self.key.is_none(),
                "needs the key that it opens; add --tls-key",
            ),
            (
                "tls.client-auth",
                self.client_auth != ClientAuth::Off && self.client_ca.is_none(),
                "needs the CA that vouches for clients; add --tls-client-ca",
            ),
            (
                "tls.required",
                self.required && !self.is_on(),
                &needs_certificate,
            ),
            (
                "tls.client-auth",
                self.client_auth != ClientAuth::Off && !self.is_on(),
                &needs_certificate,
            ),
        ];
        for (key, broken, problem) in rules {
            if broken {
                return Err(Invalid::new(sources.place(key), problem));
            }
        }
        if !self.is_on() && !self.certificates.is_empty() {
            let place = sources.file.place("tls.certificate", Some(0));
            let problem = format!("needs a default beside it, {CERTIFICATE}");
            return Err(Invalid::new(place.unwrap_or_default(), problem));
        }
        Ok(())
    }
}
