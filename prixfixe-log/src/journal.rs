//! Whether stderr is the journal, which takes the priority of a line from a prefix
//! (`sd-daemon(3)`).

use std::env;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::Level;

/// systemd names the device and the inode of the stream that it has connected (`systemd.exec(5)`).
/// They are not stderr's where somebody in between has redirected it.
pub(super) fn is_stderr() -> bool {
    let Some(named) = env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.and_then(|stderr| File::from(stderr).metadata());
    stderr.is_ok_and(|stderr| named.to_str() == Some(&name(&stderr)))
}

fn name(file: &Metadata) -> String {
    format!("{}:{}", file.dev(), file.ino())
}

/// A priority of syslog, as the journal reads and removes it.
pub(super) fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}
