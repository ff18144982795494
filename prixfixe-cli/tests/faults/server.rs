//! `prixfixe serve` as a child process.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use prixfixe_test_support::wait_until;
pub(crate) use prixfixe_test_support::{PATIENCE, has};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::mail;

/// How much larger the process may be after a fault than before, in KiB: pages that the allocator
/// keeps.
pub(crate) const KEPT_KIB: u64 = 28 * 1024;

/// A skip, or a failure where skipping is not wanted.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
        "{reason}"
    );
    eprintln!("skipped: {reason}");
}

/// How to start one.
pub(crate) struct Launch {
    folder: Arc<TempDir>,
    wrapper: Vec<String>,
    variables: HashMap<String, OsString>,
    arguments: Vec<String>,
}

impl Launch {
    pub(crate) fn new(transport: &str) -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
            wrapper: Vec::new(),
            variables: HashMap::new(),
            arguments: vec!["--transport".to_owned(), transport.to_owned()],
        }
    }

    /// Over mail that is there already.
    pub(crate) fn folder(mut self, folder: &Arc<TempDir>) -> Self {
        self.folder = Arc::clone(folder);
        self
    }

    /// A program that becomes the server.
    pub(crate) fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&word| word.to_owned()));
        self
    }

    /// A configuration file.
    pub(crate) fn file(self, text: &str) -> Self {
        fs::write(self.folder.path().join("prixfixe.toml"), text).expect("a file");
        self.arguments(&["--config", "prixfixe.toml"])
    }

    /// The process, whose stderr is piped. It may not listen yet.
    pub(crate) fn spawn(&self) -> Child {
        let binary = env!("CARGO_BIN_EXE_prixfixe");
        let fixed = [binary, "serve", "--listen", "127.0.0.1:0"].map(str::to_owned);
        let words: Vec<String> = self
            .wrapper
            .iter()
            .cloned()
            .chain(fixed)
            .chain(self.arguments.iter().cloned())
            .collect();
        Command::new(&words[0])
            .args(&words[1..])
            .envs(&self.variables)
            .current_dir(self.folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
    }

    pub(crate) fn start(self) -> Server {
        let mut child = self.spawn();
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let log = Arc::new(Log::default());
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.push(line);
            }
            written.push("the log has ended".to_owned());
        });
        let server = Server {
            child,
            log,
            folder: self.folder,
        };
        let listeners = 1 + self
            .arguments
            .iter()
            .filter(|word| word.starts_with("--listen"))
            .count();
        server.log.wait("listening", listeners);
        server
    }
}

/// Lines so far.
#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    /// Also after a test has failed with it in hand.
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        self.lines().push(line);
        self.more.notify_all();
    }

    /// How many lines have this in them.
    pub(crate) fn count(&self, part: &str) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for so many lines with this in them.
    pub(crate) fn wait(&self, part: &str, times: usize) {
        let too_few = |lines: &mut Vec<String>| {
            lines.iter().filter(|line| line.contains(part)).count() < times
                && lines.last().is_none_or(|line| line != "the log has ended")
        };
        let waited = self
            .more
            .wait_timeout_while(self.lines(), PATIENCE, too_few);
        let (mut lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!too_few(&mut lines), "not {times} of {part:?}: {lines:#?}");
        let found = lines.iter().filter(|line| line.contains(part)).count();
        assert!(found >= times, "no {part:?}: {lines:#?}");
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines().clone()
    }
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) log: Arc<Log>,
    pub(crate) folder: Arc<TempDir>,
}

impl Server {
    /// Of each listener, in their order.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let address = |line: String| {
            let json = || line.split_once("\"address\":\"");
            let (_, rest) = line.split_once(" address=").or_else(json)?;
            rest.split([' ', '"']).next()?.parse().ok()
        };
        let lines = self.log.all().into_iter();
        lines
            .filter(|line| line.contains(" listening ") || line.contains("\"listening\""))
            .filter_map(address)
            .collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address()).expect("it serves")
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// Memory in use, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that has been in use.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse().unwrap()
    }

    /// Memory in use after some mail, so that what grows once has grown.
    pub(crate) fn warm(&self) -> u64 {
        let mut client = self.connect();
        for number in 0..20 {
            let content = mail::content(&format!("warm-{number}"), 20_000);
            let reply = client.send(&content).expect("it serves");
            assert!(reply.starts_with("250"), "{reply}");
        }
        client.quit();
        self.memory()
    }

    /// Waits until the process is hardly larger than it was.
    pub(crate) fn assert_memory_is_back(&self, before: u64) {
        wait_until("memory is back", || self.memory() <= before + KEPT_KIB);
    }

    /// A new client sends a message, which is stored.
    pub(crate) fn assert_serves(&self) {
        let mut client = self.connect();
        let reply = client.send(&mail::content("serves", 3000)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        client.quit();
    }

    /// As soon as there is a place for one.
    pub(crate) fn eventually_serves(&self) {
        wait_until("it serves again", || {
            Client::connect(self.address()).is_ok()
        });
        self.assert_serves();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    /// Tells it to stop.
    pub(crate) fn terminate(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::TERM).expect("it is there");
    }

    /// Waits for its own end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("it ends", || {
            ended = self.child.try_wait().expect("it is ours");
            ended.is_some()
        });
        ended.expect("it has ended")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.all();
            let start = log.len().saturating_sub(50);
            eprintln!("end of the server's log: {:#?}", &log[start..]);
        }
    }
}

/// The files in a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.unwrap().path()).collect()
}
