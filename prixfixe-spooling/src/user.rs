//! Whose files they are.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// Started as root, becomes whoever a directory belongs to: what is written there has to be that
/// user's.
pub(crate) fn become_owner_of(directory: &Path) -> io::Result<()> {
    let found = fs::metadata(directory)?;
    if !geteuid().is_root() || found.uid() == 0 {
        return Ok(());
    }
    let group = Gid::from_raw(found.gid());
    // Else root's other groups stay, and what they may do with them.
    setgroups(&[group])?;
    setgid(group)?;
    setuid(Uid::from_raw(found.uid()))?;
    Ok(())
}
