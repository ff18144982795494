//! What a line of the file keeps in place of a password.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::mechanism::scram::{InvalidVerifier, Verifier, hmac};

/// 256 MiB, four times what RFC 9106 section 4 recommends where memory is scarce.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;
/// Memory times passes: a second or two of one core.
const MAX_WORK_KIB: u32 = 1024 * 1024;

/// A password hash.
#[derive(Debug, Clone)]
pub(super) enum Hash {
    Scram(Verifier),
    Argon2(Argon2Hash),
}

/// A hash by argon2id.
#[derive(Clone)]
pub(super) struct Argon2Hash {
    version: Version,
    params: Params,
    salt: Box<[u8]>,
    output: Zeroizing<Vec<u8>>,
}

/// How long it takes to compare a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Cost {
    Pbkdf2 {
        iterations: u32,
    },
    Argon2 {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
}

/// The text is no hash that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidHash {
    #[error("neither a {{SCRAM-SHA-256}} verifier nor a $argon2id$ hash")]
    Form,
    #[error(transparent)]
    Scram(#[from] InvalidVerifier),
    #[error(
        "argon2id with m={memory_kib},t={passes},p={lanes}, over the bounds: m={MAX_MEMORY_KIB}, t={MAX_PASSES}, p={MAX_LANES}, m times t {MAX_WORK_KIB}"
    )]
    Argon2Cost {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
    #[error("an argon2id hash that is not whole")]
    Argon2,
}

impl Hash {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        // Dovecot puts a scheme before it.
        let phc = text.strip_prefix("{ARGON2ID}").unwrap_or(text);
        if phc.starts_with("$argon2id$") {
            return Argon2Hash::parse(phc).map(Self::Argon2);
        }
        if text.starts_with("{SCRAM-SHA-256}") || text.starts_with("SCRAM-SHA-256$") {
            return Ok(Self::Scram(text.parse()?));
        }
        Err(InvalidHash::Form)
    }

    /// One that no password fits, and that takes as long to find out.
    pub(super) fn unmatched(cost: Cost, salt: [u8; 16]) -> Self {
        match cost {
            Cost::Pbkdf2 { iterations } => Self::Scram(Verifier::unmatched(salt, iterations)),
            Cost::Argon2 {
                memory_kib,
                passes,
                lanes,
            } => Self::Argon2(Argon2Hash {
                version: Version::V0x13,
                // They were in bounds in the file.
                params: Params::new(memory_kib, passes, lanes, Some(32)).unwrap_or_default(),
                salt: salt.into(),
                output: Zeroizing::new(vec![0; 32]),
            }),
        }
    }

    /// Whether this is the password. It takes a while, the same whether it is or not.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        match self {
            Self::Scram(verifier) => verifier.matches(password),
            Self::Argon2(hash) => hash.matches(password),
        }
    }

    /// What nobody knows who does not know the hash.
    pub(super) fn seed(&self) -> Zeroizing<[u8; 32]> {
        let key = match self {
            Self::Scram(verifier) => verifier.server_key(),
            Self::Argon2(hash) => &hash.output,
        };
        Zeroizing::new(hmac(key, b"salts of nobody"))
    }

    pub(super) fn cost(&self) -> Cost {
        match self {
            Self::Scram(verifier) => Cost::Pbkdf2 {
                iterations: verifier.iterations(),
            },
            Self::Argon2(hash) => Cost::Argon2 {
                memory_kib: hash.params.m_cost(),
                passes: hash.params.t_cost(),
                lanes: hash.params.p_cost(),
            },
        }
    }
}

impl Argon2Hash {
    fn parse(phc: &str) -> Result<Self, InvalidHash> {
        let hash = PasswordHash::new(phc).map_err(|_| InvalidHash::Argon2)?;
        let params = Params::try_from(&hash).map_err(|_| InvalidHash::Argon2)?;
        // What has no version is of the first one.
        let version = hash.version.unwrap_or(0x10);
        let version = Version::try_from(version).map_err(|_| InvalidHash::Argon2)?;
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(InvalidHash::Argon2);
        };
        if hash.algorithm != ARGON2ID_IDENT || output.len() < 16 || salt.len() < 8 {
            return Err(InvalidHash::Argon2);
        }
        let (memory_kib, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        let is_bounded = memory_kib <= MAX_MEMORY_KIB
            && passes <= MAX_PASSES
            && lanes <= MAX_LANES
            && memory_kib.saturating_mul(passes) <= MAX_WORK_KIB;
        if !is_bounded {
            return Err(InvalidHash::Argon2Cost {
                memory_kib,
                passes,
                lanes,
            });
        }
        Ok(Self {
            version,
            params,
            salt: salt.as_ref().into(),
            output: Zeroizing::new(output.as_bytes().to_vec()),
        })
    }

    /// The password is hashed as it is: that is what the programs do that write such hashes.
    fn matches(&self, password: &[u8]) -> bool {
        let argon2 = Argon2::new(Algorithm::Argon2id, self.version, self.params.clone());
        let mut output = Zeroizing::new(vec![0; self.output.len()]);
        let hashed = argon2.hash_password_into(password, &self.salt, &mut output);
        hashed.is_ok() && bool::from(output.ct_eq(&self.output))
    }
}

impl fmt::Debug for Argon2Hash {
    /// Without what passwords can be tried against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Argon2Hash").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `echo -n password | argon2 saltsalt -id -t 2 -k 64 -p 1 -l 32 -e`
    const HASH: &str =
        "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$50UD97y0OOTVN7ca0lAiIkxAFbJoO8IYMkpI3Oo6akY";

    #[test]
    fn a_hash_of_the_reference_program() {
        for text in [HASH.to_owned(), format!("{{ARGON2ID}}{HASH}")] {
            let hash = Hash::parse(&text).unwrap();
            assert!(hash.matches(b"password"));
            assert!(!hash.matches(b"Password") && !hash.matches(b""));
            let cost = Cost::Argon2 {
                memory_kib: 64,
                passes: 2,
                lanes: 1,
            };
            assert_eq!(hash.cost(), cost);
            let nobody = Hash::unmatched(cost, [0; 16]);
            assert_eq!(nobody.cost(), cost);
            assert!(!nobody.matches(b"password"));
            assert_eq!(format!("{hash:?}"), "Argon2(Argon2Hash { .. })");
        }
    }

    #[test]
    fn costs_are_bounded() {
        for (params, is_good) in [
            ("m=262144,t=4,p=1", true),
            ("m=262144,t=5,p=1", false),
            ("m=262145,t=1,p=1", false),
            ("m=64,t=16,p=1", true),
            ("m=64,t=17,p=1", false),
            ("m=4294967295,t=4294967295,p=1", false),
            ("m=1024,t=1,p=16", true),
            ("m=1024,t=1,p=17", false),
        ] {
            let hash = Hash::parse(&HASH.replace("m=64,t=2,p=1", params));
            match is_good {
                true => assert!(hash.is_ok(), "{params}: {hash:?}"),
                false => assert!(
                    matches!(hash, Err(InvalidHash::Argon2Cost { .. })),
                    "{params}: {hash:?}"
                ),
            }
        }
    }

    #[test]
    fn what_is_no_hash() {
        let d = HASH.replace("argon2id", "argon2d");
        for (text, problem) in [
            ("", InvalidHash::Form),
            ("secret", InvalidHash::Form),
            ("{PLAIN}secret", InvalidHash::Form),
            ("$2y$05$bvIG6Nmid91Mu9RcmmWZfO", InvalidHash::Form),
            (&d, InvalidHash::Form),
            ("$argon2id$", InvalidHash::Argon2),
            (
                "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ",
                InvalidHash::Argon2,
            ),
            (
                "$argon2id$v=20$m=64,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
                InvalidHash::Argon2,
            ),
            (
                "$argon2id$v=19$m=7,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
                InvalidHash::Argon2,
            ),
            ("{SCRAM-SHA-256}1,2", InvalidVerifier::Form.into()),
        ] {
            assert_eq!(Hash::parse(text).unwrap_err(), problem, "{text}");
        }
    }
}
