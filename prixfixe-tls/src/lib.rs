//! Certificates into a rustls configuration that can be swapped while running, and TLS as a session around
//! a session.
//!
//! [`Tls`] wraps any [`Upgrade`] session and is itself a [`Session`](prixfixe_network::Session): bytes of the
//! network in, bytes for the network out, no socket and no clock. A transport therefore gets TLS without
//! knowing of it.
#![deny(missing_docs)]

mod config;
mod error;
mod info;
mod session;

pub use config::{
    CertificateInfo, CertificateSource, ClientAuth, Reloaded, TlsConfig, TlsConfigBuilder,
    TrustAnchors, Watch,
};
pub use error::{HandshakeError, TlsError};
pub use info::{TlsInfo, TlsVersion, UnknownVersion};
pub use session::{Tls, Upgrade};
