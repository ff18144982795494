//! What the caller learns.

use crate::Reply;

/// What the caller learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The greeting.
    Greeted(Reply<'a>),
    /// STARTTLS was accepted. Make the TLS connection, then call
    /// [`tls_established`](crate::Connection::tls_established). Nothing of what the server sends
    /// from here on is for the connection until then.
    StartTls,
    /// STARTTLS was offered and refused, and the configuration does not require it.
    StartTlsRefused(Reply<'a>),
    /// The extensions are known. Authenticate, or begin a transaction.
    Ready,
    /// AUTH has succeeded.
    #[cfg(feature = "auth")]
    Authenticated(Reply<'a>),
    /// AUTH was refused. The connection goes on.
    #[cfg(feature = "auth")]
    AuthenticationRefused(Reply<'a>),
    /// The reply to MAIL.
    Mail(Reply<'a>),
    /// The reply to RCPT. Recipients count from 0 in each transaction.
    Rcpt {
        /// Which recipient.
        recipient: usize,
        /// The reply.
        reply: Reply<'a>,
    },
    /// DATA was refused.
    Data(Reply<'a>),
    /// The content can be sent: the 354 has come, or with BDAT all recipients were answered. There
    /// is at least one recipient.
    Content,
    /// The reply to a chunk that is not the last.
    Chunk(Reply<'a>),
    /// The reply to the content.
    Message {
        /// Which recipient it is for. `None`: all that were accepted. LMTP gives one such event for
        /// each.
        recipient: Option<usize>,
        /// The reply.
        reply: Reply<'a>,
    },
    /// The transaction is over. What has not been accepted by now will not be.
    Done,
    /// The reply to RSET. The connection says RSET by itself where a failed transaction has to be
    /// cleared.
    Reset(Reply<'a>),
    /// The reply to NOOP.
    Noop(Reply<'a>),
    /// The reply to QUIT. The server closes now (RFC 5321 section 4.1.1.10).
    Goodbye(Reply<'a>),
}
