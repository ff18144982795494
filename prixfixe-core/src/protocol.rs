//! SMTP, and what is nearly SMTP.

use std::fmt;

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// SMTP (RFC 5321), with EHLO or HELO. The end of the data gets one reply.
    #[default]
    Smtp,
    /// LMTP (RFC 2033), with LHLO in place of both. The end of the data gets one reply for each
    /// recipient that was accepted, so that a client with a queue of its own tries again for those
    /// alone that need it.
    Lmtp,
}

impl Protocol {
    /// Its name: `SMTP` or `LMTP`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Lmtp => "LMTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
