//! TLS with a next hop: what its certificate is verified against, and what is shown to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::options::{NextHopError, NextHopOptions};
use super::url::{Kind, NextHopUrl, Place};
use crate::TlsUse;
use crate::any_certificate::AnyCertificate;

/// How connections to one next hop are secured.
#[derive(Clone)]
pub(super) struct Security {
    pub(super) level: TlsUse,
    /// `None`: not at all.
    pub(super) client: Option<(TlsConnector, ServerName<'static>)>,
}

impl Security {
    /// Blocks while it reads files.
    pub(super) fn new(url: &NextHopUrl, options: &NextHopOptions) -> Result<Self, NextHopError> {
        let level = level(url, options)?;
        let host = match (&url.place, level) {
            (Place::Unix(_), _) | (_, TlsUse::Off) => {
                return Ok(Self {
                    level: TlsUse::Off,
                    client: None,
                });
            }
            (Place::Network { host, .. }, _) => host.to_string(),
        };
        let name = ServerName::try_from(host).map_err(fault)?;
        let config = client_config(level, options)?;
        Ok(Self {
            level,
            client: Some((TlsConnector::from(Arc::new(config)), name)),
        })
    }

    pub(super) fn verifies(&self) -> bool {
        self.level == TlsUse::Verify
    }
}

/// The level that is in force, where it makes sense.
fn level(url: &NextHopUrl, options: &NextHopOptions) -> Result<TlsUse, NextHopError> {
    if let Place::Unix(_) = url.place {
        let is_asked_for = options.tls.is_some_and(|level| level != TlsUse::Off);
        let has_files = [&options.tls_ca, &options.tls_cert, &options.tls_key];
        return match is_asked_for || has_files.into_iter().any(Option::is_some) {
            true => Err(NextHopError::UnixTls),
            false => Ok(TlsUse::Off),
        };
    }
    let has_login = options.username.is_some();
    let level = options.tls.unwrap_or(match url.kind {
        _ if has_login => TlsUse::Verify,
        Kind::Lmtp => TlsUse::Off,
        Kind::Smtp => TlsUse::Opportunistic,
        Kind::Smtps => TlsUse::Verify,
    });
    if url.kind == Kind::Smtps && level < TlsUse::Require {
        return Err(NextHopError::NotSmtps(level));
    }
    if has_login && level < TlsUse::Verify && !url.is_local() {
        return Err(NextHopError::UnverifiedLogin(level));
    }
    Ok(level)
}

fn client_config(level: TlsUse, options: &NextHopOptions) -> Result<ClientConfig, NextHopError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(fault)?;
    let builder = match (level, &options.tls_ca) {
        (TlsUse::Verify, Some(file)) => builder.with_root_certificates(file_roots(file)?),
        (TlsUse::Verify, None) => builder.with_root_certificates(system_roots()?),
        _ => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
    };
    match (&options.tls_cert, &options.tls_key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = private_key(key)?;
            builder.with_client_auth_cert(chain, key).map_err(fault)
        }
        _ => Err(NextHopError::HalfACertificate),
    }
}

fn system_roots() -> Result<RootCertStore, NextHopError> {
    let mut roots = RootCertStore::empty();
    // Systems carry a certificate or two that cannot be parsed; the rest will do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(NextHopError::NoRoots),
        false => Ok(roots),
    }
}

fn file_roots(path: &Path) -> Result<RootCertStore, NextHopError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(CERTIFICATES, path, error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NextHopError> {
    let bytes = fs::read(path).map_err(|error| unusable(CERTIFICATES, path, error))?;
    // A byte order mark would hide the first certificate.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|error| unusable(CERTIFICATES, path, error))?;
    match chain.is_empty() {
        true => Err(unusable(
            CERTIFICATES,
            path,
            "there is no PEM certificate in it",
        )),
        false => Ok(chain),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, NextHopError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable("a private key", path, error))
}

const CERTIFICATES: &str = "certificates";

fn unusable(what: &'static str, path: &Path, reason: impl ToString) -> NextHopError {
    NextHopError::File {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn fault(error: impl ToString) -> NextHopError {
    NextHopError::Tls(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(url: &str, tls: Option<TlsUse>, login: bool) -> Result<TlsUse, NextHopError> {
        let options = NextHopOptions {
            tls,
            username: login.then(|| "mx".to_owned()),
            ..NextHopOptions::default()
        };
        level(&url.parse().unwrap(), &options)
    }

    #[test]
    fn each_kind_has_its_level_and_a_login_verifies() {
        use TlsUse::{Off, Opportunistic, Require, Verify};
        for (url, tls, login, expected) in [
            ("lmtp:mail.example:24", None, false, Ok(Off)),
            ("smtp:mail.example", None, false, Ok(Opportunistic)),
            ("smtps:mail.example", None, false, Ok(Verify)),
            ("lmtp:mail.example:24", None, true, Ok(Verify)),
            ("smtp:mail.example", None, true, Ok(Verify)),
            ("smtp:mail.example", Some(Require), false, Ok(Require)),
            (
                "smtp:mail.example",
                Some(Require),
                true,
                Err(NextHopError::UnverifiedLogin(Require)),
            ),
            (
                "smtp:mail.example",
                Some(Off),
                true,
                Err(NextHopError::UnverifiedLogin(Off)),
            ),
            (
                "smtps:mail.example",
                Some(Require),
                true,
                Err(NextHopError::UnverifiedLogin(Require)),
            ),
            (
                "smtps:127.0.0.1",
                Some(Off),
                false,
                Err(NextHopError::NotSmtps(Off)),
            ),
            ("smtp:127.0.0.1", Some(Off), true, Ok(Off)),
            ("lmtp:/run/lmtp", None, true, Ok(Off)),
            (
                "lmtp:/run/lmtp",
                Some(Verify),
                false,
                Err(NextHopError::UnixTls),
            ),
        ] {
            assert_eq!(level_of(url, tls, login), expected, "{url} {tls:?} {login}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        fs::write(&empty, "nothing").unwrap();
        let url: NextHopUrl = "smtps:mail.example".parse().unwrap();
        for file in [empty.clone(), directory.path().join("missing.pem")] {
            let options = NextHopOptions {
                tls_ca: Some(file.clone()),
                ..NextHopOptions::default()
            };
            let error = Security::new(&url, &options).err().unwrap().to_string();
            assert!(error.contains(&file.display().to_string()), "{error}");
        }
        let options = NextHopOptions {
            tls: Some(TlsUse::Require),
            tls_cert: Some(empty),
            ..NextHopOptions::default()
        };
        let error = Security::new(&url, &options).err();
        assert_eq!(error, Some(NextHopError::HalfACertificate));
    }
}
