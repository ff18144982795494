//! What a login is made of (RFC 4422, RFC 4954): the name of a mechanism, and what a client says in
//! it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::{Engine, decoded_len_estimate, encoded_len};
use zeroize::Zeroizing;

use crate::{MAX_LOGIN_LINE, Reply, replies};

/// The name of a SASL mechanism (RFC 4422 section 3.1): up to 20 of `A` to `Z`, digits, `-` and
/// `_`.
///
/// ```
/// use prixfixe_core::Mechanism;
///
/// assert_eq!("plain".parse(), Ok(Mechanism::PLAIN));
/// assert!("PLAIN LOGIN".parse::<Mechanism>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mechanism(Cow<'static, str>);

/// The text is no name of a SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SASL mechanism is named by up to 20 letters, digits, hyphens and underscores")]
pub struct InvalidMechanism;

impl Mechanism {
    /// A name and a password (RFC 4616).
    pub const PLAIN: Self = Self(Cow::Borrowed("PLAIN"));
    /// A name and a password, asked for one after the other. It has no RFC.
    pub const LOGIN: Self = Self(Cow::Borrowed("LOGIN"));
    /// The password is not sent (RFC 7677).
    pub const SCRAM_SHA_256: Self = Self(Cow::Borrowed("SCRAM-SHA-256"));
    /// As [`SCRAM_SHA_256`](Self::SCRAM_SHA_256), bound to the TLS connection.
    pub const SCRAM_SHA_256_PLUS: Self = Self(Cow::Borrowed("SCRAM-SHA-256-PLUS"));
    /// A bearer token of OAuth 2 (RFC 7628).
    pub const OAUTHBEARER: Self = Self(Cow::Borrowed("OAUTHBEARER"));
    /// A bearer token of OAuth 2, as clients sent it before RFC 7628.
    pub const XOAUTH2: Self = Self(Cow::Borrowed("XOAUTH2"));
    /// What is known by other means, such as a client certificate (RFC 4422 appendix A).
    pub const EXTERNAL: Self = Self(Cow::Borrowed("EXTERNAL"));

    /// The name, in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In any case; the name is in upper case then.
impl FromStr for Mechanism {
    type Err = InvalidMechanism;

    fn from_str(text: &str) -> Result<Self, InvalidMechanism> {
        let is_sound = (1..=20).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        match is_sound {
            true => Ok(Self(Cow::Owned(text.to_ascii_uppercase()))),
            false => Err(InvalidMechanism),
        }
    }
}

impl PartialEq<str> for Mechanism {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Mechanism {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Octets that nobody else is to see, such as a password. They are wiped from memory when they are
/// dropped, and their `Debug` form is their number.
///
/// Compared by `==` they take a time that tells how alike they are: that is for tests.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        octets.to_vec().into()
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// What stands behind the mechanism in AUTH (RFC 4954 section 4).
pub(crate) fn initial_response(text: &str) -> Result<Secret, Reply> {
    match text {
        "=" => Ok(Secret::default()),
        text => decoded(text.as_bytes()),
    }
}

/// A line behind a challenge.
pub(crate) fn response(line: &[u8]) -> Result<Secret, Reply> {
    match line {
        b"*" => Err(replies::LOGIN_CANCELLED),
        line => decoded(line),
    }
}

fn decoded(text: &[u8]) -> Result<Secret, Reply> {
    // Written to in place, so that no copy is left behind.
    let mut octets = Zeroizing::new(vec![0; decoded_len_estimate(text.len())]);
    let length = BASE64.decode_slice(text, octets.as_mut_slice());
    octets.truncate(length.map_err(|_| replies::BAD_RESPONSE)?);
    Ok(Secret(octets))
}

/// Whether a challenge fits in a line.
pub(crate) fn fits(data: &[u8]) -> bool {
    encoded_len(data.len(), true).is_some_and(|length| length <= MAX_LOGIN_LINE - "334 \r\n".len())
}

/// The reply that is a challenge.
pub(crate) fn push_challenge(data: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(b"334 ");
    output.extend_from_slice(BASE64.encode(data).as_bytes());
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mechanisms() {
        for good in ["A", "scram-sha-256-plus", "X_1", "ABCDEFGHIJKLMNOPQRST"] {
            let parsed: Mechanism = good.parse().unwrap();
            assert_eq!(parsed, good.to_ascii_uppercase().as_str());
        }
        for bad in [
            "",
            " ",
            "PLAIN ",
            "A B",
            "\u{e4}",
            "A\r\n",
            "ABCDEFGHIJKLMNOPQRSTU",
        ] {
            assert_eq!(bad.parse::<Mechanism>(), Err(InvalidMechanism), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::from(&b"hunter2"[..]);
        assert_eq!(format!("{secret:?}"), "Secret(7 octets)");
    }
}
