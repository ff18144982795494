//! What lies in a Maildir.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A stored message.
#[derive(Debug)]
pub struct Mail {
    /// `Return-Path`, `Delivered-To`, `Received`, folded lines joined.
    pub trace: Vec<String>,
    /// What the client sent.
    pub content: Vec<u8>,
}

/// The messages of a Maildir, in the order of arrival: their names sort so.
pub fn mail_in(maildir: &Path) -> Vec<Mail> {
    let files: BTreeMap<_, _> = fs::read_dir(maildir.join("new"))
        .expect("a Maildir")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            (
                path.file_name().map(ToOwned::to_owned),
                fs::read(&path).expect("a file"),
            )
        })
        .collect();
    files
        .into_values()
        .map(|bytes| Mail::parse(&bytes))
        .collect()
}

impl Mail {
    fn parse(mut bytes: &[u8]) -> Self {
        let mut trace: Vec<String> = Vec::new();
        loop {
            let end = bytes
                .windows(2)
                .position(|pair| pair == b"\r\n")
                .expect("a trace header")
                + 2;
            let (line, rest) = bytes.split_at(end);
            let line = String::from_utf8(line.to_vec()).expect("trace headers are text");
            let folded = line.starts_with('\t');
            if trace
                .last()
                .is_some_and(|last| last.starts_with("Received:"))
                && !folded
            {
                return Self {
                    trace,
                    content: bytes.to_vec(),
                };
            }
            match trace.last_mut() {
                Some(last) if folded => last.push_str(&line.replace('\t', " ")),
                _ => trace.push(line),
            }
            if let Some(last) = trace.last_mut() {
                last.truncate(last.trim_end().len());
            }
            bytes = rest;
        }
    }

    /// Whether a trace header begins like this.
    pub fn has_trace(&self, start: &str) -> bool {
        self.trace.iter().any(|line| line.starts_with(start))
    }
}
