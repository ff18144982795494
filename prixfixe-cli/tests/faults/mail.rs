//! Messages that can be told apart, and what is in a Maildir of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::server::files;

/// A message of about this size. Its first line says all that is needed to make it again.
pub(crate) fn content(name: &str, size: usize) -> Vec<u8> {
    let mut content = format!("Subject: {name} {size}\r\n\r\n").into_bytes();
    let mut number = 0;
    while content.len() < size {
        content.extend_from_slice(format!("{number} of {name} {}\r\n", "x".repeat(60)).as_bytes());
        number += 1;
    }
    content.extend_from_slice(format!("end of {name}\r\n").as_bytes());
    content
}

/// The names of the messages in `new/`, each of which must be whole.
pub(crate) fn stored(maildir: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(&maildir.join("new")) {
        let bytes = fs::read(&file).expect("a file");
        let start = bytes
            .windows(11)
            .position(|eleven| eleven == b"\r\nSubject: ")
            .unwrap_or_else(|| panic!("{} is partial: {} octets", file.display(), bytes.len()));
        let found = &bytes[start + 2..];
        let line = found.split(|byte| *byte == b'\r').next().unwrap();
        let words: Vec<&str> = std::str::from_utf8(line).unwrap().split(' ').collect();
        let whole = content(words[1], words[2].parse().expect("a size"));
        assert!(found == whole, "{} is not whole: {words:?}", file.display());
        names.insert(words[1].to_owned());
    }
    names
}

/// Nothing that was acknowledged is missing, and nothing partial is there.
pub(crate) fn assert_kept<'a>(maildir: &Path, acknowledged: impl IntoIterator<Item = &'a String>) {
    let stored = stored(maildir);
    for name in acknowledged {
        assert!(stored.contains(name), "{name} got its 250 and is gone");
    }
}
