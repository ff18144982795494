//! A client's trust in whatever certificate it is shown.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

type SignatureCheck = Result<HandshakeSignatureValid, rustls::Error>;

/// Trusts any certificate.
#[derive(Debug)]
pub struct AnyCertificate {
    provider: CryptoProvider,
    schemes: Vec<SignatureScheme>,
    checks_signatures: bool,
}

impl AnyCertificate {
    /// Believes signatures too: what is measured or fuzzed is the server, not the client's
    /// arithmetic.
    pub fn unchecked() -> Self {
        let provider = aws_lc_rs::default_provider();
        Self {
            schemes: provider
                .signature_verification_algorithms
                .supported_schemes(),
            provider,
            checks_signatures: false,
        }
    }

    /// Takes these kinds of signatures and no others, and checks them.
    pub fn signing_with(schemes: Vec<SignatureScheme>) -> Self {
        Self {
            provider: aws_lc_rs::default_provider(),
            schemes,
            checks_signatures: true,
        }
    }
}

/// A client of these versions that trusts any certificate, and checks nothing.
///
/// # Panics
///
/// When there is no version among them.
pub fn trusting_client(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("there is a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::unchecked()))
        .with_no_client_auth()
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> SignatureCheck {
        if !self.checks_signatures {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> SignatureCheck {
        if !self.checks_signatures {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
