//! More than one back end.

use std::sync::Arc;

use prixfixe_server::{Authenticating, Authenticator, Client, Login, Mechanism, Reply};

/// Several back ends: each mechanism is spoken by the first of them that offers it to the client.
/// With passwords in a file and tokens of a provider, for example.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use prixfixe_auth::{Dovecot, Several, Users};
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let users = Users::open("users")?;
/// let dovecot = Dovecot::open("/run/dovecot/auth-client")?;
/// let both = Several::new([Arc::new(users) as _, Arc::new(dovecot) as _]);
/// # Ok(())
/// # }
/// ```
pub struct Several(Vec<Arc<dyn Authenticator>>);

impl Several {
    /// These, the preferred one first.
    pub fn new(back_ends: impl IntoIterator<Item = Arc<dyn Authenticator>>) -> Self {
        Self(back_ends.into_iter().collect())
    }
}

impl Authenticator for Several {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        let mut offered = Vec::new();
        for mechanism in self.0.iter().flat_map(|it| it.mechanisms(client)) {
            if !offered.contains(&mechanism) {
                offered.push(mechanism);
            }
        }
        offered
    }

    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authenticating<'a> {
        let has_it = |it: &&Arc<dyn Authenticator>| {
            it.mechanisms(login.client()).contains(login.mechanism())
        };
        match self.0.iter().find(has_it) {
            Some(back_end) => back_end.authenticate(login),
            // It was offered a moment ago.
            None => Box::pin(async { Err(Reply::LOGIN_UNAVAILABLE) }),
        }
    }
}

impl std::fmt::Debug for Several {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Several").field(&self.0.len()).finish()
    }
}
