//! Every reply that the server makes by itself, beside those of the dialogue in `prixfixe-core`.

pub(crate) use prixfixe_core::replies::{
    CLEAR_TEXT_AFTER_STARTTLS, LOCAL_ERROR, TIMED_OUT, TOO_MANY_CONNECTIONS,
};
use prixfixe_core::{EnhancedCode, Reply};

/// A recipient outside the accepted domains.
pub(crate) const NO_SUCH_DOMAIN: Reply = Reply::from_static(
    550,
    EnhancedCode(5, 7, 1),
    "mail for this domain is not accepted here",
);

/// The handler did not answer in time.
pub(crate) const HANDLER_TIMED_OUT: Reply = Reply::from_static(
    451,
    EnhancedCode(4, 3, 0),
    "processing took too long, try again later",
);

/// The handler panicked. The connection is closed.
pub(crate) const HANDLER_PANICKED: Reply = Reply::from_static(
    421,
    EnhancedCode(4, 3, 0),
    "internal error, closing connection",
);
