//! What can go wrong: with a configuration, and with a handshake.

/// Why certificates and policy make no TLS configuration. The text names the file and the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// rustls refused the configuration.
    #[error("TLS cannot be configured: {0}")]
    Rustls(#[from] rustls::Error),
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
    /// The peers do not agree, or one of them broke the protocol; an alert says so to the peer.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}
