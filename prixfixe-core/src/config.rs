//! What a connection offers and where its limits lie.

use std::time::Duration;

/// What a connection offers and where its limits lie. All connections of a server share one.
///
/// ```
/// use prixfixe_core::Config;
///
/// let mut config = Config::new("mx.example.com");
/// config.max_recipients = 100;
/// assert_eq!(config.max_message_size, 10_485_760);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The server's own name, in the greeting and in the reply to HELO and EHLO.
    pub domain: String,
    /// How many octets the content of a message may have, its last CR LF included and transparency dots
    /// removed. 0: no limit, as the SIZE extension has it (RFC 1870 section 4).
    pub max_message_size: u64,
    /// How many recipients a message may have. RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub max_recipients: usize,
    /// How many bad commands a client is allowed: the one after them ends the session.
    ///
    /// A bad command is one that earned 500 to 504 or 555. What a handler refuses, a recipient too many or
    /// a message too large is none.
    pub max_errors: u32,
    /// How long a command, a body or a chunk may take, before what [`min_data_rate`](Self::min_data_rate)
    /// adds. RFC 5321 section 4.5.3.2.7 asks for 5 minutes.
    pub command_timeout: Duration,
    /// Octets a second that a client has to send at least: each octet of a command, a body or a chunk adds
    /// its share of time to the deadline. 0: no minimum, a body or a chunk may take as long as octets keep
    /// coming.
    pub min_data_rate: u32,
    /// Offer STARTTLS while TLS is not active.
    pub starttls: bool,
    /// Refuse MAIL with 530 while TLS is not active (RFC 3207 section 4).
    pub tls_required: bool,
}

impl Config {
    /// The default limits under a name.
    #[must_use]
    pub fn new(domain: impl Into<String>) -> Self {
        Self {
            domain: domain.into(),
            max_message_size: 10_485_760,
            max_recipients: 1000,
            max_errors: 10,
            command_timeout: Duration::from_secs(300),
            min_data_rate: 500,
            starttls: false,
            tls_required: false,
        }
    }

    /// The largest content that is taken, in octets.
    pub(crate) fn size_limit(&self) -> u64 {
        match self.max_message_size {
            0 => u64::MAX,
            limit => limit,
        }
    }
}

impl Default for Config {
    /// The default limits of a server named `localhost`.
    fn default() -> Self {
        Self::new("localhost")
    }
}
