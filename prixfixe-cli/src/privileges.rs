//! Giving up root's rights once they are not needed any more (`user`).

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, geteuid, getuid, initgroups, setegid, seteuid, setgid, setuid};
use prixfixe_config::{Configuration, Invalid};
use tracing::{info, warn};

use crate::error::Error;

/// Looks up the user that the server is to run as: a name, or the number of one that has a name.
pub(crate) fn look_up(name: &str) -> Result<User, Invalid> {
    let invalid = |problem: String| Invalid {
        place: format!("user {name}"),
        problem,
    };
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found
        .map_err(|error| invalid(format!("cannot be looked up: {error}")))?
        .ok_or_else(|| invalid("there is no such user; give one of this host".to_owned()))
}

/// Whom the process is to become. `None`: it stays who it is.
pub(crate) fn successor(configuration: &Configuration) -> Result<Option<User>, Invalid> {
    let Some(user) = configuration.user.as_deref().map(look_up).transpose()? else {
        return Ok(None);
    };
    if getuid() == user.uid {
        return Ok(None);
    }
    if getuid().is_root() {
        return Ok(Some(user));
    }
    Err(Invalid {
        place: format!("user {}", user.name),
        problem: format!(
            "only root can become another user; start as root or as {}, or leave it out",
            user.name
        ),
    })
}

/// Says so where the server goes on as root, and nobody has decided that it should.
pub(crate) fn warn_of_root(configuration: &Configuration) {
    if configuration.user.is_none() && geteuid().is_root() {
        warn!(
            target: "prixfixe",
            "running as root, which nothing needs; set user=NAME, or start as another user"
        );
    }
}

/// Does something as that user would, with its groups, and is root again: what it makes belongs to
/// that user, and what that user may not do fails.
pub(crate) fn acting_as<T>(
    user: Option<&User>,
    act: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let Some(user) = user else {
        return act();
    };
    let failed = |error: nix::Error| fault(user, "cannot act as it", &error);
    set_groups(user)?;
    setegid(user.gid).map_err(failed)?;
    seteuid(user.uid).map_err(failed)?;
    let done = act();
    seteuid(Uid::from_raw(0)).map_err(failed)?;
    setegid(Gid::from_raw(0)).map_err(failed)?;
    done
}

/// Becomes that user, with its groups and for good. All threads of the process do.
pub(crate) fn drop_to(user: &User) -> Result<(), Error> {
    // The groups first: the right to set them goes with the user.
    set_groups(user)?;
    setgid(user.gid).map_err(|error| fault(user, "cannot set its group", &error))?;
    setuid(user.uid).map_err(|error| fault(user, "cannot become it", &error))?;
    if setuid(Uid::from_raw(0)).is_ok() {
        let cause = "root's rights came back; is SECBIT_KEEP_CAPS or a capability to blame?";
        return Err(fault(user, "cannot be trusted", &cause));
    }
    info!(target: "prixfixe", user = user.name, "root's rights are given up");
    Ok(())
}

/// Those of the user alone.
fn set_groups(user: &User) -> Result<(), Error> {
    let name = CString::new(user.name.as_str()).map_err(|error| fault(user, "bad name", &error))?;
    initgroups(&name, user.gid).map_err(|error| fault(user, "cannot set its groups", &error))
}

fn fault(user: &User, what: &'static str, cause: &dyn std::fmt::Display) -> Error {
    Error::User {
        name: user.name.clone(),
        what,
        cause: cause.to_string(),
    }
}
