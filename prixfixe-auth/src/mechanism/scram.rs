//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the server's side.
//!
//! ```text
//! client-first:  n,,n=USER,r=NONCE
//! server-first:  r=NONCE...,s=SALT,i=COUNT
//! client-final:  c=biws,r=NONCE...,p=PROOF
//! server-final:  v=SIGNATURE
//! ```
//!
//! [`ClientFirst`] reads the first message and names the user; with the user's [`Verifier`] it
//! becomes a [`Challenge`], which checks the proof.

mod verifier;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub(crate) use self::verifier::hmac;
pub use self::verifier::{InvalidVerifier, MAX_ITERATIONS, MIN_ITERATIONS, Verifier};
use super::{Fault, check_authorization, decode_saslname, prepare_name};

/// Clients send 24 to 64 characters.
const MAX_NONCE: usize = 512;
/// A final message: the nonces, a channel binding and a proof.
const MAX_MESSAGE: usize = 4096;
/// The one kind of channel binding (RFC 9266).
const BINDING: &str = "tls-exporter";

/// Whether the exchange is bound to the TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelBinding<'a> {
    /// The connection has none, so that SCRAM-SHA-256-PLUS was not offered.
    Absent,
    /// SCRAM-SHA-256-PLUS was offered, and the client chose SCRAM-SHA-256. One that believes that
    /// it was not offered has been lied to (RFC 5802 section 6).
    Unused,
    /// The client chose SCRAM-SHA-256-PLUS. This is the connection's `tls-exporter` value.
    Used(&'a [u8]),
}

/// The client's first message.
pub struct ClientFirst {
    name: String,
    /// Without the header that concerns the channel binding.
    bare: String,
    nonce: String,
    /// What the final message is to say after `c=`.
    binding: String,
}

/// The server's first message is said, the client's proof is due.
pub struct Challenge {
    message: String,
    bare: String,
    nonce: String,
    binding: String,
    verifier: Verifier,
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(message: &[u8], binding: ChannelBinding<'_>) -> Result<Self, Fault> {
        if message.len() > MAX_MESSAGE {
            return Err(Fault::Malformed);
        }
        let message = str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let mut parts = message.splitn(3, ',');
        let mut part = || parts.next().ok_or(Fault::Malformed);
        let (flag, authorization, bare) = (part()?, part()?, part()?);
        let authorization = match authorization.strip_prefix("a=") {
            Some(name) if !name.is_empty() => decode_saslname(name)?,
            None if authorization.is_empty() => String::new(),
            _ => return Err(Fault::Malformed),
        };
        // A mandatory extension, `m=`, would stand first: there is none.
        let mut attributes = bare.split(',');
        let mut attribute = |name: &str| {
            let attribute = attributes.next().and_then(|text| text.strip_prefix(name));
            attribute.ok_or(Fault::Malformed)
        };
        let (name, nonce) = (attribute("n=")?, attribute("r=")?);
        let is_printable = |byte: u8| matches!(byte, 0x21..=0x7e);
        if !(1..=MAX_NONCE).contains(&nonce.len()) || !nonce.bytes().all(is_printable) {
            return Err(Fault::Malformed);
        }
        let name = decode_saslname(name)?;
        let name = prepare_name(&name).map_err(|_| Fault::Name)?.into_owned();
        let bound = check_flag(flag, binding)?;
        check_authorization(&authorization, &name)?;
        let header = message
            .get(..message.len() - bare.len())
            .ok_or(Fault::Malformed)?;
        Ok(Self {
            name,
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
            binding: BASE64.encode([header.as_bytes(), bound].concat()),
        })
    }

    /// Who the client claims to be, prepared by SASLprep.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's answer, with this user's verifier. `nonce` is 18 fresh random bytes.
    #[must_use]
    pub fn challenge(self, verifier: Verifier, nonce: [u8; 18]) -> Challenge {
        self.challenge_with(verifier, &BASE64.encode(nonce))
    }

    fn challenge_with(self, verifier: Verifier, nonce: &str) -> Challenge {
        let nonce = format!("{}{nonce}", self.nonce);
        Challenge {
            message: format!(
                "r={nonce},s={},i={}",
                BASE64.encode(verifier.salt()),
                verifier.iterations()
            ),
            bare: self.bare,
            nonce,
            binding: self.binding,
            verifier,
        }
    }
}

/// Gives what the client binds to.
fn check_flag<'a>(flag: &str, binding: ChannelBinding<'a>) -> Result<&'a [u8], Fault> {
    match (flag, binding) {
        ("n", ChannelBinding::Absent | ChannelBinding::Unused) => Ok(&[]),
        ("y", ChannelBinding::Absent) => Ok(&[]),
        ("n" | "y", _) => Err(Fault::ChannelBinding),
        _ => match (flag.strip_prefix("p="), binding) {
            (Some(BINDING), ChannelBinding::Used(value)) => Ok(value),
            (Some(_), _) => Err(Fault::ChannelBinding),
            (None, _) => Err(Fault::Malformed),
        },
    }
}

impl Challenge {
    /// The server's first message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Checks the client's final message, and gives the server's: the proof that it knows the
    /// verifier.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn verify(self, message: &[u8]) -> Result<String, Fault> {
        if message.len() > MAX_MESSAGE {
            return Err(Fault::Malformed);
        }
        let message = str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut attribute = |name: &str| {
            let attribute = attributes.next().and_then(|text| text.strip_prefix(name));
            attribute.ok_or(Fault::Malformed)
        };
        let (binding, nonce) = (attribute("c=")?, attribute("r=")?);
        if !bool::from(binding.as_bytes().ct_eq(self.binding.as_bytes())) {
            return Err(Fault::ChannelBinding);
        }
        if nonce != self.nonce {
            return Err(Fault::Nonce);
        }
        let proof = BASE64.decode(proof).map_err(|_| Fault::Malformed)?;
        let mut client_key = Zeroizing::new([0; 32]);
        if proof.len() != client_key.len() {
            return Err(Fault::Malformed);
        }
        let signed = format!("{},{},{without_proof}", self.bare, self.message);
        let signature = Zeroizing::new(hmac(self.verifier.stored_key(), signed.as_bytes()));
        for ((key, proof), signature) in client_key.iter_mut().zip(proof).zip(*signature) {
            *key = proof ^ signature;
        }
        let stored_key = Sha256::digest(*client_key);
        if !bool::from(stored_key.as_slice().ct_eq(self.verifier.stored_key())) {
            return Err(Fault::Proof);
        }
        let signature = hmac(self.verifier.server_key(), signed.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)))
    }
}

impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFirst")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
