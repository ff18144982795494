//! The free space of `limits.temporary`.

use std::io;
use std::thread;
use std::time::Duration;

use prixfixe_config::Configuration;
use prixfixe_delivery::TemporarySpace;

/// As often as that of other file systems.
const LOOK: Duration = Duration::from_secs(5);

/// From now on it is about the directory of this configuration. The usual one is not looked at: it
/// is beside the mail, whose file system is, or the system's own, which mail may never see.
pub(crate) fn change(space: &TemporarySpace, configuration: &Configuration) {
    let directory = configuration.limits.temporary.clone();
    space.set(directory, configuration.delivery.min_free());
    space.look();
}

/// Looks at it for as long as the process lives.
pub(crate) fn watch(space: &TemporarySpace) -> io::Result<()> {
    let space = space.clone();
    thread::Builder::new()
        .name("temporary-space".to_owned())
        .spawn(move || {
            loop {
                thread::sleep(LOOK);
                space.look();
            }
        })?;
    Ok(())
}
