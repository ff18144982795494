//! Mechanisms over a [`Login`]: the exchange as a whole, for back ends.

use std::future::Future;

use prixfixe_core::replies;
use prixfixe_server::{Login, Mechanism, Reply};

use crate::mechanism::bearer::{Bearer, oauthbearer_failure, xoauth2_failure};
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

/// Speaks OAUTHBEARER or XOAUTH2, whichever the client has chosen, and gives the name that `check`
/// gives for the token.
///
/// A token that is refused (`535`) is answered as the mechanism wants it: with JSON, and once more
/// from the client. `configuration` is the URL where the provider describes itself, for clients
/// that need a token.
///
/// # Errors
///
/// The reply to give: what `check` says, [`Reply::BAD_CREDENTIALS`] where the client wants to be
/// somebody else.
pub async fn bearer<F>(
    login: &mut Login<'_>,
    configuration: Option<&str>,
    check: impl FnOnce(Bearer) -> F,
) -> Result<String, Reply>
where
    F: Future<Output = Result<String, Reply>>,
{
    let is_xoauth2 = *login.mechanism() == Mechanism::XOAUTH2;
    let message = login.first_response().await?;
    let bearer = match is_xoauth2 {
        true => Bearer::from_xoauth2(&message),
        false => Bearer::from_oauthbearer(&message),
    };
    let bearer = bearer.map_err(refusal)?;
    let user = bearer.user().map(str::to_owned);
    if let Some(user) = &user {
        login.claim(user).await?;
    }
    // Without a token the client asks what it would need.
    let checked = match bearer.token().is_empty() {
        true => Err(Reply::BAD_CREDENTIALS),
        false => check(bearer).await,
    };
    let checked = match checked {
        Ok(name) if user.as_ref().is_none_or(|user| *user == name) => Ok(name),
        Ok(_) => Err(Reply::BAD_CREDENTIALS),
        Err(reply) => Err(reply),
    };
    if let Err(reply) = &checked
        && reply.code() == Reply::BAD_CREDENTIALS.code()
    {
        let failure = match is_xoauth2 {
            true => xoauth2_failure(),
            false => oauthbearer_failure(configuration),
        };
        // Whatever it answers (`^A`, or nothing), it has failed.
        login.challenge(&failure).await?;
    }
    if let (Ok(name), None) = (&checked, &user) {
        login.claim(name).await?;
    }
    checked
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use prixfixe_server::Client;

    use super::*;

    /// The outcome, and the challenges that the client saw.
    fn outcome(mechanism: Mechanism, message: &str) -> (Result<String, u16>, Vec<String>) {
        let client = Client::builder().build();
        let mut shown = Vec::new();
        let mut login = Login::builder(&client, mechanism)
            .initial_response(message)
            .answers(|challenge| {
                shown.push(String::from_utf8_lossy(challenge).into_owned());
                Some(vec![1])
            })
            .build();
        let check = |bearer: Bearer| {
            ready(match bearer.token() {
                "good" => Ok("ann@example.com".to_owned()),
                "later" => Err(Reply::LOGIN_UNAVAILABLE),
                _ => Err(Reply::BAD_CREDENTIALS),
            })
        };
        let url = "https://id.example/.well-known/openid-configuration";
        let outcome = pollster::block_on(bearer(&mut login, Some(url), check));
        drop(login);
        (outcome.map_err(|reply| reply.code()), shown)
    }

    #[test]
    fn tokens_log_in_and_refusals_are_two_steps() {
        let oauth = |user: &str, token: &str| {
            let message = format!("n,{user},\x01auth=Bearer {token}\x01\x01");
            outcome(Mechanism::OAUTHBEARER, &message)
        };
        let xoauth2 = |user: &str, token: &str| {
            let message = format!("user={user}\x01auth=Bearer {token}\x01\x01");
            outcome(Mechanism::XOAUTH2, &message)
        };
        let ann = || (Ok("ann@example.com".to_owned()), Vec::new());
        assert_eq!(oauth("", "good"), ann());
        assert_eq!(oauth("a=ann@example.com", "good"), ann());
        assert_eq!(xoauth2("ann@example.com", "good"), ann());
        assert_eq!(oauth("", "later"), (Err(454), Vec::new()));
        for (outcome, shown) in [oauth("", "bad"), oauth("a=bob@example.com", "good")] {
            assert_eq!(outcome, Err(535));
            assert!(shown[0].contains("invalid_token") && shown[0].contains("id.example"));
        }
        for (outcome, shown) in [xoauth2("bob@example.com", "good"), xoauth2("ann", "bad")] {
            assert_eq!(outcome, Err(535));
            assert!(shown[0].contains(r#""status":"401""#), "{shown:?}");
        }
        let (malformed, shown) = outcome(Mechanism::OAUTHBEARER, "nonsense");
        assert_eq!((malformed, shown), (Err(501), Vec::new()));
    }
}
