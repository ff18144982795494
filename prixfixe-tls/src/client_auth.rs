//! Certificates that clients show.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::TlsError;
use crate::certificate::certificates;
use crate::source::{Material, TrustAnchors};

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked. One that has none, or none that this CA vouches for, is served all the same,
    /// without a [subject](crate::TlsInfo::client_subject): mail servers show the certificate they
    /// have to whoever asks.
    Request(TrustAnchors),
    /// They are asked, and the handshake fails without a certificate that this CA vouches for.
    Require(TrustAnchors),
}

impl ClientAuth {
    pub(crate) const fn trust_anchors(&self) -> Option<&TrustAnchors> {
        match self {
            Self::Off => None,
            Self::Request(anchors) | Self::Require(anchors) => Some(anchors),
        }
    }

    /// What does as this says, with the trust anchors as they were read.
    pub(crate) fn policy(
        &self,
        anchors: Option<&Material>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientPolicy, TlsError> {
        let (Some(anchors), false) = (anchors, matches!(self, Self::Off)) else {
            return Ok(ClientPolicy::Off);
        };
        let verifier = verifier(anchors, provider)?;
        Ok(match self {
            Self::Require(_) => ClientPolicy::Require(verifier),
            _ => ClientPolicy::Request(Arc::new(Lenient(verifier))),
        })
    }
}

/// A [`ClientAuth`] that is ready for handshakes.
#[derive(Debug)]
pub(crate) enum ClientPolicy {
    Off,
    Request(Arc<Lenient>),
    Require(Arc<dyn ClientCertVerifier>),
}

impl ClientPolicy {
    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        match self {
            Self::Off => WebPkiClientVerifier::no_client_auth(),
            Self::Request(lenient) => Arc::<Lenient>::clone(lenient),
            Self::Require(strict) => Arc::clone(strict),
        }
    }

    /// The certificate that a client showed, if the CA vouches for it now.
    pub(crate) fn verified<'c, 'd>(
        &self,
        chain: &'c [CertificateDer<'d>],
        now: UnixTime,
    ) -> Option<&'c CertificateDer<'d>> {
        let (first, rest) = chain.split_first()?;
        match self {
            Self::Off => None,
            Self::Request(lenient) => {
                let verified = lenient.0.verify_client_cert(first, rest, now);
                verified.is_ok().then_some(first)
            }
            Self::Require(_) => Some(first),
        }
    }
}

/// Lets any chain pass; the signature by its key is verified all the same. Whether the CA vouches
/// for the chain is asked when the handshake is over, and only decides about the subject.
#[derive(Debug)]
pub(crate) struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn verifier(
    anchors: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::ClientAuthority {
        file: anchors.file.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(anchors)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
    Ok(verifier)
}
