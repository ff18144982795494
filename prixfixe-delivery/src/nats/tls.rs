//! TLS towards NATS servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use async_nats::rustls::crypto::aws_lc_rs;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};

use super::options::{NatsError, NatsOptions};
use crate::TlsUse;
use crate::any_certificate::AnyCertificate;

/// What connections are secured with, to be compared: the way, and what each file holds.
#[derive(PartialEq, Eq)]
pub(super) struct Material(TlsUse, [Option<Vec<u8>>; 3]);

impl Material {
    pub(super) fn read(options: &NatsOptions) -> Result<Self, NatsError> {
        let read = |path: &Option<PathBuf>| {
            let text = path.as_ref().map(|path| {
                let text = fs::read(path);
                text.map_err(|error| file(path, error))
            });
            text.transpose()
        };
        let files = [
            read(&options.tls_ca)?,
            read(&options.tls_cert)?,
            read(&options.tls_key)?,
        ];
        Ok(Self(options.tls(), files))
    }
}

/// What connections are secured with; `None` where they are not.
pub(super) fn client_config(options: &NatsOptions) -> Result<Option<ClientConfig>, NatsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| NatsError::Tls(error.to_string()))?;
    let builder = match options.tls() {
        TlsUse::Off => return Ok(None),
        TlsUse::Opportunistic => {
            return Err(NatsError::Options(
                "tls of NATS is off, require or verify, never opportunistic",
            ));
        }
        TlsUse::Require => {
            // The operator has said that an encrypted connection to anybody will do.
            let verifier = Arc::new(AnyCertificate(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
        TlsUse::Verify => builder.with_root_certificates(roots(options.tls_ca.as_deref())?),
    };
    let config = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key_of = || PrivateKeyDer::from_pem_slice(&fs::read(key)?).map_err(invalid);
            let key = key_of().map_err(|error| file(key, error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| NatsError::Tls(error.to_string()))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(NatsError::Options("tls-cert and tls-key go together")),
    };
    Ok(Some(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, NatsError> {
    let mut roots = RootCertStore::empty();
    let certificates = match file {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    match roots.is_empty() {
        true => Err(NatsError::Tls(
            "there is no certificate to verify servers with: set tls-ca".to_owned(),
        )),
        false => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NatsError> {
    let read = || {
        let text = fs::read(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(invalid)?;
        match certificates.is_empty() {
            true => Err(invalid("it holds no certificate")),
            false => Ok(certificates),
        }
    };
    read().map_err(|error| file(path, error))
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

pub(super) fn file(path: &Path, source: io::Error) -> NatsError {
    let path = path.to_owned();
    NatsError::File { path, source }
}
