//! Dovecot checks the logins.

mod link;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prixfixe_server::{Authenticating, Authenticator, Client, Identity, Login, Mechanism, Reply};

use self::link::{Conversation, Link};
use self::wire::{Answer, Request};

/// Accounts of a Dovecot, by its auth-client protocol over a Unix socket: whatever it keeps them in
/// (passwd files, LDAP, SQL, PAM).
///
/// Offered are those of SCRAM-SHA-256, PLAIN, LOGIN, OAUTHBEARER and XOAUTH2 that Dovecot
/// announces, and EXTERNAL to clients whose certificate was verified. While Dovecot has not been
/// reached yet these are PLAIN and LOGIN, so that clients hear `454 4.7.0` in place of a refusal
/// that is final.
///
/// All logins share one connection, which two threads keep up: it is tried again each second. An
/// answer that takes over 30 s, over 1,024 logins at once, or a Dovecot that is away is
/// `454 4.7.0`.
///
/// ```no_run
/// use prixfixe_auth::Dovecot;
/// use prixfixe_server::{AuthMode, Server};
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .auth(AuthMode::Require)
///     .authenticator(Dovecot::open("/run/dovecot/auth-client")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Dovecot {
    path: PathBuf,
    link: Link,
}

/// Dovecot itself keeps a failed login waiting for seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What we know how to speak, the preferred one first. What binds a channel is not among them:
/// Dovecot does not see the TLS connection.
const MECHANISMS: [Mechanism; 6] = [
    Mechanism::SCRAM_SHA_256,
    Mechanism::PLAIN,
    Mechanism::LOGIN,
    Mechanism::OAUTHBEARER,
    Mechanism::XOAUTH2,
    Mechanism::EXTERNAL,
];

impl Dovecot {
    /// Begins to connect to the socket. Whether there is a Dovecot is not waited for.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::with(path.into(), PATIENCE)
    }

    fn with(path: PathBuf, patience: Duration) -> io::Result<Self> {
        Ok(Self {
            link: Link::open(path.clone(), patience)?,
            path,
        })
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn check(&self, mut login: Login<'_>) -> Result<Identity, Reply> {
        let mechanism = login.mechanism().clone();
        let is_password = mechanism == Mechanism::PLAIN || mechanism == Mechanism::LOGIN;
        let (mechanism, response) = if is_password {
            // The name is known before Dovecot is asked, and LOGIN needs no round trips to it.
            let given = login.password().await?;
            let parts = [b"", given.user().as_bytes(), given.password()];
            (Mechanism::PLAIN, Some(parts.join(&0).into()))
        } else {
            (mechanism, login.initial_response().map(Into::into))
        };
        let conversation = self.link.begin()?;
        let request = Request::new(mechanism.as_str(), login.client(), response);
        let answer = conversation.ask(&request).await?;
        self.relay(conversation, answer, &mut login).await
    }

    async fn relay(
        &self,
        conversation: Conversation,
        mut answer: Answer,
        login: &mut Login<'_>,
    ) -> Result<Identity, Reply> {
        loop {
            let (user, outcome) = match answer {
                Answer::Continue(challenge) => {
                    let response = login.challenge(&challenge).await?;
                    answer = conversation.ask(&Request::Continue(response)).await?;
                    continue;
                }
                Answer::Success { user } => (Some(user.clone()), Ok(Identity::new(user))),
                Answer::Failure { user, is_temporary } => match is_temporary {
                    true => (user, Err(Reply::LOGIN_UNAVAILABLE)),
                    false => (user, Err(Reply::BAD_CREDENTIALS)),
                },
            };
            conversation.finished();
            if let (None, Some(user)) = (login.claimed(), &user) {
                login.claim(user).await?;
            }
            return outcome;
        }
    }
}

impl Authenticator for Dovecot {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        let announced = self.link.mechanisms();
        let is_announced = |name: &str| announced.iter().any(|announced| announced == name);
        let has_plain = is_announced("PLAIN") || announced.is_empty();
        let has_certificate = client.tls().is_some_and(|tls| tls.client_name.is_some());
        let is_offered = |mechanism: &Mechanism| match mechanism.as_str() {
            // Dovecot is asked by PLAIN for both.
            "PLAIN" | "LOGIN" => has_plain,
            "EXTERNAL" => has_certificate && is_announced("EXTERNAL"),
            name => is_announced(name),
        };
        MECHANISMS.into_iter().filter(is_offered).collect()
    }

    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authenticating<'a> {
        Box::pin(self.check(login))
    }
}

#[cfg(test)]
mod tests;
