//! (stub)
use crate::Mailbox;

/// (stub)
pub(crate) fn complete_mailbox(string: &str) -> Option<Mailbox<&str>> {
    string.rfind('@').map(|at| Mailbox::from_parts(string, at))
}
