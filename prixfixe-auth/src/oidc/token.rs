//! Whether a token counts, and whom it names.

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::EMAIL;
use super::keys::KeySet;

/// RFC 4616 has as much for a name.
const MAX_NAME: usize = 255;

/// What a token must say.
#[derive(Debug)]
pub(super) struct Rules {
    issuer: String,
    audience: String,
    claim: String,
}

/// Why a token does not count. Clients are told no more than that.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Another set may have the key.
    #[error("a key that the issuer has not published")]
    UnknownKey,
    /// What the library says.
    #[error("{0}")]
    Token(#[from] Error),
    /// It names nobody, or nobody whom the issuer vouches for.
    #[error("no claim that names somebody")]
    Nobody,
}

impl Rules {
    pub(super) fn new(issuer: String, audience: String, claim: String) -> Self {
        Self {
            issuer,
            audience,
            claim,
        }
    }

    /// Whom the token names.
    pub(super) fn check(&self, token: &str, keys: &KeySet) -> Result<String, Fault> {
        // Nothing in the header is believed but which of our keys is meant: not even a key that it
        // brings along.
        let header = decode_header(token)?;
        let key = keys.find(header.kid.as_deref(), header.alg);
        let Some(key) = key else {
            return Err(match is_of_key_pairs(header.alg) {
                true => Fault::UnknownKey,
                false => Error::from(ErrorKind::InvalidAlgorithm).into(),
            });
        };
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        let claims = decode::<Map<String, Value>>(token, key, &validation)?.claims;
        self.named_in(&claims).ok_or(Fault::Nobody)
    }

    fn named_in(&self, claims: &Map<String, Value>) -> Option<String> {
        let name = claims.get(&self.claim)?.as_str()?;
        // Some providers write it as a text.
        let is_false = |value: &Value| *value == Value::Bool(false) || value == "false";
        if self.claim == EMAIL && claims.get("email_verified").is_some_and(is_false) {
            return None;
        }
        let is_sound = (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control);
        is_sound.then(|| name.to_owned())
    }
}

/// What is signed with a secret is no token for us: the "secret" could be a key that is public.
fn is_of_key_pairs(algorithm: jsonwebtoken::Algorithm) -> bool {
    use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
    !matches!(algorithm, HS256 | HS384 | HS512)
}
