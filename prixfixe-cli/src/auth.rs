//! Who checks logins, and the command that makes a line for their file.

use std::path::PathBuf;
use std::sync::Arc;

use prixfixe_auth::{Dovecot, Oidc, OidcOptions, PreparedUsers, Several, Users};
use prixfixe_config::{self as config, Configuration, Mode};
use prixfixe_server::{Authenticator, Settings};

use crate::error::Error;

/// What was read and is not in use yet.
pub(crate) struct PreparedLogins {
    sources: LoginSources,
    passwords: Passwords,
    tokens: Option<OidcOptions>,
}

enum Passwords {
    Nobody,
    Users(PreparedUsers),
    Dovecot(PathBuf),
}

/// Whoever checks logins now.
#[derive(Clone, Default)]
pub(crate) struct Logins {
    sources: LoginSources,
    back_end: Option<Arc<dyn Authenticator>>,
}

/// Where accounts are, to know a configuration again that asks for the same.
#[derive(Clone, Default, PartialEq, Eq)]
struct LoginSources {
    users: Option<PathBuf>,
    dovecot: Option<PathBuf>,
    issuer: Option<String>,
    audience: Option<String>,
    claim: Option<String>,
}

impl From<&config::Auth> for LoginSources {
    fn from(auth: &config::Auth) -> Self {
        Self {
            users: auth.users.clone(),
            dovecot: auth.dovecot.clone(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            claim: auth.claim.clone(),
        }
    }
}

/// Reads and checks the file. It starts no thread. Dovecot and an issuer may come later.
pub(crate) fn prepare(configuration: &Configuration) -> Result<PreparedLogins, Error> {
    let auth = &configuration.auth;
    let passwords = match (&auth.users, &auth.dovecot) {
        (Some(file), _) => Passwords::Users(Users::prepare(file)?),
        (None, Some(socket)) => Passwords::Dovecot(socket.clone()),
        (None, None) => Passwords::Nobody,
    };
    let tokens = match (&auth.issuer, &auth.audience) {
        (Some(issuer), Some(audience)) => {
            let options = OidcOptions::new(issuer, audience)?;
            Some(match &auth.claim {
                Some(claim) => options.claim(claim),
                None => options,
            })
        }
        _ => None,
    };
    Ok(PreparedLogins {
        sources: auth.into(),
        passwords,
        tokens,
    })
}

impl PreparedLogins {
    /// What is wrong with a part of the file.
    pub(crate) fn warnings(&self) -> Vec<String> {
        match &self.passwords {
            Passwords::Nobody | Passwords::Dovecot(_) => Vec::new(),
            Passwords::Users(users) => users.warnings(),
        }
    }

    pub(crate) fn start(self) -> Result<Logins, Error> {
        let mut back_ends: Vec<Arc<dyn Authenticator>> = Vec::new();
        // Before Dovecot, which may have the mechanisms too: who names an issuer means that one.
        if let Some(options) = self.tokens {
            back_ends.push(Arc::new(Oidc::open(options).map_err(Error::Threads)?));
        }
        match self.passwords {
            Passwords::Nobody => {}
            Passwords::Users(users) => back_ends.push(Arc::new(users.start()?)),
            Passwords::Dovecot(socket) => {
                let dovecot = Dovecot::open(socket).map_err(Error::Threads)?;
                back_ends.push(Arc::new(dovecot));
            }
        }
        let back_end = match back_ends.len() {
            0 | 1 => back_ends.pop(),
            _ => Some(Arc::new(Several::new(back_ends)) as _),
        };
        Ok(Logins {
            sources: self.sources,
            back_end,
        })
    }
}

impl Logins {
    /// The same, where another configuration asks for the same.
    pub(crate) fn next(&self, configuration: &Configuration) -> Result<Self, Error> {
        match self.sources == LoginSources::from(&configuration.auth) {
            true => Ok(self.clone()),
            false => prepare(configuration)?.start(),
        }
    }

    pub(crate) fn add_to(&self, settings: Settings, auth: &config::Auth) -> Settings {
        let settings = settings
            .auth(auth.mode.into())
            .auth_sender(auth.sender.into());
        let settings = match auth.max_failures {
            Some(failures) => settings.auth_max_failures(failures.get()),
            None => settings,
        };
        let settings = match auth.max_client_failures {
            Some(failures) => settings.auth_max_client_failures(failures.get()),
            None => settings,
        };
        match &self.back_end {
            Some(back_end) => settings.authenticator(Arc::clone(back_end)),
            None => settings,
        }
    }
}

/// What to say where nobody is checked.
pub(crate) fn warning(configuration: &Configuration) -> Option<String> {
    let listeners = configuration.listeners.iter();
    let mut modes = listeners.map(|it| it.auth.unwrap_or(configuration.auth.mode));
    let is_any = configuration.auth.mode == Mode::Any || modes.any(|mode| mode == Mode::Any);
    is_any.then(|| {
        "auth = \"any\": every name and every password is right, in plaintext too; this is for tests"
            .to_owned()
    })
}
