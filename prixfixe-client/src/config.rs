//! How a client behaves, the same for all its connections.

use std::time::Duration;

use crate::mail::InvalidArgument;

/// How a client behaves. All its connections share one.
///
/// ```
/// use prixfixe_client::{Config, StartTls};
///
/// let mut config = Config::smtp("client.example.com")?;
/// config.start_tls = StartTls::Required;
/// assert!(config.pipelining);
/// # Ok::<(), prixfixe_client::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The name in EHLO, HELO and LHLO. Checked, hence not to be changed.
    name: String,
    protocol: Protocol,
    /// Send commands in groups where the server offers PIPELINING (RFC 2920). True by default.
    pub pipelining: bool,
    /// Maximum number of commands that are sent and not yet answered. 100 by default.
    ///
    /// It bounds the replies that can pile up. So a caller that writes all it has before it reads
    /// does not deadlock with a server that does the same (RFC 2920 section 3.1). A caller that
    /// reads while it writes may raise it.
    pub window: usize,
    /// Whether STARTTLS is asked for. [`StartTls::Never`] by default.
    pub start_tls: StartTls,
    /// Send a password over a connection without TLS, in a form that an eavesdropper can read.
    /// False by default.
    pub plaintext_passwords: bool,
    /// How long the server may take.
    pub timeouts: Timeouts,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// SMTP (RFC 5321): one reply to a message.
    Smtp,
    /// LMTP (RFC 2033): LHLO, and one reply for each recipient of a message.
    Lmtp,
}

/// Whether STARTTLS is asked for (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartTls {
    /// Never.
    #[default]
    Never,
    /// Where the server offers it. A server that then refuses is spoken to in plaintext.
    WhenOffered,
    /// Always. A server that does not offer it, or refuses, is an error.
    Required,
}

/// How long the server may take. The defaults are those of RFC 5321 section 4.5.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Timeouts {
    /// Until the greeting. 5 minutes.
    pub greeting: Duration,
    /// Until the reply to EHLO, STARTTLS, AUTH, RSET, NOOP or QUIT. 5 minutes.
    pub command: Duration,
    /// Until the reply to MAIL. 5 minutes.
    pub mail: Duration,
    /// Until the reply to RCPT. 5 minutes.
    pub rcpt: Duration,
    /// Until the reply to DATA. 2 minutes.
    pub data: Duration,
    /// Until some more of a content is taken by the transport. 3 minutes.
    pub block: Duration,
    /// Until the reply to the end of a content. 10 minutes.
    pub message: Duration,
}

impl Config {
    /// A client of SMTP. Its `name` is a domain or an address literal (RFC 5321 section 4.1.1.1).
    ///
    /// # Errors
    ///
    /// When the name is empty, or has a character that cannot stand in an argument.
    pub fn smtp(name: impl Into<String>) -> Result<Self, InvalidArgument> {
        Self::new(name.into(), Protocol::Smtp)
    }

    /// A client of LMTP.
    ///
    /// # Errors
    ///
    /// As [`smtp`](Self::smtp).
    pub fn lmtp(name: impl Into<String>) -> Result<Self, InvalidArgument> {
        Self::new(name.into(), Protocol::Lmtp)
    }

    fn new(name: String, protocol: Protocol) -> Result<Self, InvalidArgument> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(InvalidArgument::Length);
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidArgument::Character);
        }
        Ok(Self {
            name,
            protocol,
            pipelining: true,
            window: 100,
            start_tls: StartTls::default(),
            plaintext_passwords: false,
            timeouts: Timeouts::default(),
        })
    }

    /// The name in EHLO, HELO and LHLO.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is spoken.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            greeting: minutes(5),
            command: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            message: minutes(10),
        }
    }
}

/// RFC 5321 section 4.5.3.1.2.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_carry_a_command() {
        for name in ["", "a b", "a\r\nQUIT", "m\u{fc}ller.example", "a\0"] {
            assert!(Config::smtp(name).is_err(), "{name:?}");
        }
        assert!(Config::smtp("x".repeat(256)).is_err());
        for name in [
            "localhost",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
            "a_b.example",
        ] {
            assert_eq!(Config::lmtp(name).unwrap().name(), name);
        }
    }
}
