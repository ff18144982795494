//! System calls of the storage that fail, injected into the running binary by `strace`.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use crate::TRANSPORTS;
use crate::mail;
use prixfixe_test_support::wait_until;

use crate::server::{Launch, Server, has};

/// What fails: the second call of each thread and every second one after that.
const FAULTS: [&str; 6] = [
    "fdatasync:error=EIO:when=2+2",
    "fsync:error=EIO:when=2+2",
    "writev:error=ENOSPC:when=2+2",
    "writev:error=EIO:when=2+2",
    "rename:error=EIO:when=2+2",
    "rename:error=EROFS:when=2+2",
];

/// Attached to all threads of a server. It lets go when this is dropped.
pub(crate) struct Injection(Child);

impl Injection {
    pub(crate) fn new(server: &Server, fault: &str) -> Self {
        let (call, _) = fault.split_once(':').expect("a system call");
        let process = server.process();
        let child = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
            ])
            .args(["-e", &format!("inject={fault}"), "-p", &process.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace runs");
        let is_traced = |task: std::io::Result<fs::DirEntry>| {
            let status = task.and_then(|task| fs::read_to_string(task.path().join("status")));
            // A thread that has just ended is not to be waited for.
            status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
        };
        wait_until("strace is attached", || {
            let mut tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
            tasks.all(is_traced)
        });
        Self(child)
    }

    /// For a server that ends: asked to end, `strace` waits for a call that it delays, and so does
    /// whoever waits for the server.
    pub(crate) fn kill(mut self) {
        let _ = self.0.kill();
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Asked to, it lets the server go on.
        let _ = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_disk_that_fails_now_and_then_loses_nothing_that_was_acknowledged() {
    if !has("strace") {
        return;
    }
    for transport in TRANSPORTS {
        let server = Launch::new(transport).start();
        let before = server.warm();
        let mut acknowledged = BTreeSet::new();
        for fault in FAULTS {
            let injection = Injection::new(&server, fault);
            let mut client = server.connect();
            let mut refused = BTreeSet::new();
            // Whichever thread takes them, some have their second call.
            let mut number = 0;
            while number < 40 || refused.is_empty() {
                assert!(number < 1000, "nothing fails");
                let name = format!("{fault}-{number}");
                let size = if number % 8 == 0 { 300_000 } else { 3000 };
                let reply = client.send(&mail::content(&name, size)).unwrap();
                match &reply[..3] {
                    "250" => acknowledged.insert(name),
                    "451" | "452" => refused.insert(name),
                    _ => panic!("{fault}: {reply}"),
                };
                number += 1;
            }
            drop(injection);
            client.quit();
            mail::assert_kept(&server.maildir(), &acknowledged);
            let stored = mail::stored(&server.maildir());
            assert!(
                refused.is_disjoint(&stored),
                "{fault}: refused, and yet there"
            );
            server.assert_serves();
        }
        server.assert_memory_is_back(before);
    }
}
