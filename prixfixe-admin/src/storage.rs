//! Free space, and whether mail is accepted, as metrics and for the status page.

use std::fmt::{self, Write as _};

use prixfixe_delivery::Storage;
use prixfixe_server::printable::Printable;
use serde::Serialize;

/// A file system that mail is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StorageReport {
    /// Where mail is written on it.
    pub(crate) path: String,
    /// Bytes that are free.
    pub(crate) free_bytes: u64,
    /// Inodes that are free; null where the file system does not count them.
    pub(crate) free_inodes: Option<u64>,
    /// `delivery.min-free`, and the inodes that go with it; 0 for no limit.
    pub(crate) min_free_bytes: u64,
    pub(crate) min_free_inodes: u64,
    /// Mail is refused for want of space.
    pub(crate) short: bool,
}

impl From<&Storage> for StorageReport {
    fn from(storage: &Storage) -> Self {
        Self {
            path: Printable(&storage.path.to_string_lossy()).to_string(),
            free_bytes: storage.free.bytes,
            free_inodes: storage.free.inodes,
            min_free_bytes: storage.min_free.bytes,
            min_free_inodes: storage.min_free.inodes,
            short: storage.is_short,
        }
    }
}

/// Appends what the server does not know of itself.
pub(super) fn encode(text: &mut String, is_ready: bool, storages: &[Storage]) {
    // Writing to a String does not fail.
    let _ = write_all(text, is_ready, storages);
}

fn write_all(text: &mut String, is_ready: bool, storages: &[Storage]) -> fmt::Result {
    let ready = u8::from(is_ready);
    head(text, "smtp_ready", "1 while /readyz is 200, else 0")?;
    writeln!(text, "smtp_ready {ready}")?;
    let bytes = storages.iter().map(|one| (one, Some(one.free.bytes)));
    let inodes = storages.iter().map(|one| (one, one.free.inodes));
    gauges(
        text,
        "smtp_storage_free_bytes",
        "Bytes that are free where mail is written",
        bytes,
    )?;
    gauges(
        text,
        "smtp_storage_free_inodes",
        "Inodes that are free where mail is written, where they are counted",
        inodes,
    )
}

fn head(text: &mut String, name: &str, help: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge")
}

fn gauges<'a>(
    text: &mut String,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a Storage, Option<u64>)>,
) -> fmt::Result {
    head(text, name, help)?;
    for (storage, value) in values {
        if let Some(value) = value {
            let path = label(&storage.path.to_string_lossy());
            writeln!(text, "{name}{{path=\"{path}\"}} {value}")?;
        }
    }
    Ok(())
}

/// As the text format has it.
fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_end_its_label() {
        assert_eq!(label("/a\"b\\c\nd"), "/a\\\"b\\\\c\\nd");
    }
}
