//! What can go wrong: with a configuration, and with a handshake.

use std::path::PathBuf;

/// Why certificates and policy make no TLS configuration. The text names the file and what is wrong
/// with it; `docs/TLS.md` says for each how to mend it.
///
/// Where a certificate or key does not come from a file, `file` says `memory` or `self-signed`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate was named at all.
    #[error("TLS needs a certificate: name one, or ask for a self-signed one")]
    NoSource,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that should hold certificates holds none.
    #[error(
        "{file} holds no certificate: expected PEM, beginning with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// A certificate cannot be understood.
    #[error("certificate {position} in {file} is unreadable: {reason}")]
    MalformedCertificate {
        /// The file.
        file: String,
        /// Which certificate of the file; the first is 1.
        position: usize,
        /// What is wrong.
        reason: String,
    },
    /// The certificate was valid once.
    #[error("the certificate in {file} expired on {not_after}: renew it")]
    Expired {
        /// The file.
        file: String,
        /// When it expired.
        not_after: String,
    },
    /// The certificate will be valid later.
    #[error(
        "the certificate in {file} is not valid before {not_before}: wait, or set the clock right"
    )]
    NotYetValid {
        /// The file.
        file: String,
        /// When it becomes valid.
        not_before: String,
    },
    /// The first certificate of the file is that of an authority.
    #[error(
        "the first certificate in {file} is a certificate authority's: the server's own must come first"
    )]
    AuthorityAsServer {
        /// The file.
        file: String,
    },
    /// A file that should hold a private key holds none.
    #[error(
        "{file} holds no private key: expected PEM, beginning with -----BEGIN PRIVATE KEY----- or the like"
    )]
    NoKey {
        /// The file.
        file: String,
    },
    /// A private key cannot be used.
    #[error("the private key in {file} is unusable: {reason}")]
    MalformedKey {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The private key is encrypted, and there is no password for it.
    #[error("the private key in {file} is encrypted: name a password file for it")]
    KeyEncrypted {
        /// The file.
        file: String,
    },
    /// The private key is encrypted in OpenSSL's old format, which protects it badly.
    #[error(
        "the private key in {file} is encrypted in the old OpenSSL format: convert it, openssl pkcs8 -topk8 -in {file} -out NEW"
    )]
    LegacyEncryptedKey {
        /// The file.
        file: String,
    },
    /// The password is not that of the key.
    #[error("the password in {} does not open the private key in {file}", password_file.display())]
    WrongPassword {
        /// The key's file.
        file: String,
        /// The password's file.
        password_file: PathBuf,
    },
    /// Certificate and key do not belong together.
    #[error(
        "the private key in {key} does not belong to the first certificate in {certificate}{hint}"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// Empty, or what seems to be the cause.
        hint: String,
    },
    /// The client CA cannot be used.
    #[error("the client CA in {file} is unusable: {reason}")]
    ClientAuthority {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// No certificate can be made for these names.
    #[error("cannot make a self-signed certificate for {domains}: {reason}")]
    SelfSigned {
        /// The names, as given.
        domains: String,
        /// What is wrong.
        reason: String,
    },
    /// The cryptography cannot be set up.
    #[error("TLS cannot be configured: {0}")]
    Setup(#[source] ProtocolError),
}

/// Why a handshake did not come to its end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It took longer than the handshake timeout.
    #[error("the handshake timed out")]
    TimedOut,
    /// The peer closed the connection.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The peer sent more than any handshake needs.
    #[error("the peer sent too much for a handshake")]
    TooLarge,
    /// The two sides have nothing in common, or the peer broke the protocol. An alert tells the
    /// peer.
    #[error(transparent)]
    Tls(ProtocolError),
}

/// What the TLS library says is wrong, in its words. Which library that is, and in which version,
/// concerns nobody else.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct ProtocolError(rustls::Error);

impl TlsError {
    pub(crate) const fn setup(error: rustls::Error) -> Self {
        Self::Setup(ProtocolError(error))
    }
}

impl HandshakeError {
    pub(crate) const fn tls(error: rustls::Error) -> Self {
        Self::Tls(ProtocolError(error))
    }
}
