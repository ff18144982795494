//! A login: what a client has said so far, and how to ask for more.

mod exchange;
mod password;
mod scripted;

use std::fmt;

use prixfixe_core::{Mechanism, Reply, Secret};

use crate::Client;

pub(crate) use self::exchange::{Exchange, Request};
pub use self::password::UserPassword;
pub use self::scripted::LoginBuilder;
use self::scripted::Script;

/// A client wants to log in: AUTH (RFC 4954).
///
/// [`password`](Self::password) speaks PLAIN and LOGIN. A mechanism of your own is spoken by
/// [`initial_response`](Self::initial_response) and [`challenge`](Self::challenge).
///
/// An `Err` of a method is the reply to the client: return it as it is. Nothing that a client says
/// here is in the `Debug` form or in a log, and what is kept of it is wiped from memory.
///
/// ```
/// use prixfixe_server::{Identity, Login, Reply};
///
/// async fn authenticate(mut login: Login<'_>) -> Result<Identity, Reply> {
///     let given = login.password().await?;
///     match (given.user(), given.password()) {
///         ("ann@example.com", b"secret") => Ok(Identity::new(given.user())),
///         _ => Err(Reply::BAD_CREDENTIALS),
///     }
/// }
/// # let client = prixfixe_server::Client::builder().build();
/// # let future = authenticate(Login::plain(&client, "ann@example.com", "secret"));
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # assert_eq!(runtime.block_on(future).unwrap().name(), "ann@example.com");
/// ```
pub struct Login<'a> {
    client: &'a Client,
    mechanism: Mechanism,
    initial_response: Option<Secret>,
    channel_binding: Option<[u8; 32]>,
    user: Option<Box<str>>,
    other: Other<'a>,
}

/// Who answers challenges.
enum Other<'a> {
    Client(&'a Exchange),
    Script(Script<'a>),
}

impl<'a> Login<'a> {
    pub(crate) fn new(
        client: &'a Client,
        mechanism: Mechanism,
        initial_response: Option<Secret>,
        exchange: &'a Exchange,
    ) -> Self {
        Self {
            client,
            mechanism,
            initial_response,
            channel_binding: client.channel_binding(),
            user: None,
            other: Other::Client(exchange),
        }
    }

    /// A login of a test's, by a mechanism. See [`LoginBuilder`] for what its client says.
    pub fn builder(client: &'a Client, mechanism: Mechanism) -> LoginBuilder<'a> {
        LoginBuilder::new(client, mechanism)
    }

    /// A login of a test's: this user with this password, by PLAIN.
    #[must_use]
    pub fn plain(client: &'a Client, user: &str, password: &str) -> Self {
        let message = format!("\0{user}\0{password}");
        Self::builder(client, Mechanism::PLAIN)
            .initial_response(message.into_bytes())
            .build()
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// The mechanism: one of those that were offered.
    #[must_use]
    pub fn mechanism(&self) -> &Mechanism {
        &self.mechanism
    }

    /// What the client has sent with AUTH, decoded. It may be empty. `None`: nothing, so that
    /// mechanisms in which the client speaks first begin with an empty
    /// [`challenge`](Self::challenge) (RFC 4954 section 4).
    #[must_use]
    pub fn initial_response(&self) -> Option<&[u8]> {
        self.initial_response.as_deref()
    }

    /// The `tls-exporter` channel binding (RFC 9266). `None` in plaintext, and with TLS 1.2.
    #[must_use]
    pub fn channel_binding(&self) -> Option<&[u8]> {
        self.channel_binding.as_ref().map(<[u8; 32]>::as_slice)
    }

    /// Sends `334` with this, and gives what the client answers, decoded.
    ///
    /// # Errors
    ///
    /// The reply to give: the client does not go on with the exchange.
    pub async fn challenge(&mut self, data: &[u8]) -> Result<Secret, Reply> {
        match &mut self.other {
            Other::Client(exchange) => exchange.challenge(data.to_vec()).await,
            Other::Script(script) => script.challenge(data),
        }
    }

    /// What the client has said first: the [`initial_response`](Self::initial_response), or without
    /// one its answer to an empty challenge.
    ///
    /// # Errors
    ///
    /// As [`challenge`](Self::challenge).
    pub async fn first_response(&mut self) -> Result<Secret, Reply> {
        match self.initial_response.take() {
            Some(response) => Ok(response),
            None => self.challenge(b"").await,
        }
    }

    /// Says whose login it claims to be, as soon as that is known and before a password is looked
    /// at: for the log, and for the limit of failures of one client and name.
    /// [`password`](Self::password) does so by itself.
    ///
    /// # Errors
    ///
    /// The reply to give: this client has failed too often with this name.
    pub async fn claim(&mut self, user: &str) -> Result<(), Reply> {
        self.user = Some(user.into());
        match &self.other {
            Other::Client(exchange) => exchange.claim(user).await,
            Other::Script(_) => Ok(()),
        }
    }

    /// Whose login it [claims](Self::claim) to be, once that was said.
    #[must_use]
    pub fn claimed(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl fmt::Debug for Login<'_> {
    /// Without what the client has said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
