//! What tests of several crates need: outside programs, and what lies in a Maildir.

// What helps a test may fail like one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// True where the program is there; otherwise the test is skipped, or fails where skipping is not wanted.
pub fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .any(|folder| folder.join(program).is_file())
    });
    if !found {
        assert!(
            std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
            "{program} is not installed"
        );
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Runs a client to its end; a failure shows what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A stored message.
#[derive(Debug)]
pub struct Mail {
    /// `Return-Path`, `Delivered-To`, `Received`, folded lines joined.
    pub trace: Vec<String>,
    pub content: Vec<u8>,
}

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

    pub fn has_trace(&self, start: &str) -> bool {
        self.trace.iter().any(|line| line.starts_with(start))
    }
}
