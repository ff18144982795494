//! Bearer tokens of an OpenID Connect provider.

mod issuer;
mod keys;
mod token;

use std::fmt;
use std::io;
use std::sync::Arc;

use prixfixe_http::{InvalidHttpUrl, Origin};
use prixfixe_server::{Authenticating, Authenticator, Client, Identity, Login, Mechanism, Reply};

use self::issuer::{Issuer, Pace};
use self::token::{Fault, Rules};
use crate::exchange::bearer;
use crate::mechanism::bearer::Bearer;

/// Accounts of an OpenID Connect provider (the issuer): a client logs in by OAUTHBEARER or XOAUTH2
/// with a token that the provider has signed.
///
/// A token counts when it is a JWT with a signature by one of the issuer's keys (RS, PS and ES with
/// SHA-256 or 384, RS and PS with SHA-512, `EdDSA`), is from this issuer and for this audience, and
/// is neither expired nor early, with a minute's leeway. The identity is what its
/// [claim](OidcOptions::claim) says; if the client names somebody, it must be the same.
///
/// The keys are those that the issuer publishes
/// ([discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)). They are fetched when
/// there is a first login at the latest, and again when a token names a key that is not among them,
/// at most once in ten seconds. Every five minutes they are fetched anew beside the logins. When
/// none have been had for an hour, a login is `454 4.7.0`.
///
/// ```no_run
/// use prixfixe_auth::{Oidc, OidcOptions};
/// use prixfixe_server::{AuthMode, Server};
/// # fn example(handler: impl prixfixe_server::Handler) -> Result<(), Box<dyn std::error::Error>> {
/// let options = OidcOptions::new("https://id.example.com", "mail")?;
/// let server = Server::builder()
///     .auth(AuthMode::Require)
///     .authenticator(Oidc::open(options)?);
/// # Ok(())
/// # }
/// ```
pub struct Oidc {
    issuer: Issuer,
    rules: Rules,
    configuration: String,
}

/// Whose tokens count, and what in them says who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcOptions {
    issuer: String,
    audience: String,
    claim: String,
}

/// The text is no issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIssuer {
    /// It is no URL for requests.
    #[error(transparent)]
    Url(#[from] InvalidHttpUrl),
    /// It has a query.
    #[error("an issuer is a URL without a query (?...)")]
    Query,
    /// Its keys could be anybody's.
    #[error("{0:?}: an issuer has a URL of https:, or of http: on this host")]
    Plaintext(String),
}

/// The claim that names a user, unless another is said.
const EMAIL: &str = "email";

impl OidcOptions {
    /// Tokens of this issuer, which is a URL, for this audience: the name under which the provider
    /// knows this server, or the clients that log in to it.
    ///
    /// # Errors
    ///
    /// When the issuer is no URL of `https:`, or of `http:` on this host.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, InvalidIssuer> {
        let issuer = issuer.into();
        let (origin, path) = Origin::parse(&issuer)?;
        if path.contains('?') {
            return Err(InvalidIssuer::Query);
        }
        if !origin.is_https && !origin.is_loopback() {
            return Err(InvalidIssuer::Plaintext(issuer));
        }
        Ok(Self {
            issuer,
            audience: audience.into(),
            claim: EMAIL.to_owned(),
        })
    }

    /// The claim that is the identity, in place of `email`. Of an `email` that the provider says is
    /// not verified (`email_verified`), nobody is known.
    #[must_use]
    pub fn claim(mut self, claim: impl Into<String>) -> Self {
        self.claim = claim.into();
        self
    }

    /// Where the provider describes itself (OpenID Connect Discovery 1.0 section 4).
    fn configuration(&self) -> String {
        let issuer = self.issuer.trim_end_matches('/');
        format!("{issuer}/.well-known/openid-configuration")
    }
}

impl Oidc {
    /// Begins to fetch the issuer's keys. Whether it is there is not waited for.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn open(options: OidcOptions) -> io::Result<Self> {
        Self::with(options, Pace::default())
    }

    fn with(options: OidcOptions, pace: Pace) -> io::Result<Self> {
        // Where another crate of the program has chosen for all, that one stays.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let configuration = options.configuration();
        Ok(Self {
            issuer: Issuer::open(options.issuer.clone(), configuration.clone(), pace)?,
            rules: Rules::new(options.issuer, options.audience, options.claim),
            configuration,
        })
    }

    async fn check(&self, token: Bearer) -> Result<String, Reply> {
        let keys = self.issuer.keys().await?;
        let checked = match self.rules.check(token.token(), &keys) {
            // It may be newer than what we have.
            Err(Fault::UnknownKey) => {
                let keys = self.issuer.newer_keys().await?;
                self.rules.check(token.token(), &keys)
            }
            checked => checked,
        };
        checked.map_err(|fault| {
            tracing::debug!(%fault, "token refused");
            Reply::BAD_CREDENTIALS
        })
    }
}

impl Authenticator for Oidc {
    fn mechanisms(&self, _: &Client) -> Vec<Mechanism> {
        vec![Mechanism::OAUTHBEARER, Mechanism::XOAUTH2]
    }

    fn authenticate<'a>(&'a self, mut login: Login<'a>) -> Authenticating<'a> {
        Box::pin(async move {
            let check = |token| self.check(token);
            let name = bearer(&mut login, Some(&self.configuration), check).await?;
            Ok(Identity::new(name))
        })
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// What an issuer has published, shared by logins.
type Keys = Arc<keys::KeySet>;

#[cfg(test)]
mod tests;
