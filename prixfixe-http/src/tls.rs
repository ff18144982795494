//! Whom a client trusts, and who it says it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The roots that servers are verified against. `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpSetupError {
    /// A file that cannot be read, or holds nothing of use.
    #[error("cannot use {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// No root is known, so that no server could be verified.
    #[error("the system has no trusted certificates: install ca-certificates, or set tls-ca")]
    NoRoots,
    /// The certificate and the key do not fit, or a root is none.
    #[error("cannot use the certificates: {0}")]
    Unusable(#[from] rustls::Error),
    /// A host that no certificate can be for.
    #[error("{0:?} is no name that a certificate can be for")]
    Name(String),
    /// Plaintext to another host.
    #[error(
        "{0}: http: is for this host alone; write https:, or set insecure = true where the network is trusted"
    )]
    Plaintext(String),
}

impl TlsFiles {
    /// A configuration that verifies, whatever else it does.
    pub(super) fn client_config(&self) -> Result<ClientConfig, HttpSetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error))?;
                builder.with_client_auth_cert(certificates(cert)?, private)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, HttpSetupError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate)?;
                }
            }
            None => {
                // Some systems have roots that rustls does not take; the others count.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        match roots.is_empty() {
            true => Err(HttpSetupError::NoRoots),
            false => Ok(roots),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpSetupError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(file(path, pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(error) => Err(file(path, error)),
    }
}

fn file(path: &Path, error: pem::Error) -> HttpSetupError {
    HttpSetupError::File {
        path: path.to_owned(),
        error,
    }
}
