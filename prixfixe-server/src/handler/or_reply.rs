//! `?` on what is no reply.

use std::fmt::Display;

use prixfixe_core::Reply;

/// Makes a reply of an error that is none of the client's business.
///
/// The error goes to the log, in the span of the question. The client gets the reply, and none of
/// the error's words: they may hold a path, a query or a secret.
///
/// ```
/// use prixfixe_server::{OrReply, Reply};
///
/// fn known() -> Result<String, Reply> {
///     std::fs::read_to_string("/nowhere/people").or_reply(Reply::TRY_LATER)
/// }
/// assert_eq!(known(), Err(Reply::TRY_LATER));
/// ```
pub trait OrReply<T> {
    /// The value, or this reply in place of the error.
    ///
    /// # Errors
    ///
    /// The reply, where there was an error.
    fn or_reply(self, reply: Reply) -> Result<T, Reply>;
}

impl<T, E: Display> OrReply<T> for Result<T, E> {
    fn or_reply(self, reply: Reply) -> Result<T, Reply> {
        self.map_err(|error| {
            tracing::error!(target: "prixfixe", %error, %reply, "the handler failed");
            reply
        })
    }
}
