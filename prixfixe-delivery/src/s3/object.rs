//! What is stored: a few bytes, or trace headers and a gathered content.

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prixfixe_server::{Gathered, Reply, header_separator};
use tokio::task::yield_now;

use super::sidecar::Attempt;
use super::store::Field;
use prixfixe_http::Part;

/// An object to be.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub(super) key: &'a str,
    pub(super) content_type: &'static str,
    pub(super) front: Bytes,
    pub(super) content: Option<Gathered>,
    pub(super) checksum: Checksum,
    /// What its metadata says.
    pub(super) attempt: Option<&'a Attempt>,
}

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum([u8; SHA256_OUTPUT_LEN]);

/// Larger ones are stored in parts.
pub(super) const MAX_SINGLE: u64 = 16 << 20;

impl Checksum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::from(digest(&SHA256, bytes))
    }

    pub(super) async fn of_parts(parts: &[Part]) -> Result<Self, Reply> {
        let mut hash = Context::new(&SHA256);
        for part in parts {
            match part {
                Part::Bytes(bytes) => hash.update(bytes),
                Part::Gathered(content) => {
                    let mut body = content.body();
                    while let Some(piece) = body.chunk().await? {
                        hash.update(&piece);
                        // As below.
                        yield_now().await;
                    }
                }
            }
        }
        Ok(Self::from(hash.finish()))
    }

    pub(super) fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub(super) fn hexadecimal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<aws_lc_rs::digest::Digest> for Checksum {
    fn from(digest: aws_lc_rs::digest::Digest) -> Self {
        // It has this length, as SHA-256 has.
        Self(digest.as_ref().try_into().unwrap_or_default())
    }
}

impl Object<'_> {
    pub(super) fn size(&self) -> u64 {
        let content = self.content.as_ref().map_or(0, Gathered::size);
        content.saturating_add(self.front.len() as u64)
    }

    pub(super) fn is_large(&self) -> bool {
        self.size() > MAX_SINGLE
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let front = Part::Bytes(self.front.clone());
        let content = self.content.clone().map(Part::Gathered);
        [Some(front), content].into_iter().flatten().collect()
    }

    /// Its headers, but for those of a condition and a checksum.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut fields = vec![("content-type", self.content_type.to_owned())];
        if let Some(attempt) = self.attempt {
            fields.push(("x-amz-meta-prixfixe-id", attempt.id.clone()));
            fields.push(("x-amz-meta-prixfixe-received", attempt.received.clone()));
            fields.push(("x-amz-meta-prixfixe-sha256", attempt.sha256.clone()));
        }
        fields
    }
}

/// The trace headers with what has to stand before the content, and the checksum of both together.
pub(super) async fn whole(
    mut trace: Vec<u8>,
    content: &Gathered,
) -> Result<(Bytes, Checksum), Reply> {
    let mut hash = Context::new(&SHA256);
    let mut body = content.body();
    let mut next = body.chunk().await?;
    trace.extend_from_slice(header_separator(next.as_deref().unwrap_or_default()));
    hash.update(&trace);
    while let Some(piece) = next {
        hash.update(&piece);
        // A large content takes a while, and others have their turn meanwhile.
        yield_now().await;
        next = body.chunk().await?;
    }
    Ok((Bytes::from(trace), Checksum::from(hash.finish())))
}
