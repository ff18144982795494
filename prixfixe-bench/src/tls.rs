//! The client's side of TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::failure::{Failure, Kind, Stage};

/// How connections are secured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// TLS comes before the greeting, rather than by STARTTLS.
    pub implicit: bool,
    /// What a server's certificate is verified against.
    pub trust: Trust,
    /// The name to ask for and to verify, in place of the target's.
    pub name: Option<String>,
    /// Sessions are resumed. Otherwise every connection makes a full handshake, which is what a new
    /// client costs.
    pub resume: bool,
}

/// What a server's certificate is verified against.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The system's certificate authorities.
    System,
    /// The certificates in a PEM file.
    File(PathBuf),
    /// Nothing: any certificate will do.
    Anything,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of certificates cannot be used.
    #[error("cannot read certificates from {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are no certificates of authorities to verify against.
    #[error("this system has no certificate authorities")]
    NoRoots,
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Other(String),
}

impl Tls {
    /// By STARTTLS, verified against the system's authorities.
    #[must_use]
    pub fn starttls() -> Self {
        Self {
            implicit: false,
            trust: Trust::System,
            name: None,
            resume: false,
        }
    }

    /// Before the greeting, verified against the system's authorities.
    #[must_use]
    pub fn implicit() -> Self {
        Self {
            implicit: true,
            ..Self::starttls()
        }
    }
}

/// TLS for all connections of a run.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    pub(crate) implicit: bool,
    /// The name asked for and verified, in place of the target's host.
    name: Option<String>,
    config: Arc<ClientConfig>,
}

impl Security {
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Other(error.to_string()))?;
        let mut config = match &tls.trust {
            Trust::System => builder
                .with_root_certificates(system_roots()?)
                .with_no_client_auth(),
            Trust::File(path) => builder
                .with_root_certificates(file_roots(path)?)
                .with_no_client_auth(),
            Trust::Anything => {
                let verifier = Arc::new(AnyCertificate { provider });
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_no_client_auth()
            }
        };
        if !tls.resume {
            config.resumption = Resumption::disabled();
        }
        Ok(Self {
            implicit: tls.implicit,
            name: tls.name.clone(),
            config: Arc::new(config),
        })
    }

    /// A connection to `host`, before its first octet.
    pub(crate) fn connection(&self, host: &str) -> Result<Box<ClientConnection>, Failure> {
        let name = self.name.as_deref().unwrap_or(host);
        let fail = |error: String| Failure::with_detail(Stage::Tls, Kind::Tls, error);
        let name =
            ServerName::try_from(name.to_owned()).map_err(|error| fail(error.to_string()))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        connection
            .map(Box::new)
            .map_err(|error| fail(error.to_string()))
    }
}

/// A TLS error is a failure of the certificate, or another.
pub(crate) fn failure(error: &rustls::Error) -> Failure {
    let kind = match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Kind::Certificate
        }
        _ => Kind::Tls,
    };
    Failure::with_detail(Stage::Tls, kind, error.to_string())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems carry a certificate or two that cannot be parsed; the rest will do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        Err(TlsError::NoRoots)
    } else {
        Ok(roots)
    }
}

fn file_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let fail = |reason: String| TlsError::File {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    // A byte order mark would hide the first certificate.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        Err(fail("no certificate in it".to_owned()))
    } else {
        Ok(roots)
    }
}

/// Believes any certificate, but still that its owner is at the other end.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
