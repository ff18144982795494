//! The certificate of the simulated servers, and clients that trust it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use prixfixe_tls::{CertificateSource, TlsConfig};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use crate::runtime::Nanos;

/// Made once a process: keys take time.
pub struct Certificates {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client: Arc<ClientConfig>,
}

impl Certificates {
    /// Signatures of Ed25519 are all of one length, so that twice the same run has records of the
    /// same lengths.
    ///
    /// # Errors
    ///
    /// The library for it does not do it.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut parameters = CertificateParams::new([String::from("mx.simulation.example")])?;
        parameters.serial_number = Some(SerialNumber::from(1_u64));
        let certificate = parameters.self_signed(&key)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let mut client =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        // Whether a session is resumed would depend on the runs before.
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            client: Arc::new(client),
        })
    }

    pub(crate) fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// # Errors
    ///
    /// The server does not take the certificate.
    pub fn server(&self, handshake_timeout: Nanos) -> Result<TlsConfig, Box<dyn Error>> {
        let source = CertificateSource::memory(self.certificate.clone(), self.key.clone());
        let config = TlsConfig::builder()
            .certificate(source)
            .handshake_timeout(Duration::from_nanos(handshake_timeout));
        Ok(config.build()?)
    }
}
