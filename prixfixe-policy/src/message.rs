//! A message as DKIM and DMARC look at it: its header in memory, of its body no more than hashes.

use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::{HashAlgorithm, HashContext as _, HashImpl as _, Sha1, Sha256};
use mail_auth::dkim::Canonicalization;
use mail_auth::dkim::canonicalize::BodyHasher;
use prixfixe_server::{BodyError, Gathered};

/// The largest header that is looked at. A header has no such size unless it is made to be a
/// nuisance.
const MAX_HEADER: usize = 1 << 20;

/// The most lines of a header that is looked into: each field has a place of its own in memory.
const MAX_LINES: usize = 10_000;

/// Signatures that are verified, the first ones. Each costs the DNS and the processor.
const MAX_SIGNATURES: usize = 8;

/// The header of a message, with the line that ends it.
#[derive(Debug)]
pub(crate) struct Header {
    bytes: Vec<u8>,
    /// The first byte of the content.
    first: Option<u8>,
}

impl Header {
    /// Reads the header, and nothing behind it that is not in the same piece.
    pub(crate) async fn read(gathered: &Gathered) -> Result<Self, BodyError> {
        let mut bytes = Vec::new();
        let mut body = gathered.body();
        while let Some(piece) = body.chunk().await? {
            let known = bytes.len();
            bytes.extend_from_slice(&piece);
            if let Some(length) = length(&bytes, known) {
                bytes.truncate(length);
                break;
            }
            if bytes.len() > MAX_HEADER {
                break;
            }
        }
        let first = bytes.first().copied();
        // What would go on with a header field of ours is no header (the server begins the body
        // there).
        if matches!(bytes.first(), Some(b' ' | b'\t')) {
            bytes.clear();
        }
        Ok(Self { bytes, first })
    }

    /// How the content begins, with a header or without.
    pub(crate) fn beginning(&self) -> &[u8] {
        self.first.as_slice()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The message with hashes of its body for all signatures; nothing where there is no header
    /// that could have any. The body is read once, piece by piece.
    pub(crate) async fn message<'h>(
        &'h self,
        gathered: &Gathered,
    ) -> Result<Option<AuthenticatedMessage<'h>>, BodyError> {
        if memchr::memchr_iter(b'\n', &self.bytes).count() > MAX_LINES {
            return Ok(None);
        }
        let Some(mut message) = AuthenticatedMessage::parse(&self.bytes) else {
            return Ok(None);
        };
        message.dkim_headers.truncate(MAX_SIGNATURES);
        message.errors.truncate(MAX_SIGNATURES);
        let hashes = message.body_hashes.iter();
        let mut hashers: Vec<_> = hashes.map(|(c, a, l, _)| Hasher::new(*c, *a, *l)).collect();
        if !hashers.is_empty() {
            self.hash_body(gathered, &mut hashers).await?;
        }
        for ((_, _, _, hash), hasher) in message.body_hashes.iter_mut().zip(hashers) {
            *hash = hasher.finish();
        }
        Ok(Some(message))
    }

    async fn hash_body(
        &self,
        gathered: &Gathered,
        hashers: &mut [Hasher],
    ) -> Result<(), BodyError> {
        let mut before = self.bytes.len();
        let mut body = gathered.body();
        while let Some(piece) = body.chunk().await? {
            let part = piece.get(before.min(piece.len())..).unwrap_or_default();
            before -= piece.len() - part.len();
            hashers.iter_mut().for_each(|hasher| hasher.write(part));
            // A large message leaves the thread to others between its pieces.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Where the header ends, its empty line included. All before `known` has been searched.
fn length(bytes: &[u8], known: usize) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    let from = known.saturating_sub(3);
    let end = memchr::memmem::find(bytes.get(from..)?, b"\r\n\r\n")?;
    Some(from + end + 4)
}

/// Hashes a body in its canonical form (RFC 6376 section 3.4).
enum Hasher {
    Sha1(Box<BodyHasher<<Sha1 as mail_auth::common::crypto::HashImpl>::Context>>),
    Sha256(Box<BodyHasher<<Sha256 as mail_auth::common::crypto::HashImpl>::Context>>),
}

impl Hasher {
    fn new(form: Canonicalization, algorithm: HashAlgorithm, length: u64) -> Self {
        match algorithm {
            HashAlgorithm::Sha1 => {
                Self::Sha1(Box::new(BodyHasher::new(Sha1::hasher(), form, length)))
            }
            HashAlgorithm::Sha256 => {
                Self::Sha256(Box::new(BodyHasher::new(Sha256::hasher(), form, length)))
            }
        }
    }

    fn write(&mut self, piece: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.write(piece),
            Self::Sha256(hasher) => hasher.write(piece),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.finish().0.complete().as_ref().to_vec(),
            Self::Sha256(hasher) => hasher.finish().0.complete().as_ref().to_vec(),
        }
    }
}
