//! SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
//!
//! ```text
//! client-first:  n,,n=USER,r=NONCE
//! server-first:  r=NONCE...,s=SALT,i=COUNT
//! client-final:  c=biws,r=NONCE...,p=PROOF
//! server-final:  v=SIGNATURE
//! ```
//!
//! Names and passwords are used as they are: RFC 5802 asks for SASLprep, which changes nothing of
//! what is ASCII.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::ServerFault;

/// RFC 7677 section 4.
const MIN_ITERATIONS: u32 = 4096;
/// About a second of one core. A server could otherwise keep a client busy for hours.
const MAX_ITERATIONS: u32 = 1_000_000;

/// The client's first message is said.
pub(crate) struct First {
    bare: String,
    nonce: String,
}

/// The client's proof is said.
pub(crate) struct Last {
    server_signature: Hmac<Sha256>,
}

impl First {
    pub(super) fn new(username: &str, nonce: &str) -> Self {
        // `saslname`: a comma and an equals sign have other meanings.
        let username = username.replace('=', "=3D").replace(',', "=2C");
        Self {
            bare: format!("n={username},r={nonce}"),
            nonce: nonce.to_owned(),
        }
    }

    pub(super) fn message(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The client's final message.
    pub(super) fn respond(
        &self,
        challenge: &[u8],
        password: &str,
    ) -> Result<(String, Last), ServerFault> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| ServerFault::Challenge)?;
        let mut attributes = challenge.split(',');
        let mut attribute = |name: &str| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(name))
                .ok_or(ServerFault::Challenge)
        };
        let (nonce, salt, count) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ServerFault::Nonce);
        }
        let salt = BASE64.decode(salt).map_err(|_| ServerFault::Challenge)?;
        let count: u32 = count.parse().map_err(|_| ServerFault::Challenge)?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&count) {
            return Err(ServerFault::Iterations(count));
        }
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, count, salted.as_mut());

        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.bare);
        let client_key = Zeroizing::new(sign(salted.as_ref(), b"Client Key")?);
        let stored_key = Sha256::digest(client_key.as_ref());
        let signature = sign(&stored_key, message.as_bytes())?;
        let mut proof = Zeroizing::new([0; 32]);
        for ((proof, key), signature) in proof.iter_mut().zip(client_key.iter()).zip(signature) {
            *proof = key ^ signature;
        }
        let server_key = Zeroizing::new(sign(salted.as_ref(), b"Server Key")?);
        let server_signature = mac(server_key.as_ref(), message.as_bytes())?;
        let answer = format!("{without_proof},p={}", BASE64.encode(proof.as_ref()));
        Ok((answer, Last { server_signature }))
    }
}

impl Last {
    /// The server's final message.
    pub(super) fn verify(self, challenge: &[u8]) -> Result<(), ServerFault> {
        let signature = challenge
            .strip_prefix(b"v=")
            .and_then(|rest| rest.split(|byte| *byte == b',').next())
            .and_then(|signature| BASE64.decode(signature).ok())
            .ok_or(ServerFault::Signature)?;
        // Compared in constant time.
        self.server_signature
            .verify_slice(&signature)
            .map_err(|_| ServerFault::Signature)
    }
}

fn mac(key: &[u8], message: &[u8]) -> Result<Hmac<Sha256>, ServerFault> {
    // HMAC takes a key of any length, so there is no error.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| ServerFault::Challenge)?;
    mac.update(message);
    Ok(mac)
}

fn sign(key: &[u8], message: &[u8]) -> Result<[u8; 32], ServerFault> {
    Ok(mac(key, message)?.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_exchange_of_rfc_7677() {
        let first = First::new("user", NONCE);
        assert_eq!(first.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (answer, last) = first.respond(CHALLENGE.as_bytes(), "pencil").unwrap();
        assert_eq!(
            answer,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(
            last.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Ok(())
        );
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for wrong in [
            "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            "v=",
            "e=other-error",
            "",
            "v=*",
        ] {
            let first = First::new("user", NONCE);
            let (_, last) = first.respond(CHALLENGE.as_bytes(), "pencil").unwrap();
            assert_eq!(
                last.verify(wrong.as_bytes()),
                Err(ServerFault::Signature),
                "{wrong}"
            );
        }
    }

    #[test]
    fn challenges_that_are_wrong_are_refused() {
        let answer = |challenge: &str| {
            let result = First::new("user", NONCE).respond(challenge.as_bytes(), "pencil");
            result.map(|_| ()).unwrap_err()
        };
        for challenge in [
            "",
            "m=x,r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,i=4096,s=QQ==",
            "r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=many",
            "r=rOprNGfwEbeRWgbNEkqOx,s=QQ==",
        ] {
            assert_eq!(answer(challenge), ServerFault::Challenge, "{challenge}");
        }
        assert_eq!(
            answer("r=rOprNGfwEbeRWgbNEkqO,s=QQ==,i=4096"),
            ServerFault::Nonce
        );
        assert_eq!(
            answer("r=somebody-else-entirely,s=QQ==,i=4096"),
            ServerFault::Nonce
        );
        for (count, number) in [("1", 1), ("4095", 4095), ("4294967295", u32::MAX)] {
            let challenge = format!("r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i={count}");
            assert_eq!(answer(&challenge), ServerFault::Iterations(number));
        }
    }

    #[test]
    fn names_with_commas_and_equals_signs_are_escaped() {
        assert_eq!(First::new("a=b,c", "x").message(), "n,,n=a=3Db=2Cc,r=x");
    }
}
