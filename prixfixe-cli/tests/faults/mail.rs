//! Messages that can be told apart, and what is in a Maildir of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::server::files;

/// A message of about this size. Its first line says all that is needed to make it again.
pub(crate) fn content(name: &str, size: usize) -> Vec<u8> {
    // One without an id of its own is a new message each time that it is sent.
    let id = format!("Message-ID: <{name}@client.example>");
    let mut content = format!("Subject: {name} {size}\r\n{id}\r\n\r\n").into_bytes();
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
    counted(maildir).into_keys().collect()
}

/// The same, with how often each is there.
pub(crate) fn counted(maildir: &Path) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for file in files(&maildir.join("new")) {
        let bytes = fs::read(&file).expect("a file");
        // What is without headers of ours begins with the subject.
        let found = match bytes.windows(11).position(|it| it == b"\r\nSubject: ") {
            Some(start) => &bytes[start + 2..],
            None => &bytes[..],
        };
        assert!(
            found.starts_with(b"Subject: "),
            "{} is partial: {} octets",
            file.display(),
            bytes.len()
        );
        let line = found.split(|byte| *byte == b'\r').next().unwrap();
        let words: Vec<&str> = std::str::from_utf8(line).unwrap().split(' ').collect();
        let whole = content(words[1], words[2].parse().expect("a size"));
        assert!(found == whole, "{} is not whole: {words:?}", file.display());
        *names.entry(words[1].to_owned()).or_default() += 1;
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
