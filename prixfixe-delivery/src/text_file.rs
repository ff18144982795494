//! Files of text that somebody else writes, and that are read while the server runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// All of a file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<String> {
    // A named pipe would block for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_string(&mut text)?;
    match text.len() as u64 > most {
        true => Err(io::Error::other(format!(
            "it is larger than {} KiB",
            most >> 10
        ))),
        false => Ok(text),
    }
}

/// The lines that say something: no comments, no blanks around them. With their numbers, from 1.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(str::trim);
    let numbered = lines.enumerate().map(|(number, line)| (number + 1, line));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_or_too_large_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "x".repeat(1024)).unwrap();
        assert_eq!(read(&path, 1024).unwrap().len(), 1024);
        let error = |path, most| read(path, most).unwrap_err().to_string();
        fs::write(&path, "x".repeat(1025)).unwrap();
        assert_eq!(error(&path, 1024), "it is larger than 1 KiB");
        assert_eq!(error(folder.path(), 1024), "it is no file");
    }

    #[test]
    fn comments_and_blanks_say_nothing_and_count() {
        let told: Vec<_> = lines("# no\n\n a \r\n#\nb # c").collect();
        assert_eq!(told, [(3, "a"), (5, "b # c")]);
    }
}
