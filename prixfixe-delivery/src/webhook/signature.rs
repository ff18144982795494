//! Signatures of Standard Webhooks 1.0.0: over `ID.TIMESTAMP.CONTENT`, one for each secret.

use std::fmt::{self, Write};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;

use super::file::lines;
use prixfixe_http::Part;

/// The secrets of an endpoint. They do not print.
#[derive(Default)]
pub(super) struct Secrets {
    keys: Vec<Key>,
    /// The text of the first one.
    first: Option<String>,
}

enum Key {
    /// `whsec_`: `v1`.
    Shared(Box<hmac::Key>),
    /// `whsk_`: `v1a`.
    Private(Ed25519KeyPair),
}

/// Secrets are passed around with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The specification wants 24 to 64 bytes.
const SHARED: std::ops::RangeInclusive<usize> = 24..=64;

impl Secrets {
    /// Reads files with a secret on each line.
    ///
    /// # Errors
    ///
    /// What is wrong, without the secret.
    pub(super) fn parse(files: &[String]) -> Result<Self, String> {
        let mut secrets = Self::default();
        for file in files {
            for (number, line) in lines(file).enumerate() {
                let key = Key::parse(line);
                let wrong = |error| format!("secret {}: {error}", number + 1);
                secrets.keys.push(key.map_err(wrong)?);
                secrets.first.get_or_insert_with(|| line.to_owned());
            }
        }
        match files.is_empty() || !secrets.keys.is_empty() {
            true => Ok(secrets),
            false => Err(String::from("there is no secret in it")),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// True where a signature needs the whole content in one piece.
    pub(super) fn needs_whole(&self) -> bool {
        self.keys.iter().any(|key| matches!(key, Key::Private(_)))
    }

    /// The value of `webhook-signature`: a signature for each secret, spaces between them.
    ///
    /// # Errors
    ///
    /// A content that cannot be read.
    pub(super) async fn sign(
        &self,
        id: &str,
        timestamp: u64,
        content: &[Part],
    ) -> Result<String, prixfixe_server::BodyError> {
        let mut contexts: Vec<_> = self.keys.iter().map(Key::begin).collect();
        let front = format!("{id}.{timestamp}.");
        contexts
            .iter_mut()
            .for_each(|each| each.update(front.as_bytes()));
        for part in content {
            match part {
                Part::Bytes(bytes) => contexts.iter_mut().for_each(|each| each.update(bytes)),
                Part::Gathered(gathered) => {
                    let mut body = gathered.body();
                    while let Some(piece) = body.chunk().await? {
                        contexts.iter_mut().for_each(|each| each.update(&piece));
                        // Others of the same thread are to have a turn.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        let signatures: Vec<String> = contexts.into_iter().map(Context::finish).collect();
        Ok(signatures.join(" "))
    }

    /// The signature of Mailgun's: `timestamp` and `token` under the text of the first secret, in
    /// hexadecimal digits.
    pub(super) fn sign_like_mailgun(&self, timestamp: u64, token: &str) -> Option<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.first.as_ref()?.as_bytes());
        let tag = hmac::sign(&key, format!("{timestamp}{token}").as_bytes());
        let mut text = String::with_capacity(64);
        for byte in tag.as_ref() {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }
}

impl Key {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let decode = |text: &str| LENIENT.decode(text).map_err(|_| "it is not base64");
        if let Some(text) = line.strip_prefix("whsec_") {
            let bytes = decode(text)?;
            return match SHARED.contains(&bytes.len()) {
                true => Ok(Self::Shared(Box::new(hmac::Key::new(
                    hmac::HMAC_SHA256,
                    &bytes,
                )))),
                false => Err("it has not 24 to 64 bytes"),
            };
        }
        let Some(text) = line.strip_prefix("whsk_") else {
            return Err("it begins with neither whsec_ nor whsk_");
        };
        let bytes = decode(text)?;
        // The seed alone, or with the public key behind it.
        let pair = match bytes.split_at_checked(32) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err("it has not the 32 or 64 bytes of an ed25519 key"),
        };
        pair.map(Self::Private).map_err(|_| "it is no ed25519 key")
    }

    fn begin(&self) -> Context<'_> {
        match self {
            Self::Shared(key) => Context::Shared(Box::new(hmac::Context::with_key(key))),
            Self::Private(pair) => Context::Private(pair, Vec::new()),
        }
    }
}

enum Context<'a> {
    Shared(Box<hmac::Context>),
    Private(&'a Ed25519KeyPair, Vec<u8>),
}

impl Context<'_> {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Shared(context) => context.update(bytes),
            Self::Private(_, whole) => whole.extend_from_slice(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Shared(context) => format!("v1,{}", STANDARD.encode(context.sign())),
            Self::Private(pair, whole) => {
                format!("v1a,{}", STANDARD.encode(pair.sign(&whole)))
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.keys.len())
    }
}

/// A content in one piece.
pub(super) async fn whole(content: &[Part]) -> Result<Bytes, prixfixe_server::BodyError> {
    let mut whole = Vec::new();
    for part in content {
        match part {
            Part::Bytes(bytes) => whole.extend_from_slice(bytes),
            Part::Gathered(gathered) => {
                whole.reserve(usize::try_from(gathered.size()).unwrap_or(0));
                let mut body = gathered.body();
                while let Some(piece) = body.chunk().await? {
                    whole.extend_from_slice(&piece);
                }
            }
        }
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    async fn sign(secrets: &str, content: &'static str) -> String {
        let secrets = Secrets::parse(&[secrets.to_owned()]).unwrap();
        let content = [Part::Bytes(Bytes::from_static(content.as_bytes()))];
        secrets
            .sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, &content)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_signature_is_that_of_the_specification() {
        let signature = sign(SECRET, "{\"test\": 2432232314}").await;
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn every_secret_signs_and_comments_are_none() {
        let file = format!(
            "# of March\n{SECRET}\n\nwhsk_{}\n",
            STANDARD.encode([7; 32])
        );
        let signature = sign(&file, "hello").await;
        let (first, second) = signature.split_once(' ').unwrap();
        assert!(first.starts_with("v1,") && second.starts_with("v1a,"));
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        for (secret, error) in [
            (
                "secret",
                "secret 1: it begins with neither whsec_ nor whsk_",
            ),
            ("whsec_?", "secret 1: it is not base64"),
            ("whsec_c2hvcnQ=", "secret 1: it has not 24 to 64 bytes"),
            (
                "whsk_c2hvcnQ=",
                "secret 1: it has not the 32 or 64 bytes of an ed25519 key",
            ),
            ("# nothing", "there is no secret in it"),
        ] {
            let found = Secrets::parse(&[secret.to_owned()]).unwrap_err();
            assert_eq!(found, error);
        }
    }
}
