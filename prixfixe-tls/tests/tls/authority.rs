//! Certificates for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use prixfixe_tls::{CertificateSource, TlsConfig, TlsConfigBuilder};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        // Were two of the same name, a client would take a foreign certificate for a forged one.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Test Authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(&KeyPair::generate().unwrap(), names, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        key: &KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = params(names);
        change(&mut params);
        let cert = params.signed_by(key, &self.issuer).unwrap().pem();
        Issued {
            cert,
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> String {
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// A certificate for a client, with this common name.
    pub(crate) fn issue_client(&self, name: &str) -> Issued {
        self.issue_with(&KeyPair::generate().unwrap(), &[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// Certificates valid from and until so many days from now.
    pub(crate) fn issue_valid(&self, names: &[&str], from: i32, until: i32) -> Issued {
        self.issue_with(&KeyPair::generate().unwrap(), names, |params| {
            params.not_before = days_from_now(from).into();
            params.not_after = days_from_now(until).into();
        })
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        roots
    }
}

impl Issued {
    pub(crate) fn source(&self) -> CertificateSource {
        CertificateSource::memory(
            self.cert.clone().into_bytes(),
            self.key.clone().into_bytes(),
        )
    }

    pub(crate) fn config(&self) -> TlsConfig {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> TlsConfigBuilder {
        TlsConfig::builder().certificate(self.source())
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.cert.as_bytes())
            .map(Result::unwrap)
            .collect()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

pub(crate) fn days_from_now(days: i32) -> SystemTime {
    let duration = DAY * days.unsigned_abs();
    if days < 0 {
        SystemTime::now() - duration
    } else {
        SystemTime::now() + duration
    }
}
