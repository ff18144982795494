//! Certificates into a configuration that can be swapped while running, and TLS as a session around
//! a session.
//!
//! [`TlsConfig`] is the first half: it reads certificates and keys, finds at
//! start whatever could go wrong at the first handshake, and reads them anew while running.
//!
//! [`Tls`] is the second: it wraps any [`Upgrade`] session and is itself a
//! [`Session`](prixfixe_network::Session): bytes of the network in, bytes for the network out, no
//! socket and no clock. A transport therefore gets TLS without knowing of it.
#![deny(missing_docs)]

mod certificate;
mod channel;
mod client_auth;
mod config;
mod error;
mod exporter;
mod handshake;
mod info;
mod key;
mod resolver;
mod session;
mod source;
mod turn;
mod watch;

pub use certificate::CertificateInfo;
pub use client_auth::ClientAuth;
pub use config::{Reloaded, TlsConfig, TlsConfigBuilder};
pub use error::{HandshakeError, ProtocolError, TlsError};
pub use info::{TlsInfo, TlsVersion};
pub use session::{Tls, Upgrade};
pub use source::{CertificateSource, TrustAnchors};
pub use watch::Watch;
