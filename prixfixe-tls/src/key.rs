//! Private keys, encrypted and not.

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::pem::Pem;

use crate::TlsError;
use crate::source::{Material, Pair, Password};

/// The private key of a pair, decrypted where it has to be.
pub(crate) fn private_key(pair: &Pair) -> Result<PrivateKeyDer<'static>, TlsError> {
    let Material { file, bytes } = &pair.key;
    if is_der(bytes) {
        return PrivateKeyDer::try_from(bytes.clone()).map_err(|reason| malformed(file, reason));
    }
    if contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return match &pair.password {
            Some(password) => decrypt(&pair.key, password),
            None => Err(TlsError::KeyEncrypted { file: file.clone() }),
        };
    }
    // RFC 1421 headers: key derivation by a single MD5.
    if contains(bytes, b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::LegacyEncryptedKey { file: file.clone() });
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { file: file.clone() },
        error => malformed(file, error),
    })
}

/// DER of a certificate or key begins with a SEQUENCE; PEM is text.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

/// PKCS#8's `EncryptedPrivateKeyInfo` (RFC 5958 section 3).
fn decrypt(key: &Material, password: &Password) -> Result<PrivateKeyDer<'static>, TlsError> {
    let Material { file, bytes } = key;
    let section = Pem::iter_from_buffer(bytes)
        .filter_map(Result::ok)
        .find(|section| section.label == "ENCRYPTED PRIVATE KEY")
        .ok_or_else(|| malformed(file, "its PEM is broken"))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(section.contents.as_slice())
        .map_err(|error| malformed(file, error))?;
    match info.decrypt(&password.bytes) {
        Ok(document) => Ok(PrivatePkcs8KeyDer::from(document.as_bytes().to_vec()).into()),
        // One wrong password in 256 leaves valid padding, and then no valid ASN.1.
        Err(
            pkcs8::Error::Asn1(_)
            | pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed),
        ) => Err(TlsError::WrongPassword {
            file: file.clone(),
            password_file: password.file.clone(),
        }),
        Err(error) => Err(malformed(file, error)),
    }
}

fn malformed(file: &str, reason: impl ToString) -> TlsError {
    TlsError::MalformedKey {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
