//! Child processes: started, watched, ended.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use prixfixe_test_support::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Talk;

/// A program in the background, its output in a file. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) output: PathBuf,
}

impl Process {
    /// Runs it with stdout and stderr in that file, which is added to if it is there.
    pub(crate) fn start(command: &mut Command, output: PathBuf) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&output)
            .expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, output }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// `kill -9`, and the end of it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of a process", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until something accepts connections at the address, which this process must come to
    /// do. Comes from 127.0.0.11, as a client does.
    pub(crate) fn wait_until_it_listens(&mut self, address: SocketAddr) {
        wait_until("a listener", || {
            assert!(self.is_running(), "it ended: {}", self.log());
            Talk::connect([127, 0, 0, 11].into(), address).is_ok()
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().rev().take(8).collect();
            eprintln!("{}, last lines first: {lines:#?}", self.output.display());
        }
    }
}
