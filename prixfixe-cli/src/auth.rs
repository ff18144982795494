//! Who checks logins, and the command that makes a line for their file.

use std::path::PathBuf;
use std::sync::Arc;

use prixfixe_auth::{Dovecot, PreparedUsers, Users};
use prixfixe_server::{Authenticator, Settings};

use crate::config::{self, Configuration, Mode};
use crate::error::Error;

/// What was read and is not in use yet.
pub(crate) enum PreparedLogins {
    Nobody,
    Users(PreparedUsers),
    Dovecot(PathBuf),
}

/// Whoever checks logins now.
#[derive(Clone, Default)]
pub(crate) struct Logins {
    /// The file and the socket, to know them again.
    place: (Option<PathBuf>, Option<PathBuf>),
    back_end: Option<Arc<dyn Authenticator>>,
}

/// Reads and checks the file. It starts no thread. Dovecot may come later.
pub(crate) fn prepare(configuration: &Configuration) -> Result<PreparedLogins, Error> {
    match (&configuration.auth.users, &configuration.auth.dovecot) {
        (Some(file), _) => Ok(PreparedLogins::Users(Users::prepare(file)?)),
        (None, Some(socket)) => Ok(PreparedLogins::Dovecot(socket.clone())),
        (None, None) => Ok(PreparedLogins::Nobody),
    }
}

impl PreparedLogins {
    /// What is wrong with a part of the file.
    pub(crate) fn warnings(&self) -> Vec<String> {
        match self {
            Self::Nobody | Self::Dovecot(_) => Vec::new(),
            Self::Users(users) => users.warnings(),
        }
    }

    pub(crate) fn start(self) -> Result<Logins, Error> {
        match self {
            Self::Nobody => Ok(Logins::default()),
            Self::Users(users) => {
                let users = users.start()?;
                Ok(Logins {
                    place: (Some(users.path().to_owned()), None),
                    back_end: Some(Arc::new(users)),
                })
            }
            Self::Dovecot(socket) => {
                let dovecot = Dovecot::open(socket).map_err(Error::Threads)?;
                Ok(Logins {
                    place: (None, Some(dovecot.path().to_owned())),
                    back_end: Some(Arc::new(dovecot)),
                })
            }
        }
    }
}

impl Logins {
    /// The same, where another configuration asks for the same.
    pub(crate) fn next(&self, configuration: &Configuration) -> Result<Self, Error> {
        let auth = &configuration.auth;
        match self.place == (auth.users.clone(), auth.dovecot.clone()) {
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
