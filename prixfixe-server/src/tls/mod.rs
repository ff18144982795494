//! What the server uses of `prixfixe-tls`, or without the feature `tls` what stands in for it: so
//! the code of a session is the same with and without.

#[cfg(not(feature = "tls"))]
mod without;

#[cfg(feature = "tls")]
pub(crate) use prixfixe_tls::{
    CertificateInfo, HandshakeError, Tls, TlsConfig, TlsInfo, TlsVersion, Upgrade,
};

#[cfg(not(feature = "tls"))]
pub(crate) use self::without::{
    CertificateInfo, HandshakeError, Tls, TlsConfig, TlsInfo, TlsVersion, Upgrade,
};
