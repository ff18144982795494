//! Everybody is who they say: for tests.

use prixfixe_core::{Mechanism, replies};

use super::{Authenticating, Authenticator};
use crate::{Client, Identity, Login};

/// Takes every password and every token ([`AuthMode::Any`](crate::AuthMode::Any)).
#[derive(Debug)]
pub(crate) struct Anybody;

/// Those in which the server need not know the password.
pub(crate) const MECHANISMS: [Mechanism; 5] = [
    Mechanism::PLAIN,
    Mechanism::LOGIN,
    Mechanism::XOAUTH2,
    Mechanism::OAUTHBEARER,
    Mechanism::EXTERNAL,
];

/// Where a client does not say who it is.
const NOBODY: &str = "anonymous";

impl Authenticator for Anybody {
    fn mechanisms(&self, _: &Client) -> Vec<Mechanism> {
        MECHANISMS.to_vec()
    }

    fn authenticate<'a>(&'a self, mut login: Login<'a>) -> Authenticating<'a> {
        Box::pin(async move {
            if *login.mechanism() == Mechanism::PLAIN || *login.mechanism() == Mechanism::LOGIN {
                let given = login.password().await?;
                let name = sound(given.user()).ok_or(replies::BAD_RESPONSE)?;
                return Ok(Identity::new(name));
            }
            let response = login.first_response().await?;
            let text = str::from_utf8(&response).map_err(|_| replies::BAD_RESPONSE)?;
            let name = named_in(text).ok_or(replies::BAD_RESPONSE)?;
            login.claim(name).await?;
            Ok(Identity::new(name))
        })
    }
}

/// EXTERNAL has the name alone, XOAUTH2 `user=NAME` and OAUTHBEARER (RFC 7628 section 3.1)
/// `n,a=NAME,`, each behind or before a control-A.
fn named_in(response: &str) -> Option<&str> {
    let (first, rest) = response.split_once('\x01').unwrap_or((response, ""));
    let name = match first.strip_prefix("user=") {
        Some(name) => name,
        None if rest.is_empty() => first,
        None => {
            let mut parts = first.split(',');
            parts.find_map(|part| part.strip_prefix("a=")).unwrap_or("")
        }
    };
    match name {
        "" => Some(NOBODY),
        name => sound(name),
    }
}

/// A name may stand in headers and in the environment of programs.
fn sound(name: &str) -> Option<&str> {
    (name.len() <= 255 && !name.contains(char::is_control)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_name_by_plain_has_no_control_characters() {
        let client = Client::builder().build();
        let of = |name: &str| {
            let login = Anybody.authenticate(Login::plain(&client, name, "x"));
            let mut cx = Context::from_waker(Waker::noop());
            let polled = pin!(login).poll(&mut cx).map_err(|reply| reply.code());
            polled.map_ok(|identity| identity.name().to_owned())
        };
        assert_eq!(of("ann"), Poll::Ready(Ok("ann".to_owned())));
        assert_eq!(of("a\r\nb"), Poll::Ready(Err(501)));
    }

    #[test]
    fn a_response_names_somebody() {
        for (response, name) in [
            (
                "user=ann@example.com\x01auth=Bearer x\x01\x01",
                Some("ann@example.com"),
            ),
            (
                "n,a=ann@example.com,\x01host=h\x01auth=Bearer x\x01\x01",
                Some("ann@example.com"),
            ),
            ("n,,\x01auth=Bearer x\x01\x01", Some(NOBODY)),
            ("ann", Some("ann")),
            ("", Some(NOBODY)),
            ("a\r\nb", None),
        ] {
            assert_eq!(named_in(response), name, "{response:?}");
        }
    }
}
