//! Where certificates, keys and trust anchors come from.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

use crate::TlsError;
use crate::key::is_der;

/// Where a certificate chain and its key come from.
#[derive(Clone)]
#[non_exhaustive]
pub enum CertificateSource {
    /// Files in PEM, or in DER where there is one certificate and its key, unencrypted. Read anew
    /// by a reload.
    #[non_exhaustive]
    Files {
        /// The server's certificate, then those that lead from it to a root.
        cert: PathBuf,
        /// Its private key: PKCS#8 (encrypted too), PKCS#1 or SEC1.
        key: PathBuf,
        /// A file whose first line is the password of an encrypted key.
        password_file: Option<PathBuf>,
    },
    /// PEM, or the DER of one certificate and its key, that the application holds.
    #[non_exhaustive]
    Memory {
        /// The server's certificate, then those that lead from it to a root.
        cert: Vec<u8>,
        /// Its private key, not encrypted: PKCS#8, PKCS#1 or SEC1.
        key: Vec<u8>,
    },
    /// Made at start and signed by itself, valid for ten years: for development, and for peers that
    /// encrypt without asking whom they talk to.
    #[non_exhaustive]
    SelfSigned {
        /// The names it is for.
        domains: Vec<String>,
    },
}

impl CertificateSource {
    /// [`Files`](Self::Files) whose key is not encrypted.
    #[must_use]
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::Files {
            cert: cert.into(),
            key: key.into(),
            password_file: None,
        }
    }

    /// For [`Files`](Self::Files): the file whose first line is the password of an encrypted key.
    /// Of no use to others.
    #[must_use]
    pub fn password_file(mut self, file: impl Into<Option<PathBuf>>) -> Self {
        if let Self::Files { password_file, .. } = &mut self {
            *password_file = file.into();
        }
        self
    }

    /// [`Memory`](Self::Memory).
    #[must_use]
    pub fn memory(cert: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self::Memory {
            cert: cert.into(),
            key: key.into(),
        }
    }

    /// [`SelfSigned`](Self::SelfSigned), for these names.
    #[must_use]
    pub fn self_signed(domains: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::SelfSigned {
            domains: domains.into_iter().map(Into::into).collect(),
        }
    }
}

impl fmt::Debug for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files {
                cert,
                key,
                password_file,
            } => f
                .debug_struct("Files")
                .field("cert", cert)
                .field("key", key)
                .field("password_file", password_file)
                .finish(),
            // A private key doesn't print.
            Self::Memory { .. } => f.debug_struct("Memory").finish_non_exhaustive(),
            Self::SelfSigned { domains } => f
                .debug_struct("SelfSigned")
                .field("domains", domains)
                .finish(),
        }
    }
}

/// The CA certificates that vouch for clients, in PEM; or one in DER.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TrustAnchors {
    /// A file, read anew by a reload.
    File(PathBuf),
    /// What the application holds.
    Memory(Vec<u8>),
}

/// Bytes, and the place to name when something is wrong with them.
#[derive(Clone)]
pub(crate) struct Material {
    pub(crate) file: String,
    pub(crate) bytes: Vec<u8>,
}

impl Material {
    fn memory(bytes: Vec<u8>) -> Self {
        Self {
            file: "memory".to_owned(),
            bytes: without_marks(bytes),
        }
    }

    fn read(path: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            file: path.display().to_string(),
            bytes: read(path)?,
        })
    }
}

/// A certificate and its key as they were read, at one moment.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: Material,
    pub(crate) key: Material,
    pub(crate) password: Option<Password>,
}

#[derive(Clone)]
pub(crate) struct Password {
    pub(crate) file: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// A source that can be read again and again.
pub(crate) enum Origin {
    Files {
        cert: PathBuf,
        key: PathBuf,
        password_file: Option<PathBuf>,
    },
    /// What is in memory, and what was made: a reload doesn't make another self-signed certificate,
    /// which clients may have pinned.
    Kept(Pair),
}

impl Origin {
    pub(crate) fn new(source: CertificateSource) -> Result<Self, TlsError> {
        Ok(match source {
            CertificateSource::Files {
                cert,
                key,
                password_file,
            } => Self::Files {
                cert,
                key,
                password_file,
            },
            CertificateSource::Memory { cert, key } => Self::Kept(Pair {
                certificate: Material::memory(cert),
                key: Material::memory(key),
                password: None,
            }),
            CertificateSource::SelfSigned { domains } => Self::Kept(self_signed(&domains)?),
        })
    }

    pub(crate) fn read(&self) -> Result<Pair, TlsError> {
        match self {
            Self::Files {
                cert,
                key,
                password_file,
            } => Ok(Pair {
                certificate: Material::read(cert)?,
                key: Material::read(key)?,
                password: password_file.as_deref().map(Password::read).transpose()?,
            }),
            Self::Kept(pair) => Ok(pair.clone()),
        }
    }

    /// The file of the private key, if there is one.
    pub(crate) fn key_file(&self) -> Option<&Path> {
        match self {
            Self::Files { key, .. } => Some(key),
            Self::Kept(_) => None,
        }
    }
}

impl Password {
    fn read(path: &Path) -> Result<Self, TlsError> {
        let mut bytes = read(path)?;
        let end = bytes
            .iter()
            .position(|&byte| matches!(byte, b'\r' | b'\n'))
            .unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(Self {
            file: path.to_owned(),
            bytes,
        })
    }
}

impl TrustAnchors {
    pub(crate) fn read(&self) -> Result<Material, TlsError> {
        match self {
            Self::File(path) => Material::read(path),
            Self::Memory(bytes) => Ok(Material::memory(bytes.clone())),
        }
    }
}

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// Tells contents apart, and gives certificates their fingerprint.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let mut digest = Digest::default();
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        let output = suite.common.hash_provider.hash(bytes);
        for (to, from) in digest.iter_mut().zip(output.as_ref()) {
            *to = *from;
        }
    }
    digest
}

/// Far more than any chain needs: a path that names a log or a device by mistake must not fill the
/// memory.
const MAX_FILE: u64 = 1024 * 1024;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|source| TlsError::Read {
            file: path.to_owned(),
            source,
        })?;
    Ok(without_marks(bytes))
}

/// UTF-8's byte order mark, which editors put before a text, and `cat` into its middle. A PEM
/// reader takes a line that begins with one for no beginning of a section, and passes over the
/// certificate in it.
const MARK: &[u8] = b"\xef\xbb\xbf";

fn without_marks(bytes: Vec<u8>) -> Vec<u8> {
    if is_der(&bytes) {
        return bytes;
    }
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| line.strip_prefix(MARK).unwrap_or(line))
        .collect::<Vec<_>>()
        .concat()
}

fn self_signed(domains: &[String]) -> Result<Pair, TlsError> {
    let made = || -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(domains)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(first) = domains.first() {
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, first.as_str());
        }
        let now = std::time::SystemTime::now();
        // A day back: the clocks of those who verify it may differ from ours.
        params.not_before = now.checked_sub(DAY).unwrap_or(now).into();
        params.not_after = now.checked_add(DAY * 3650).unwrap_or(now).into();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        Ok((
            params.self_signed(&key)?.der().to_vec(),
            key.serialize_der(),
        ))
    };
    let refused = |reason: String| TlsError::SelfSigned {
        domains: domains.join(", "),
        reason,
    };
    if domains.is_empty() {
        return Err(refused("no name is given".to_owned()));
    }
    let (certificate, key) = made().map_err(|error| refused(error.to_string()))?;
    let material = |bytes| Material {
        file: "self-signed".to_owned(),
        bytes,
    };
    Ok(Pair {
        certificate: material(certificate),
        key: material(key),
        password: None,
    })
}

/// 24 hours.
pub(crate) const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
