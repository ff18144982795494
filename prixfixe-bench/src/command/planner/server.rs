//! The server that is measured: this program, in a process and a directory of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `prixfixe serve`. It ends, and what it has stored goes, when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    address: String,
    // Dropped after the child has ended: fields go after `drop` itself.
    _directory: Directory,
}

/// A directory that is removed when this is dropped.
#[derive(Debug)]
struct Directory(PathBuf);

/// What matters of a line of the log.
#[derive(Debug, Deserialize)]
struct Entry {
    message: String,
    address: Option<String>,
}

impl Server {
    /// Starts one that delivers to `deliver` from a new directory in `parent`, and waits until it
    /// listens. The error says why it does not.
    pub(super) fn start(parent: &Path, deliver: &str) -> Result<Self, String> {
        let directory = Directory::new(parent)?;
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--deliver", deliver])
            .current_dir(&directory.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // What is set up for another server is not to change what is measured.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("SMTP_") || name.starts_with("LISTEN_") || name == "NOTIFY_SOCKET" {
                command.env_remove(&*name);
            }
        }
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let lines = child.stderr.take().map(read);
        let mut server = Self {
            child,
            address: String::new(),
            _directory: directory,
        };
        server.address = lines
            .ok_or_else(|| "no log".to_owned())
            .and_then(|lines| listening(&lines))
            .map_err(|why| format!("the server for {deliver} does not start: {why}"))?;
        Ok(server)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Processor time so far; `None` where the system does not tell.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        processor_time(&stat, rustix::param::clock_ticks_per_second())
    }

    /// The most memory so far, in bytes.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        peak_memory(&status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Directory {
    fn new(parent: &Path) -> Result<Self, String> {
        let name = format!(".prixfixe-plan-{}", std::process::id());
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays where its name says what it was.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads the log to its end, so that the server never waits for its reader.
fn read(stderr: ChildStderr) -> Receiver<String> {
    /// Lines that wait to be looked at. Nobody looks once the server listens.
    const WAITING: usize = 64;
    let (sender, lines) = mpsc::sync_channel(WAITING);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    lines
}

/// The address in the log.
fn listening(lines: &Receiver<String>) -> Result<String, String> {
    let until = Instant::now() + PATIENCE;
    let mut last = "it said nothing".to_owned();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            return Err(last);
        };
        match serde_json::from_str::<Entry>(&line) {
            Ok(Entry {
                message,
                address: Some(address),
            }) if message == "listening" => return Ok(address),
            Ok(entry) => last = entry.message,
            Err(_) => last = line.trim_start_matches("prixfixe: ").to_owned(),
        }
    }
}

/// The sum of user and system time in proc_pid_stat(5), of which the second field is in brackets
/// and may hold anything.
fn processor_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    let ticks = f64::from(ticks()?) + f64::from(ticks()?);
    #[expect(clippy::cast_precision_loss, reason = "a hundred or so")]
    let seconds = ticks / ticks_per_second as f64;
    Duration::try_from_secs_f64(seconds).ok()
}

fn peak_memory(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_of_a_process_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 1 1 1";
        assert_eq!(processor_time(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(processor_time("7 (a", 100), None);
        assert_eq!(
            peak_memory("Name:\ta\nVmHWM:\t    9600 kB\n"),
            Some(9600 << 10)
        );
        assert_eq!(peak_memory("Name:\ta\n"), None);
    }

    #[test]
    fn the_address_is_that_of_the_line_that_says_so_and_a_failure_is_quoted() {
        let told = |lines: &[&str]| {
            let (sender, receiver) = mpsc::sync_channel(8);
            lines
                .iter()
                .for_each(|line| sender.send((*line).to_owned()).unwrap());
            drop(sender);
            listening(&receiver)
        };
        let warning = r#"{"level":"WARN","message":"running as root"}"#;
        let line = r#"{"message":"listening","address":"127.0.0.1:5"}"#;
        assert_eq!(told(&[warning, line]), Ok("127.0.0.1:5".to_owned()));
        let failure = "prixfixe: --deliver: no such target";
        assert_eq!(
            told(&[warning, failure]),
            Err("--deliver: no such target".to_owned())
        );
        assert_eq!(told(&[]), Err("it said nothing".to_owned()));
    }
}
