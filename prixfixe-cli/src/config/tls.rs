//! Certificates, and what is asked of clients.

use std::path::PathBuf;
use std::time::Duration;

use prixfixe_tls::{CertificateSource, TlsConfig, TlsConfigBuilder, TlsError, TrustAnchors};
use serde::Serialize;

use super::given::Invalid;
use super::options;
use super::sources::Sources;
use super::tables::CertificateTable;
use super::{seconds, units, words};

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
    #[serde(serialize_with = "seconds")]
    pub(crate) handshake_timeout: Duration,
    /// Zero: files are read again on SIGHUP only.
    #[serde(serialize_with = "seconds")]
    pub(crate) reload_interval: Duration,
    /// For clients that ask for one of their names; the default is above.
    #[serde(rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificates: Vec<Certificate>,
}

/// One `[[tls.certificate]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) key_password_file: Option<PathBuf>,
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
            .client_auth(self.client_auth())
            .handshake_timeout(self.handshake_timeout);
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
        CertificateSource::Files {
            cert: self.cert.clone(),
            key: self.key.clone(),
            password_file: self.key_password_file.clone(),
        }
    }

    fn from_table(table: &CertificateTable) -> Result<Self, Invalid> {
        Ok(Self {
            cert: table.cert.parse(path)?,
            key: table.key.parse(path)?,
            key_password_file: table
                .key_password_file
                .as_ref()
                .map(|file| file.parse(path))
                .transpose()?,
        })
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("names no file; give its path".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

impl Sources<'_> {
    /// What they say of TLS.
    pub(super) fn tls(&self) -> Result<Tls, Invalid> {
        let tls = Tls {
            cert: self.one(&options::TLS_CERT, path)?,
            key: self.one(&options::TLS_KEY, path)?,
            key_password_file: self.one(&options::TLS_KEY_PASSWORD_FILE, path)?,
            self_signed: self
                .one(&options::TLS_SELF_SIGNED, units::switch)?
                .unwrap_or(false),
            min_version: self
                .one(&options::TLS_MIN_VERSION, words::tls_version)?
                .unwrap_or(TlsVersion::Tls12),
            required: self
                .one(&options::TLS_REQUIRED, units::switch)?
                .unwrap_or(false),
            client_ca: self.one(&options::TLS_CLIENT_CA, path)?,
            client_auth: self
                .one(&options::TLS_CLIENT_AUTH, words::client_auth)?
                .unwrap_or(ClientAuth::Off),
            handshake_timeout: self
                .one(&options::TLS_HANDSHAKE_TIMEOUT, |text| units::time(text, 1))?
                .unwrap_or(Duration::from_secs(30)),
            reload_interval: self
                .one(&options::TLS_RELOAD_INTERVAL, |text| units::time(text, 0))?
                .unwrap_or(Duration::from_secs(60)),
            certificates: (self.file.certificates.iter())
                .map(Certificate::from_table)
                .collect::<Result<_, _>>()?,
        };
        self.check_tls(&tls)?;
        Ok(tls)
    }

    /// What is asked for needs what it is made of.
    fn check_tls(&self, tls: &Tls) -> Result<(), Invalid> {
        let certificate = "a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
        let rules = [
            (
                &options::TLS_CERT,
                tls.cert.is_some() && tls.key.is_none(),
                "needs its private key; add --tls-key",
            ),
            (
                &options::TLS_KEY,
                tls.key.is_some() && tls.cert.is_none(),
                "needs its certificate; add --tls-cert",
            ),
            (
                &options::TLS_SELF_SIGNED,
                tls.self_signed && tls.cert.is_some(),
                "there is a certificate already; remove --tls-self-signed or --tls-cert",
            ),
            (
                &options::TLS_KEY_PASSWORD_FILE,
                tls.key_password_file.is_some() && tls.key.is_none(),
                "needs the key that it opens; add --tls-key",
            ),
            (
                &options::TLS_CLIENT_AUTH,
                tls.client_auth != ClientAuth::Off && tls.client_ca.is_none(),
                "needs the CA that vouches for clients; add --tls-client-ca",
            ),
            (
                &options::TLS_REQUIRED,
                tls.required && !tls.is_on(),
                &format!("needs {certificate}"),
            ),
            (
                &options::TLS_CLIENT_AUTH,
                tls.client_auth != ClientAuth::Off && !tls.is_on(),
                &format!("needs {certificate}"),
            ),
        ];
        for (option, broken, problem) in rules {
            if broken {
                return Err(self.origin(option)?.invalid(problem));
            }
        }
        if !tls.is_on()
            && let Some(table) = self.file.certificates.first()
        {
            let problem = format!("needs a default beside it, {certificate}");
            return Err(table.origin.invalid(problem));
        }
        if !tls.is_on()
            && let Some((origin, _)) = self.listeners_of_kind(&options::LISTEN_TLS, true)?.first()
        {
            return Err(origin.invalid(format!("needs {certificate}")));
        }
        Ok(())
    }
}
