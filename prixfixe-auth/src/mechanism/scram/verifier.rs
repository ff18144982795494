//! What is kept in place of a password.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::mechanism::prepare_password;

/// RFC 7677 section 4.
pub const MIN_ITERATIONS: u32 = 4096;
/// Clients refuse more: they would be kept busy for seconds.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Others write 12 to 16 bytes.
const MAX_SALT: usize = 64;

/// What a server keeps of a password for SCRAM-SHA-256 (RFC 5803). Whoever reads it can try
/// passwords, and can pretend to be the server; it is not enough to log in.
///
/// Written as gsasl and Dovecot write it, `{SCRAM-SHA-256}COUNT,SALT,STOREDKEY,SERVERKEY`. It is
/// also read in the form of RFC 5803 and PostgreSQL,
/// `SCRAM-SHA-256$COUNT:SALT$STOREDKEY:SERVERKEY`.
#[derive(Clone)]
pub struct Verifier {
    iterations: u32,
    salt: Box<[u8]>,
    stored_key: Zeroizing<[u8; 32]>,
    server_key: Zeroizing<[u8; 32]>,
}

/// The text is no verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidVerifier {
    /// It has none of the forms.
    #[error("no {{SCRAM-SHA-256}}COUNT,SALT,STOREDKEY,SERVERKEY")]
    Form,
    /// So many iterations are not safe, or take too long.
    #[error("{0} iterations, where {MIN_ITERATIONS} to {MAX_ITERATIONS} are possible")]
    Iterations(u32),
    /// The salt is empty or too long.
    #[error("a salt of {0} bytes, where 1 to {MAX_SALT} are possible")]
    Salt(usize),
}

impl Verifier {
    /// The verifier of this password, after SASLprep. It takes a while: about a millisecond for
    /// each 4,000 iterations.
    ///
    /// # Errors
    ///
    /// When the salt or the number of iterations is out of bounds.
    pub fn new(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, InvalidVerifier> {
        check(salt, iterations)?;
        let salted = salt_password(password, salt, iterations);
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored_key: Zeroizing::new(stored_key(&salted)),
            server_key: Zeroizing::new(hmac(salted.as_ref(), b"Server Key")),
        })
    }

    /// One that no password fits.
    pub(crate) fn unmatched(salt: [u8; 16], iterations: u32) -> Self {
        Self {
            iterations,
            salt: salt.into(),
            stored_key: Zeroizing::default(),
            server_key: Zeroizing::default(),
        }
    }

    /// Whether it is the verifier of this password. It takes as long as [`new`](Self::new), and the
    /// same whether it is or not.
    #[must_use]
    pub fn matches(&self, password: &[u8]) -> bool {
        let salted = salt_password(password, &self.salt, self.iterations);
        stored_key(&salted).ct_eq(self.stored_key.as_ref()).into()
    }

    /// How often the password is hashed.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// What the password is hashed with.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(super) fn stored_key(&self) -> &[u8] {
        self.stored_key.as_ref()
    }

    pub(crate) fn server_key(&self) -> &[u8] {
        self.server_key.as_ref()
    }
}

fn check(salt: &[u8], iterations: u32) -> Result<(), InvalidVerifier> {
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(InvalidVerifier::Iterations(iterations));
    }
    if !(1..=MAX_SALT).contains(&salt.len()) {
        return Err(InvalidVerifier::Salt(salt.len()));
    }
    Ok(())
}

fn salt_password(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
    let password = prepare_password(password);
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(&password, salt, iterations, salted.as_mut());
    salted
}

fn stored_key(salted: &[u8; 32]) -> [u8; 32] {
    let client_key = Zeroizing::new(hmac(salted, b"Client Key"));
    Sha256::digest(client_key.as_ref()).into()
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length: there is no error.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl FromStr for Verifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Self, InvalidVerifier> {
        let parts = text
            .strip_prefix("{SCRAM-SHA-256}")
            .and_then(|rest| split(rest, [',', ',', ',']).or_else(|| split(rest, [':', '$', ':'])))
            .or_else(|| split(text.strip_prefix("SCRAM-SHA-256$")?, [':', '$', ':']));
        let [count, salt, stored_key, server_key] = parts.ok_or(InvalidVerifier::Form)?;
        let iterations = count.parse().map_err(|_| InvalidVerifier::Form)?;
        let salt = BASE64.decode(salt).map_err(|_| InvalidVerifier::Form)?;
        check(&salt, iterations)?;
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

fn key(text: &str) -> Result<Zeroizing<[u8; 32]>, InvalidVerifier> {
    let mut key = Zeroizing::new([0; 32]);
    match BASE64.decode_slice(text, key.as_mut()) {
        Ok(32) => Ok(key),
        _ => Err(InvalidVerifier::Form),
    }
}

/// Four parts, with these characters in between.
fn split(text: &str, between: [char; 3]) -> Option<[&str; 4]> {
    let [first, second, third] = between;
    let (a, rest) = text.split_once(first)?;
    let (b, rest) = rest.split_once(second)?;
    let (c, d) = rest.split_once(third)?;
    Some([a, b, c, d])
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{SCRAM-SHA-256}}{},{},{},{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key.as_ref()),
            BASE64.encode(self.server_key.as_ref()),
        )
    }
}

impl fmt::Debug for Verifier {
    /// Without what passwords can be tried against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}
