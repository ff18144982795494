//! A server with a spool, and its operator: what the tests of both forms share.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use prixfixe_test_support::unused_port;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Serve, prixfixe, run};

/// A configuration with a target that passes mail on to a port where nobody listens yet, and one
/// that keeps it.
pub(crate) struct Spooled {
    pub(crate) directory: PathBuf,
    /// Removed at the end.
    _directory: TempDir,
    pub(crate) next_hop: SocketAddr,
}

impl Spooled {
    /// `more` is for the beginning of the file, and `spool` for its table `[spool]`.
    pub(crate) fn new(transport: &str, more: &str, spool: &str) -> Self {
        let temporary = TempDir::new().unwrap();
        let port = unused_port(Ipv4Addr::LOCALHOST).unwrap();
        let spooled = Self {
            directory: temporary.path().to_owned(),
            _directory: temporary,
            next_hop: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        spooled.configure(transport, more, spool, &spooled.next());
        spooled
    }

    /// The URL of the target that passes mail on.
    pub(crate) fn next(&self) -> String {
        format!("lmtp:{}", self.next_hop)
    }

    pub(crate) fn configure(&self, transport: &str, more: &str, spool: &str, next: &str) {
        let file = format!(
            "domain = 'mx.example.net'\ntransport = '{transport}'\nadmin.listen = '127.0.0.1:0'\n\
             accept.domains = ['example.com', 'example.org']\n{more}\n\
             [spool]\n{spool}\n\
             [[listener]]\naddress = '127.0.0.1:0'\n\
             [[target]]\nname = 'next'\nurl = '{next}'\n\
             [[target]]\nname = 'keep'\nurl = 'maildir:mail'\n\
             [[route]]\nrecipients = ['@example.org']\nto = ['next', 'keep']\n\
             [[route]]\nto = ['keep']\n"
        );
        fs::write(self.directory.join("mail.toml"), file).unwrap();
    }

    pub(crate) fn start(&self) -> Serve {
        let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
        Serve::spawn(
            command.current_dir(&self.directory),
            TempDir::new().unwrap(),
        )
    }

    /// The next hop: what it keeps is in its own directory.
    pub(crate) fn next_hop(&self, more: &[&str]) -> Serve {
        let address = self.next_hop.to_string();
        let directory = TempDir::new().unwrap();
        let fixed = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--listen-lmtp",
            &address,
        ];
        let arguments = [&fixed[..], more].concat();
        let mut command = prixfixe(&arguments);
        Serve::spawn(command.current_dir(directory.path()), directory)
    }

    /// Status, standard output and error of a command with this configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments = [arguments, &["--config", "mail.toml"]].concat();
        run(prixfixe(&arguments).current_dir(&self.directory))
    }

    /// The same, of `prixfixe spool`.
    pub(crate) fn spool(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run(&[&["spool"], arguments].concat())
    }

    /// What `prixfixe spool` prints when it does what it is asked for.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let (status, stdout, stderr) = self.spool(arguments);
        assert_eq!(
            (status, stderr.as_str()),
            (0, ""),
            "{arguments:?}: {stdout}"
        );
        stdout
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        let text = self.done(&["list", "--json"]);
        let read = |line: &str| serde_json::from_str(line).unwrap();
        text.lines().map(read).collect()
    }

    /// Whether it has so many messages, each of which waits for its next attempt.
    pub(crate) fn waits(&self, messages: usize) -> bool {
        let list = self.list();
        list.len() == messages && list.iter().all(|it| it["state"] == "waiting")
    }

    /// What the Maildir has.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        files(&self.directory.join("mail/new"))
    }
}

/// What is in a directory that may not be there yet.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What an admin endpoint answers.
pub(crate) fn get(serve: &Serve, path: &str) -> String {
    let line = serve.seen("admin endpoints").unwrap();
    let (_, address) = line.rsplit_once("address=").unwrap();
    crate::targets::get(address.trim().parse().unwrap(), path)
}

/// A target's queue, as the status page has it.
pub(crate) fn queue(serve: &Serve, target: &str) -> Value {
    let status = get(serve, "/status.json");
    let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    let queues = status["spool"]["targets"].as_array().unwrap();
    let found = queues.iter().find(|it| it["name"] == target);
    found.unwrap_or_else(|| panic!("{status}")).clone()
}
