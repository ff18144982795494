//! Who may log in, and what a login is for.

use prixfixe_core::Mechanism;

use super::Settings;
use crate::authenticator::{ANY_MECHANISMS, AnyAuthenticator, Anybody, Authenticator};

/// Whether clients may or must log in (AUTH, RFC 4954).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AuthMode {
    /// AUTH is not there.
    #[default]
    Off,
    /// Clients may log in, under TLS.
    Offer,
    /// As [`Offer`](Self::Offer), and MAIL before a login is `530 5.7.0`.
    Require,
    /// For tests: every password is right, in plaintext too. Nobody is asked, neither the session
    /// nor an [`Authenticator`]. The mechanisms are PLAIN, LOGIN, XOAUTH2, OAUTHBEARER and
    /// EXTERNAL.
    Any,
}

/// What a client that has logged in may send as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AuthSender {
    /// Whatever it says.
    #[default]
    Any,
    /// Its own [identity](crate::Client::identity) alone, and the null reverse-path; else MAIL is
    /// `553 5.7.1`. An identity without a domain is at the server's own. Case does not matter.
    Own,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auth {
    pub(crate) mode: AuthMode,
    pub(crate) authenticator: Option<AnyAuthenticator>,
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) sender: AuthSender,
    pub(crate) limits: FailureLimits,
    /// Of the endpoints, in their order, in place of what they say themselves.
    pub(crate) endpoints: Vec<Option<AuthMode>>,
}

impl AuthMode {
    pub(crate) const fn needs_tls(self) -> bool {
        matches!(self, Self::Offer | Self::Require)
    }
}

impl Auth {
    /// Whoever was set, nobody is asked where everybody is right.
    pub(crate) fn in_force(mut self) -> Self {
        if self.mode == AuthMode::Any {
            self.authenticator = Some(AnyAuthenticator::new(Anybody));
        }
        self
    }

    /// What the dialogue offers to a client of which nothing is known.
    pub(crate) fn offered(&self) -> Option<prixfixe_core::Auth> {
        let mechanisms = match (self.mode, &self.authenticator) {
            (AuthMode::Off, _) => return None,
            (AuthMode::Any, _) => ANY_MECHANISMS.to_vec(),
            // It is asked once the client speaks TLS.
            (AuthMode::Offer | AuthMode::Require, Some(_)) => Vec::new(),
            (AuthMode::Offer | AuthMode::Require, None) => self.mechanisms.clone(),
        };
        let mut offered = prixfixe_core::Auth::new(mechanisms);
        offered.in_plaintext = self.mode == AuthMode::Any;
        offered.required = self.mode == AuthMode::Require;
        Some(offered)
    }
}

/// How often a client may fail in ten minutes. `None`: the default, for clients from afar. 0: as
/// often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FailureLimits {
    pub(crate) of_name: Option<u32>,
    pub(crate) of_client: Option<u32>,
}

impl Settings {
    /// Whether clients may or must log in. Default: off. An [`Endpoint`](crate::Endpoint::auth) may
    /// have it otherwise.
    ///
    /// Who checks logins is set by [`authenticator`](Self::authenticator), or it is the session,
    /// with [`auth_mechanisms`](Self::auth_mechanisms). But for [`AuthMode::Any`] AUTH is offered
    /// under TLS alone.
    pub fn auth(mut self, mode: AuthMode) -> Self {
        self.auth.mode = mode;
        self
    }

    /// Whether clients may or must log in at each [`Endpoint`](crate::Endpoint), in their order, in
    /// place of what [`Endpoint::auth`](crate::Endpoint::auth) has said: so that it can change
    /// while the server runs. `None`: as [`auth`](Self::auth) says. An endpoint beyond these keeps
    /// what it had.
    pub fn endpoint_auth(mut self, modes: impl IntoIterator<Item = Option<AuthMode>>) -> Self {
        self.auth.endpoints = modes.into_iter().collect();
        self
    }

    /// Who checks logins, in place of [`Session::authenticate`](crate::Session::authenticate).
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.auth.authenticator = Some(AnyAuthenticator::new(authenticator));
        self
    }

    /// The mechanisms that [`Session::authenticate`](crate::Session::authenticate) speaks, the
    /// preferred one first. They are offered where no [`authenticator`](Self::authenticator) is
    /// set.
    pub fn auth_mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.auth.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// What a client that has logged in may send as. Default: anything.
    pub fn auth_sender(mut self, sender: AuthSender) -> Self {
        self.auth.sender = sender;
        self
    }

    /// Failed logins of one client with one name in ten minutes; one more is told `421 4.7.0` and
    /// the connection is closed, and so is every login of the two for as long, a right one too. 0:
    /// no limit.
    ///
    /// Default 5. Unless it is set, clients with a loopback, private (RFC 1918, RFC 4193) or
    /// link-local address have no limit. At most 65,536 clients and names are known at once;
    /// beyond that, those that have failed least are forgotten.
    pub fn auth_max_failures(mut self, failures: u32) -> Self {
        self.auth.limits.of_name = Some(failures);
        self
    }

    /// Failed logins of one client in ten minutes, whatever the names. Default 50; else as
    /// [`auth_max_failures`](Self::auth_max_failures).
    pub fn auth_max_client_failures(mut self, failures: u32) -> Self {
        self.auth.limits.of_client = Some(failures);
        self
    }
}
