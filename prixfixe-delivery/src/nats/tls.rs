//! TLS towards NATS servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use async_nats::rustls::crypto::aws_lc_rs;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

use super::options::{NatsError, NatsOptions};
use crate::TlsUse;
use crate::any_certificate::AnyCertificate;

/// What the files of TLS hold, each read once.
pub(super) struct Files {
    tls: TlsUse,
    ca: Option<File>,
    certificate: Option<File>,
    key: Option<File>,
}

struct File {
    path: PathBuf,
    text: Vec<u8>,
}

/// What connections are secured with, to be compared: the way, and a digest of each file.
#[derive(PartialEq, Eq)]
pub(super) struct Material(TlsUse, [Option<[u8; 32]>; 3]);

impl Files {
    pub(super) fn read(options: &NatsOptions) -> Result<Self, NatsError> {
        Ok(Self {
            tls: options.tls(),
            ca: File::read(options.tls_ca.as_deref())?,
            certificate: File::read(options.tls_cert.as_deref())?,
            key: File::read(options.tls_key.as_deref())?,
        })
    }

    pub(super) fn material(&self) -> Material {
        let digest = |file: &Option<File>| file.as_ref().map(|it| Sha256::digest(&it.text).into());
        let files = [&self.ca, &self.certificate, &self.key];
        Material(self.tls, files.map(digest))
    }
}

impl File {
    fn read(path: Option<&Path>) -> Result<Option<Self>, NatsError> {
        let read = |path: &Path| {
            let text = fs::read(path).map_err(|error| file(path, error))?;
            let path = path.to_owned();
            Ok(Self { path, text })
        };
        path.map(read).transpose()
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, NatsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let certificates = certificates.map_err(|error| self.invalid(error))?;
        match certificates.is_empty() {
            true => Err(self.invalid("it holds no certificate")),
            false => Ok(certificates),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, NatsError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| self.invalid(error))
    }

    fn invalid(&self, error: impl ToString) -> NatsError {
        let error = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        file(&self.path, error)
    }
}

/// What connections are secured with; `None` where they are not.
pub(super) fn client_config(files: &Files) -> Result<Option<ClientConfig>, NatsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| NatsError::Tls(error.to_string()))?;
    let builder = match files.tls {
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
        TlsUse::Verify => builder.with_root_certificates(roots(files.ca.as_ref())?),
    };
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificate.certificates()?, key.key()?)
            .map_err(|error| NatsError::Tls(error.to_string()))?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(NatsError::Options("tls-cert and tls-key go together")),
    };
    Ok(Some(config))
}

fn roots(file: Option<&File>) -> Result<RootCertStore, NatsError> {
    let mut roots = RootCertStore::empty();
    let certificates = match file {
        Some(file) => file.certificates()?,
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

pub(super) fn file(path: &Path, source: io::Error) -> NatsError {
    let path = path.to_owned();
    NatsError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_is_the_same_while_its_files_hold_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let mut options = NatsOptions {
            tls: Some(TlsUse::Verify),
            tls_cert: path("cert.pem"),
            tls_key: path("key.pem"),
            ..NatsOptions::default()
        };
        let write = |name, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cert.pem", "one");
        write("key.pem", "one");
        let material = |options: &NatsOptions| Files::read(options).unwrap().material();
        let before = material(&options);
        assert!(material(&options) == before);
        write("key.pem", "two");
        assert!(material(&options) != before);
        write("key.pem", "one");
        assert!(material(&options) == before);
        options.tls = Some(TlsUse::Require);
        assert!(material(&options) != before);
    }
}
