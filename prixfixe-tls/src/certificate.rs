//! From what was read to a certificate that can be served, with everything checked that can be
//! checked before the first handshake.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::TlsError;
use crate::key::{is_der, private_key};
use crate::source::{DAY, Digest, Material, Pair, digest};

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// Where it came from: the file's path, `memory` or `self-signed`.
    pub source: String,
    /// Its DNS names, wildcards included, in lower case.
    pub names: Vec<String>,
    /// When it becomes valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

impl CertificateInfo {
    /// Logs a warning if the certificate expires within 30 days.
    pub(crate) fn warn_of_expiry(&self, now: SystemTime) {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        if left < EXPIRY_WARNING {
            tracing::warn!(
                certificate = self.source,
                days_left = left.as_secs() / DAY.as_secs(),
                "certificate expires soon"
            );
        }
    }
}

/// A certificate with its key and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) info: CertificateInfo,
}

impl Certificate {
    pub(crate) fn load(
        pair: &Pair,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let chain = certificates(&pair.certificate)?;
        let info = check(&pair.certificate.file, &chain, now)?;
        let key = provider
            .key_provider
            .load_private_key(private_key(pair)?)
            .map_err(|error| TlsError::MalformedKey {
                file: pair.key.file.clone(),
                reason: format!(
                    "it is broken, or neither RSA of 2048 bits or more, ECDSA nor Ed25519 ({error})"
                ),
            })?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| TlsError::Mismatch {
            certificate: pair.certificate.file.clone(),
            key: pair.key.file.clone(),
            hint: owner_of_key(&certified),
        })?;
        Ok(Self {
            key: Arc::new(certified),
            info,
        })
    }
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(material: &Material) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let Material { file, bytes } = material;
    if is_der(bytes) {
        return Ok(vec![CertificateDer::from(bytes.clone())]);
    }
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        chain.push(certificate.map_err(|error| TlsError::MalformedCertificate {
            file: file.clone(),
            position: chain.len() + 1,
            reason: error.to_string(),
        })?);
    }
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { file: file.clone() });
    }
    Ok(chain)
}

/// The subject of a certificate, safe to log.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject().to_string();
    Some(
        subject
            .chars()
            .take(MAX_SUBJECT)
            .map(|character| {
                if character.is_control() {
                    '?'
                } else {
                    character
                }
            })
            .collect(),
    )
}

/// Whom a client's certificate names (see [`TlsInfo::client_name`](crate::TlsInfo::client_name)).
pub(crate) fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let mailbox = alternatives.and_then(|it| {
        it.value.general_names.iter().find_map(|name| match name {
            GeneralName::RFC822Name(mailbox) => Some(*mailbox),
            _ => None,
        })
    });
    let common_name = || parsed.subject().iter_common_name().next()?.as_str().ok();
    mailbox
        .or_else(common_name)
        .filter(|name| !name.is_empty() && name.len() <= MAX_SUBJECT)
        .filter(|name| !name.contains(char::is_control))
        .map(str::to_owned)
}

/// A subject longer than this, in characters, is cut: it stands in log lines.
const MAX_SUBJECT: usize = 256;
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * DAY.as_secs());

fn check(
    file: &str,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<CertificateInfo, TlsError> {
    let parsed = parse_all(file, chain)?;
    let Some(leaf) = parsed.first() else {
        return Err(TlsError::NoCertificate {
            file: file.to_owned(),
        });
    };
    let names = names(leaf);
    if leaf.is_ca() {
        // `openssl req -x509` marks what it makes for a server as an authority, too. Such a
        // certificate names a host, which a real authority's never does.
        if names.is_empty() || leaf.subject() != leaf.issuer() {
            return Err(TlsError::AuthorityAsServer {
                file: file.to_owned(),
            });
        }
        tracing::warn!(
            certificate = file,
            "certificate is marked as an authority's: some clients refuse it"
        );
    }
    let validity = leaf.validity();
    let info = CertificateInfo {
        source: file.to_owned(),
        names,
        not_before: system_time(validity.not_before),
        not_after: system_time(validity.not_after),
        fingerprint: chain
            .first()
            .map(|first| hexadecimal(&digest(first)))
            .unwrap_or_default(),
    };
    if now < info.not_before {
        return Err(TlsError::NotYetValid {
            file: file.to_owned(),
            not_before: validity.not_before.to_string(),
        });
    }
    if now > info.not_after {
        return Err(TlsError::Expired {
            file: file.to_owned(),
            not_after: validity.not_after.to_string(),
        });
    }
    warn_of_chain(file, &parsed, now);
    Ok(info)
}

fn parse_all<'a>(
    file: &str,
    chain: &'a [CertificateDer<'_>],
) -> Result<Vec<X509Certificate<'a>>, TlsError> {
    chain
        .iter()
        .enumerate()
        .map(|(index, der)| {
            X509Certificate::from_der(der)
                .map(|(_, certificate)| certificate)
                .map_err(|error| TlsError::MalformedCertificate {
                    file: file.to_owned(),
                    position: index + 1,
                    reason: error.to_string(),
                })
        })
        .collect()
}

/// What is behind the server's own certificate may be odd and still lead some clients to a root
/// they trust (an expired cross-signature, say): worth a warning, not a refusal.
fn warn_of_chain(file: &str, chain: &[X509Certificate<'_>], now: SystemTime) {
    for (index, pair) in chain.windows(2).enumerate() {
        let [certificate, issuer] = pair else {
            continue;
        };
        if certificate.issuer() != issuer.subject() {
            tracing::warn!(
                certificate = file,
                position = index + 2,
                "chain is out of order: this certificate did not issue the one before it"
            );
        }
        if now > system_time(issuer.validity().not_after) {
            tracing::warn!(
                certificate = file,
                position = index + 2,
                "chain has an expired certificate"
            );
        }
    }
}

/// The DNS names of the subject alternative name, or the common name where a certificate has none
/// of them.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if !alternative.is_empty() {
        return alternative;
    }
    certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .filter(|name| name.contains('.') && !name.contains(' '))
        .map(str::to_ascii_lowercase)
        .collect()
}

fn owner_of_key(certified: &CertifiedKey) -> String {
    let owner = certified.cert.iter().position(|certificate| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key))
            .keys_match()
            .is_ok()
    });
    owner.map_or_else(String::new, |index| {
        format!(
            ", but to certificate {} in it: the server's own must come first",
            index + 1
        )
    })
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let moment = if time.timestamp() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
