//! A name and a password, by PLAIN (RFC 4616) or LOGIN.

use std::fmt;

use prixfixe_core::{Mechanism, Reply, Secret, replies};

use super::Login;

/// A user's name and password, as the client gave them: neither is verified, prepared or shown.
#[derive(Clone)]
pub struct UserPassword {
    user: Box<str>,
    password: Secret,
}

impl UserPassword {
    /// The name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password: UTF-8, from old clients anything. Compare it in constant time, or by what a
    /// password hash says.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        &self.password
    }
}

impl fmt::Debug for UserPassword {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPassword")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Login<'_> {
    /// Speaks PLAIN or LOGIN, whichever the client has chosen, and gives what it says.
    ///
    /// In PLAIN a client may ask to act as somebody else (the authorization identity). That is
    /// refused with `535 5.7.8`.
    ///
    /// # Errors
    ///
    /// The reply to give: `501 5.5.2` for what is no PLAIN, `504 5.5.4` for another mechanism, or
    /// what [`challenge`](Self::challenge) and [`claim`](Self::claim) say.
    pub async fn password(&mut self) -> Result<UserPassword, Reply> {
        let given = if self.mechanism == Mechanism::PLAIN {
            plain(&self.first_response().await?)?
        } else if self.mechanism == Mechanism::LOGIN {
            self.ask_one_by_one().await?
        } else {
            return Err(replies::UNKNOWN_MECHANISM);
        };
        self.claim(&given.user).await?;
        Ok(given)
    }

    async fn ask_one_by_one(&mut self) -> Result<UserPassword, Reply> {
        // Some clients send the name with AUTH.
        let user = match self.initial_response.take() {
            Some(user) if !user.is_empty() => user,
            _ => self.challenge(b"Username:").await?,
        };
        let user = text(&user)?;
        let password = self.challenge(b"Password:").await?;
        Ok(UserPassword { user, password })
    }
}

/// ```abnf
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd
/// ```
fn plain(message: &[u8]) -> Result<UserPassword, Reply> {
    let mut parts = message.split(|byte| *byte == 0);
    let (Some(as_whom), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(replies::BAD_RESPONSE);
    };
    let given = UserPassword {
        user: text(user)?,
        password: password.into(),
    };
    match as_whom.is_empty() || as_whom == user {
        true => Ok(given),
        false => Err(Reply::BAD_CREDENTIALS),
    }
}

/// RFC 4616 section 2 has UTF-8 without NUL, at least one octet and at most 255 of the name.
fn text(octets: &[u8]) -> Result<Box<str>, Reply> {
    match str::from_utf8(octets) {
        Ok(text) if (1..=255).contains(&text.len()) && !text.contains('\0') => Ok(text.into()),
        _ => Err(replies::BAD_RESPONSE),
    }
}
