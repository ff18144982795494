//! Every reply that the server makes by itself, beside those of the dialogue in `prixfixe-core`.

pub(crate) use prixfixe_core::replies::{
    CLEAR_TEXT_AFTER_STARTTLS, LOCAL_ERROR, NEEDS_SMTPUTF8, TIMED_OUT, TOO_MANY_CONNECTIONS,
};
use prixfixe_core::{EnhancedCode, Reply};

/// A recipient outside the accepted domains.
pub(crate) const NO_SUCH_DOMAIN: Reply = Reply::from_static(
    550,
    EnhancedCode(5, 7, 1),
    "mail for this domain is not accepted here",
);

/// A check adds a recipient over the limit. Its client can do nothing about that: the message goes
/// on without it.
pub(crate) const TOO_MANY_ADDED: Reply = Reply::from_static(
    554,
    EnhancedCode(5, 5, 3),
    "too many recipients with those that are added here",
);

/// One client has all the connections that it may have, or had all that it may make in a minute.
pub(crate) const TOO_MANY_OF_CLIENT: Reply = Reply::from_static(
    421,
    EnhancedCode(4, 7, 0),
    "too many connections from your address, try again later",
);

/// A client that does not wait for the greeting.
pub(crate) const EARLY_TALKER: Reply = Reply::from_static(
    554,
    EnhancedCode(5, 5, 1),
    "wait for the greeting before you speak",
);

/// Since the client came, logins are required where they were not.
pub(crate) const CONNECT_AGAIN: Reply = Reply::from_static(
    421,
    EnhancedCode(4, 3, 2),
    "the settings have changed, connect again",
);

/// One client has sent all the messages that it may send in a minute.
pub(crate) const TOO_MANY_MESSAGES: Reply = Reply::from_static(
    450,
    EnhancedCode(4, 7, 1),
    "too many messages from your address, try again later",
);

/// The handler did not answer in time.
pub(crate) const HANDLER_TIMED_OUT: Reply = Reply::from_static(
    451,
    EnhancedCode(4, 3, 0),
    "processing took too long, try again later",
);

/// One client has failed to log in too often, as whoever it says or as one user.
pub(crate) const TOO_MANY_FAILED_LOGINS: Reply = Reply::from_static(
    421,
    EnhancedCode(4, 7, 0),
    "too many failed logins, try again later",
);

/// Who has logged in may send as itself alone.
pub(crate) const ANOTHER_SENDER: Reply = Reply::from_static(
    553,
    EnhancedCode(5, 7, 1),
    "you may not send as this sender",
);

/// The handler panicked. The connection is closed.
pub(crate) const HANDLER_PANICKED: Reply = Reply::from_static(
    421,
    EnhancedCode(4, 3, 0),
    "internal error, closing connection",
);
