//! Who checks logins.

mod any;

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use prixfixe_core::{Mechanism, Reply};

pub(crate) use self::any::{Anybody, MECHANISMS as ANY_MECHANISMS};
use crate::{Client, Identity, Login};

/// What an [`Authenticator`] gives.
pub type Authenticating<'a> = Pin<Box<dyn Future<Output = Result<Identity, Reply>> + Send + 'a>>;

/// What checks logins, in place of [`Session::authenticate`](crate::Session::authenticate): a file
/// of users, another server. It is set by
/// [`Settings::authenticator`](crate::Settings::authenticator).
///
/// ```
/// use prixfixe_server::{Authenticating, Authenticator, Client, Identity, Login, Mechanism, Reply};
///
/// struct OneUser;
///
/// impl Authenticator for OneUser {
///     fn mechanisms(&self, _: &Client) -> Vec<Mechanism> {
///         vec![Mechanism::PLAIN, Mechanism::LOGIN]
///     }
///
///     fn authenticate<'a>(&'a self, mut login: Login<'a>) -> Authenticating<'a> {
///         Box::pin(async move {
///             let given = login.password().await?;
///             match (given.user(), given.password()) {
///                 ("ann", b"secret") => Ok(Identity::new("ann@example.com")),
///                 _ => Err(Reply::BAD_CREDENTIALS),
///             }
///         })
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// The mechanisms that this client is offered, the preferred one first. Asked when its TLS
    /// connection is there. None: AUTH is not offered to it.
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism>;

    /// Checks a login by one of them. Its `Err` is the reply: [`Reply::BAD_CREDENTIALS`] where the
    /// login is wrong (a failure, which counts against the client), [`Reply::LOGIN_UNAVAILABLE`]
    /// where it cannot be checked now.
    ///
    /// The future is polled by the connection's own task or loop: do slow hashes elsewhere. It may
    /// be dropped at any `.await`: the client cancels, is gone, or the server's `handler_timeout`
    /// is over.
    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authenticating<'a>;
}

impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        (**self).mechanisms(client)
    }

    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authenticating<'a> {
        (**self).authenticate(login)
    }
}

/// One of any type, as settings have it.
#[derive(Clone)]
pub(crate) struct AnyAuthenticator(Arc<dyn Authenticator>);

impl AnyAuthenticator {
    pub(crate) fn new(authenticator: impl Authenticator) -> Self {
        Self(Arc::new(authenticator))
    }

    /// The mechanisms for this client. Where that panics, of which the panic hook tells, there are
    /// none.
    pub(crate) fn mechanisms_of(&self, client: &Client) -> Vec<Mechanism> {
        let mechanisms = catch_unwind(AssertUnwindSafe(|| self.0.mechanisms(client)));
        mechanisms.unwrap_or_default()
    }

    pub(crate) async fn authenticate(&self, login: Login<'_>) -> Result<Identity, Reply> {
        self.0.authenticate(login).await
    }
}

impl fmt::Debug for AnyAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}
