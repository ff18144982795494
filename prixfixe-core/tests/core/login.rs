//! The logins of the test's server: PLAIN and LOGIN, for one user or for anybody.

use prixfixe_core::{Answer, Auth, Mechanism, Reply};
use prixfixe_dialogue::{self as dialogue, USER};

/// A login under way.
#[derive(Debug)]
pub(crate) struct Login {
    mechanism: Mechanism,
    pub(crate) said: Vec<Vec<u8>>,
}

impl Login {
    /// What is offered where a dialogue says this.
    pub(crate) fn offered(setting: dialogue::Auth) -> Auth {
        let mut auth = Auth::new([Mechanism::PLAIN, Mechanism::LOGIN]);
        auth.required = setting == dialogue::Auth::Require;
        auth.in_plaintext = setting == dialogue::Auth::Any;
        auth
    }

    pub(crate) fn new(mechanism: &Mechanism, initial_response: Option<Vec<u8>>) -> Self {
        Self {
            mechanism: mechanism.clone(),
            said: initial_response.into_iter().collect(),
        }
    }

    pub(crate) fn answer(&self, setting: Option<dialogue::Auth>) -> Answer {
        let is_plain = self.mechanism == Mechanism::PLAIN;
        let (user, password) = match &*self.said {
            [message] if is_plain => match &*message.split(|octet| *octet == 0).collect::<Vec<_>>()
            {
                [_, user, password] if !user.is_empty() => (user.to_vec(), password.to_vec()),
                _ => return Answer::Refuse(prixfixe_core::replies::BAD_RESPONSE),
            },
            [user, password] => (user.clone(), password.clone()),
            [] if is_plain => return Answer::Challenge(Vec::new()),
            [] => return Answer::Challenge(b"Username:".to_vec()),
            _ => return Answer::Challenge(b"Password:".to_vec()),
        };
        let is_right = (user.as_slice(), password.as_slice()) == (USER.0.as_bytes(), USER.1);
        match is_right || setting == Some(dialogue::Auth::Any) {
            true => Answer::Accept,
            false => Answer::Refuse(Reply::BAD_CREDENTIALS),
        }
    }
}
