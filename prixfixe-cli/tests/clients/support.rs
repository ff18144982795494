//! The binary as a child process, and what is in its Maildir.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// True where the program is there; otherwise the test is skipped, or fails where skipping is not wanted.
pub(crate) fn has(program: &str) -> bool {
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

/// `prixfixe serve` in a folder of its own, listening on any free port.
pub(crate) struct Prixfixe {
    child: Child,
    addresses: Vec<SocketAddr>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    folder: Arc<TempDir>,
}

impl Prixfixe {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(
            Arc::new(tempfile::tempdir().expect("a folder")),
            &[],
            arguments,
        )
    }

    /// With a wrapper such as `strace` in front, and over mail that is there already.
    pub(crate) fn start_in(folder: Arc<TempDir>, wrapper: &[&str], arguments: &[&str]) -> Self {
        let mut words = wrapper.to_vec();
        words.extend([
            env!("CARGO_BIN_EXE_prixfixe"),
            "serve",
            "--log-format",
            "json",
        ]);
        words.extend(["--listen", "127.0.0.1:0"]);
        words.extend(arguments);
        let listeners = words
            .iter()
            .filter(|word| word.starts_with("--listen"))
            .count();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");

        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut log = Vec::new();
        let mut addresses = Vec::new();
        while addresses.len() < listeners {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended: {log:?}"))
                .expect("text");
            addresses.extend(listening_address(&line));
            log.push(line);
        }
        let log = Arc::new(Mutex::new(log));
        let rest = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                rest.lock().expect("no panic under it").push(line);
            }
        });
        Self {
            child,
            addresses,
            log,
            folder,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The port where TLS comes first.
    pub(crate) fn tls_port(&self) -> String {
        self.addresses
            .last()
            .expect("an address")
            .port()
            .to_string()
    }

    pub(crate) fn port(&self) -> String {
        self.address().port().to_string()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn shared_folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// What lies in `mail/new`, in the order of arrival.
    pub(crate) fn mail(&self) -> Vec<Mail> {
        mail_in(&self.folder().join("mail"))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and a clean end.
    pub(crate) fn stop(mut self) {
        signal(self.child.id(), "TERM");
        assert!(self.child.wait().expect("it ends").success());
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

impl Drop for Prixfixe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("log of the server: {:#?}", self.log.lock());
        }
    }
}

/// The address in a log line that says `listening`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    if !line.contains("\"listening\"") {
        return None;
    }
    let (_, rest) = line.split_once("\"address\":\"")?;
    rest.split_once('"')?.0.parse().ok()
}

/// A stored message.
#[derive(Debug)]
pub(crate) struct Mail {
    /// `Return-Path`, `Delivered-To`, `Received`, folded lines joined.
    pub(crate) trace: Vec<String>,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn mail_in(maildir: &Path) -> Vec<Mail> {
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

    pub(crate) fn has_trace(&self, start: &str) -> bool {
        self.trace.iter().any(|line| line.starts_with(start))
    }
}

/// Runs a client to its end; a failure shows what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A message with the things that go wrong: leading dots, long lines, eight-bit text, an empty end.
pub(crate) fn awkward_message() -> Vec<u8> {
    let mut message =
        b"Subject: =?utf-8?q?awkward?=\r\nMIME-Version: 1.0\r\n\r\n.one\r\n..two\r\n.\xC3\xA4\r\n"
            .to_vec();
    message.extend(vec![b'x'; 5000]);
    message.extend_from_slice(b"\r\n.\r\n\r\n");
    message
}
