//! From whom and to whom.

use prixfixe_core::{ForwardPath, MailParameters, ReversePath};

/// The envelope of a transaction (RFC 5321 section 2.3.1): what MAIL and the accepted RCPT commands said.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub(crate) reverse_path: ReversePath,
    pub(crate) parameters: MailParameters,
    pub(crate) forward_paths: Vec<ForwardPath>,
}

impl Envelope {
    /// The sender, or the null reverse-path of a bounce.
    #[must_use]
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// What came with MAIL: the announced size, the body type, SMTPUTF8.
    #[must_use]
    pub fn parameters(&self) -> &MailParameters {
        &self.parameters
    }

    /// The recipients that were accepted so far, in order. Of a message: all of them, at least one.
    #[must_use]
    pub fn forward_paths(&self) -> &[ForwardPath] {
        &self.forward_paths
    }
}
