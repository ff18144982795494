//! `KEY.json`: what is known of a message beside its content.

use serde::Serialize;

use crate::authentication::Authentication;
use crate::facts::{Envelope, Facts, Tls};

/// What tells one attempt with a message from another. It is in the metadata of `KEY.eml` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) id: String,
    pub(super) received: String,
    /// Of all of `KEY.eml`, in hexadecimal.
    pub(super) sha256: String,
}

#[derive(Serialize)]
struct Sidecar<'a> {
    id: &'a str,
    digest: &'a str,
    timestamp: &'a str,
    size: u64,
    sha256: &'a str,
    envelope: Envelope<'a>,
    tls: Option<Tls<'a>>,
    /// Null without policy.
    authentication: Option<&'a Authentication>,
}

pub(super) fn sidecar(facts: &Facts, attempt: &Attempt) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Sidecar {
        id: &attempt.id,
        digest: &facts.digest,
        timestamp: &attempt.received,
        size: facts.size,
        sha256: &attempt.sha256,
        envelope: facts.into(),
        tls: facts.tls(),
        authentication: facts.authentication.as_ref(),
    })
}
