//! Groups of this host.

use nix::unistd::Group;

use super::given::Invalid;

/// The number of a group: a name, or the number itself.
///
/// # Errors
///
/// [`Invalid`], where there is none of that name.
pub fn look_up_group(name: &str) -> Result<u32, Invalid> {
    let invalid = |problem: String| Invalid {
        place: format!("group {name}"),
        problem,
    };
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(invalid(
            "there is no such group; give one of this host".to_owned(),
        )),
        Err(error) => Err(invalid(format!("cannot be looked up: {}", error.desc()))),
    }
}
