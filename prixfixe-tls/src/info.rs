//! What was agreed in a handshake.

use std::fmt;

use rustls::ProtocolVersion;

/// What a finished handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol version.
    pub version: TlsVersion,
    /// The cipher suite's name in the IANA registry, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// The name that the client asked for (RFC 6066 section 3), in lower case.
    pub server_name: Option<String>,
    /// The subject of the client's certificate, if it sent one and it was verified against the
    /// client CA. Control characters are replaced by `?`.
    pub client_subject: Option<String>,
    /// Whom the client's certificate names: its first mailbox (rfc822Name), without one the common
    /// name of its subject. Set where [`client_subject`](Self::client_subject) is; what has control
    /// characters or over 256 octets is no name.
    pub client_name: Option<String>,
    /// The channel binding `tls-exporter` (RFC 9266), for mechanisms of SASL that bind a login to
    /// this connection.
    ///
    /// With TLS 1.2 there is none: it would need the extended master secret (RFC 9266 section 4.2),
    /// of which rustls does not tell whether it was agreed on.
    pub channel_binding: Option<[u8; 32]>,
    /// True where the client resumed an earlier session: no certificate was sent or verified anew.
    pub resumed: bool,
}

/// A version of the TLS protocol that is spoken here. Older ones are refused with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsInfo {
    /// What a handshake agreed on that asked for no name and sent no certificate: for tests.
    #[must_use]
    pub const fn new(version: TlsVersion, cipher_suite: &'static str) -> Self {
        Self {
            version,
            cipher_suite,
            server_name: None,
            client_subject: None,
            client_name: None,
            channel_binding: None,
            resumed: false,
        }
    }
}

impl TlsVersion {
    pub(crate) fn of(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// The name in logs and `Received` headers: `TLSv1.2` or `TLSv1.3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
