//! The keys that an issuer publishes: a JWK set (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Providers have two to ten.
const MAX_KEYS: usize = 100;

/// Those that signatures can be checked with.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    key: DecodingKey,
    /// What a signature by it may be.
    algorithms: Vec<Algorithm>,
}

/// It is no JWK set.
#[derive(Debug, thiserror::Error)]
#[error("no JWK set of at most 64 KiB: {0}")]
pub(super) struct InvalidKeys(#[from] serde_json::Error);

#[derive(serde::Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. A key that is of no use here is left out.
    pub(super) fn parse(text: &[u8]) -> Result<Self, InvalidKeys> {
        let published: Published = serde_json::from_slice(text)?;
        let keys = published.keys.into_iter();
        let read = keys.filter_map(|key| Key::new(&serde_json::from_value(key).ok()?));
        Ok(Self(read.take(MAX_KEYS).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key for a signature. A token that names none has the one that there is.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm);
        let mut found = self.0.iter().filter(fits);
        match id {
            Some(_) => found.find(|key| key.id.as_deref() == id),
            None => found.next().filter(|_| found.next().is_none()),
        }
        .map(|key| &key.key)
    }
}

impl Key {
    /// A secret is never one: whoever is to check with it could sign with it.
    fn new(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures =
            matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let possible = possible(&jwk.algorithm);
        let algorithms: Vec<Algorithm> = match common.key_algorithm {
            None => possible.to_vec(),
            Some(only) => {
                let is_meant = |it: &&Algorithm| named(**it) == Some(only);
                possible.iter().filter(is_meant).copied().collect()
            }
        };
        if !is_for_signatures || algorithms.is_empty() {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            key: DecodingKey::from_jwk(jwk).ok()?,
            algorithms,
        })
    }
}

fn possible(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[EdDSA],
            _ => &[],
        },
        _ => &[],
    }
}

fn named(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::RS384 => KeyAlgorithm::RS384,
        Algorithm::RS512 => KeyAlgorithm::RS512,
        Algorithm::PS256 => KeyAlgorithm::PS256,
        Algorithm::PS384 => KeyAlgorithm::PS384,
        Algorithm::PS512 => KeyAlgorithm::PS512,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        Algorithm::ES384 => KeyAlgorithm::ES384,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        _ => return None,
    })
}
