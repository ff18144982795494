//! Where the mail of a run goes: something that dies, stands still, and comes back.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_test_support::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::{NamedTempFile, TempDir};

use crate::mail;

/// A target, as the server under test is told of it, and as a test treats it.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) configuration: String,
    /// A repeat is none there.
    pub(crate) is_once: bool,
    /// So many may wait for their next message.
    pub(crate) connections: usize,
    /// Its messages are files in `new` of this folder, once they were fetched.
    pub(crate) folder: TempDir,
    pub(crate) what: What,
    pub(crate) fetch: Option<Box<dyn Fn()>>,
}

/// What is killed and frozen.
pub(crate) enum What {
    Program(Program),
    /// Programs that are started for each message look at files of these names.
    Script {
        dead: PathBuf,
        frozen: PathBuf,
    },
}

/// A server that is started again.
pub(crate) struct Program {
    command: Box<dyn Fn() -> Command>,
    port: u16,
    /// It listens before it can keep anything.
    is_ready: Box<dyn Fn() -> bool>,
    child: Option<Child>,
    /// What it says.
    log: NamedTempFile,
}

/// So often a program is started before it counts as one that does not work.
const STARTS: usize = 3;

impl Program {
    pub(crate) fn start(
        port: u16,
        is_ready: impl Fn() -> bool + 'static,
        command: impl Fn() -> Command + 'static,
    ) -> Self {
        let mut program = Self {
            command: Box::new(command),
            port,
            is_ready: Box::new(is_ready),
            child: None,
            log: NamedTempFile::new().expect("a file"),
        };
        program.run();
        program
    }

    /// Runs it until it works. One that ends, or that never becomes ready, is started again: a
    /// program that was killed a moment ago may find its own leftovers.
    fn run(&mut self) {
        for _ in 0..STARTS {
            self.spawn();
            if self.becomes_ready() {
                return;
            }
            self.kill();
        }
        let log = fs::read_to_string(self.log.path()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(40).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        panic!("it never becomes ready. It said:\n{}", lines.join("\n"));
    }

    fn spawn(&mut self) {
        let log = self.log.reopen().expect("a file");
        log.set_len(0).expect("a file");
        let mut command = (self.command)();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        self.child = Some(command.spawn().expect("it runs"));
    }

    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() && (self.is_ready)() {
                return true;
            }
            let ended = self.child.as_mut().map(Child::try_wait);
            if matches!(ended, Some(Ok(Some(_)))) {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it is there");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Place {
    /// It dies, and is back when this returns.
    pub(crate) fn kill(&mut self) {
        match &mut self.what {
            What::Program(program) => {
                program.kill();
                program.run();
            }
            What::Script { dead, .. } => for_a_while(dead, Duration::from_millis(200)),
        }
    }

    /// It is gone until it [runs](Self::run) again.
    pub(crate) fn stop(&mut self) {
        if let What::Program(program) = &mut self.what {
            program.kill();
        }
    }

    /// It is back when this returns.
    pub(crate) fn run(&mut self) {
        if let What::Program(program) = &mut self.what {
            program.run();
        }
    }

    /// It stands still for so long.
    pub(crate) fn freeze(&self, time: Duration) {
        match &self.what {
            What::Program(program) => {
                program.signal(Signal::STOP);
                thread::sleep(time);
                program.signal(Signal::CONT);
            }
            What::Script { frozen, .. } => for_a_while(frozen, time),
        }
    }

    /// How often each message is there.
    pub(crate) fn names(&self) -> BTreeMap<String, usize> {
        if let Some(fetch) = &self.fetch {
            fetch();
        }
        mail::counted(self.folder.path())
    }
}

fn for_a_while(file: &PathBuf, time: Duration) {
    std::fs::write(file, "").expect("a file");
    thread::sleep(time);
    std::fs::remove_file(file).expect("it is there");
}
