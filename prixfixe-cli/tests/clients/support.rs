//! The binary as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use prixfixe_test_support::{Mail, mail_in};
use tempfile::TempDir;

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
        self.last_port()
    }

    /// That of the listener that was named last.
    pub(crate) fn last_port(&self) -> String {
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

/// A message with the things that go wrong: leading dots, long lines, eight-bit text, an empty end.
pub(crate) fn awkward_message() -> Vec<u8> {
    let mut message =
        b"Subject: =?utf-8?q?awkward?=\r\nMIME-Version: 1.0\r\n\r\n.one\r\n..two\r\n.\xC3\xA4\r\n"
            .to_vec();
    message.extend(vec![b'x'; 5000]);
    message.extend_from_slice(b"\r\n.\r\n\r\n");
    message
}
