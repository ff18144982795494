//! What can be wrong with a milter, or with how it is asked.

/// Why a connection to a milter cannot go on. Close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MilterError {
    /// A packet has no command, or is larger than is taken.
    #[error("the milter announced a packet of {0} bytes")]
    PacketSize(u32),
    /// The milter speaks a version that is none of 2 to 6.
    #[error("the milter speaks version {0} of the protocol")]
    Version(u32),
    /// The milter took what was not offered.
    #[error("the milter took what was not offered")]
    NotOffered,
    /// The milter did what it did not negotiate.
    #[error("the milter did what it had not negotiated: `{}`", .0.escape_ascii())]
    NotNegotiated(u8),
    /// A reply that is unknown, or that does not belong here.
    #[error("the milter sent `{}` where it has no place", .0.escape_ascii())]
    Unexpected(u8),
    /// A reply whose fields are not as the protocol has them.
    #[error("the milter sent a malformed `{}`", .0.escape_ascii())]
    Malformed(u8),
    /// A reply code that is neither 4xx nor 5xx, or one that contradicts itself.
    #[error("the milter gave a reply that is none")]
    BadReply,
    /// The milter changes more in one message than is taken.
    #[error("the milter changes more in one message than is taken")]
    TooManyChanges,
    /// The milter closes the connection.
    #[error("the milter closes the connection")]
    Closing,
    /// A command came while an answer was waited for, or out of order. This is a bug of the
    /// caller's.
    #[error("a command at the wrong time")]
    WrongTime,
}
