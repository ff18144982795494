//! Mechanisms over a [`Login`]: the exchange as a whole, for back ends.

use prixfixe_core::replies;
use prixfixe_server::{Login, Mechanism, Reply};

use crate::mechanism::scram::{ChannelBinding, ClientFirst, Verifier};
use crate::mechanism::{Fault, external};

/// Speaks SCRAM-SHA-256 or SCRAM-SHA-256-PLUS, whichever the client has chosen, and gives the name
/// of the user that it has proved to be.
///
/// `find` gives the verifier of a user. For one that there is not, it gives one that looks the same
/// and fits no password, so that nobody learns who is there.
///
/// SCRAM-SHA-256-PLUS has to be offered wherever SCRAM-SHA-256 is and the client has a channel
/// binding: a client that believes otherwise is refused.
///
/// # Errors
///
/// The reply to give.
pub async fn scram(
    login: &mut Login<'_>,
    find: impl FnOnce(&str) -> Verifier,
) -> Result<String, Reply> {
    let message = login.first_response().await?;
    let first = {
        let is_plus = *login.mechanism() == Mechanism::SCRAM_SHA_256_PLUS;
        let binding = match login.channel_binding() {
            Some(value) if is_plus => ChannelBinding::Used(value),
            Some(_) => ChannelBinding::Unused,
            None if is_plus => return Err(replies::UNKNOWN_MECHANISM),
            None => ChannelBinding::Absent,
        };
        ClientFirst::parse(&message, binding).map_err(refusal)?
    };
    let name = first.name().to_owned();
    login.claim(&name).await?;
    let challenge = first.challenge(find(&name), random()?);
    let proof = login.challenge(challenge.message().as_bytes()).await?;
    let signature = challenge.verify(&proof).map_err(refusal)?;
    // SMTP has no place for it in the 235, so that it is a challenge with an empty answer (RFC 4954
    // section 4).
    match login.challenge(signature.as_bytes()).await?.is_empty() {
        true => Ok(name),
        false => Err(replies::BAD_RESPONSE),
    }
}

/// Speaks EXTERNAL with a client whose certificate was verified, and gives the name in it.
///
/// # Errors
///
/// The reply to give.
pub async fn by_certificate(login: &mut Login<'_>) -> Result<String, Reply> {
    let tls = login.client().tls();
    let name = tls.and_then(|tls| tls.client_name.clone());
    let name = name.ok_or(replies::UNKNOWN_MECHANISM)?;
    let message = login.first_response().await?;
    login.claim(&name).await?;
    external::check(&message, &name).map_err(refusal)?;
    Ok(name)
}

/// What a client is told of a fault.
pub(crate) fn refusal(fault: Fault) -> Reply {
    tracing::debug!(%fault, "login refused");
    match fault {
        Fault::Malformed => replies::BAD_RESPONSE,
        _ => Reply::BAD_CREDENTIALS,
    }
}

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Reply> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => {
            tracing::error!(%error, "no random bytes");
            Err(Reply::LOGIN_UNAVAILABLE)
        }
    }
}
