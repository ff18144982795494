//! A file system that fills up, and one that turns read-only. Mounted by the test, so that it needs
//! root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::TRANSPORTS;
use crate::mail;
use crate::server::{Launch, Server, files, skip};

/// A small tmpfs. It is unmounted when this is dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// `None`: the test is skipped.
    pub(crate) fn new(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(path).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(path)
            .output()
            .expect("mount runs");
        if mounted.status.success() {
            return Some(Self(path.to_owned()));
        }
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        skip(&format!("no file system can be mounted: {said}"));
        None
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.0)
            .status();
        assert!(status.expect("mount runs").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A server whose Maildir is the only thing on a file system of this size.
fn server_on(transport: &str, size: &str) -> Option<(Mount, Server)> {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let mount = Mount::new(&folder.path().join("mail"), size)?;
    // What is tried is the disk's own word.
    let launch = Launch::new(transport).folder(&folder);
    let server = launch.file("[delivery]\nmin-free = 0\n").start();
    Some((mount, server))
}

const LARGE: usize = 200_000;

#[test]
fn a_full_disk_refuses_and_takes_mail_again_when_there_is_room() {
    for transport in TRANSPORTS {
        let Some((_mount, server)) = server_on(transport, "6m") else {
            return;
        };
        let before = server.warm();
        let mut client = server.connect();
        let mut acknowledged = BTreeSet::new();
        let mut refused = 0;
        for number in 0.. {
            let name = format!("fill-{number}");
            let reply = client.send(&mail::content(&name, LARGE)).unwrap();
            if reply.starts_with("250") {
                assert_eq!(refused, 0, "there is no room");
                acknowledged.insert(name);
                continue;
            }
            assert!(reply.starts_with("452 4.3.1 "), "{reply}");
            refused += 1;
            if refused == 200 {
                break;
            }
        }
        assert!(!acknowledged.is_empty());
        mail::assert_kept(&server.maildir(), &acknowledged);
        // A refused message must not show.
        let stored = mail::stored(&server.maildir());
        assert!(
            stored
                .iter()
                .all(|name| acknowledged.contains(name) || name.starts_with("warm-"))
        );
        assert_eq!(files(&server.maildir().join("tmp")).len(), 0);
        let lines = server.log.count(" ERROR ");
        assert!(
            (1..20).contains(&lines),
            "{lines} lines for {refused} refusals"
        );

        for file in files(&server.maildir().join("new")) {
            std::fs::remove_file(file).expect("it is ours");
        }
        let reply = client.send(&mail::content("room", LARGE)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        server.log.wait("delivery works again", 1);
        server.assert_serves();
        server.assert_memory_is_back(before);
    }
}

#[test]
fn a_file_system_that_turns_read_only_refuses_until_it_is_writable() {
    for transport in TRANSPORTS {
        let Some((mount, server)) = server_on(transport, "20m") else {
            return;
        };
        let before = server.warm();
        let mut client = server.connect();
        let mut acknowledged = BTreeSet::new();
        for round in 0..3 {
            let name = format!("writable-{round}");
            let reply = client.send(&mail::content(&name, 3000)).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
            acknowledged.insert(name);
            mount.remount("ro");
            for size in [3000, LARGE] {
                let reply = client.send(&mail::content("read-only", size)).unwrap();
                assert!(reply.starts_with("451 4.3.0 "), "{reply}");
            }
            mount.remount("rw");
        }
        mail::assert_kept(&server.maildir(), &acknowledged);
        assert!(!mail::stored(&server.maildir()).contains("read-only"));
        server.assert_serves();
        server.assert_memory_is_back(before);
    }
}

#[test]
fn what_vanishes_in_a_maildir_is_made_again_and_the_maildir_itself_is_not() {
    for transport in TRANSPORTS {
        let server = Launch::new(transport).start();
        let mut client = server.connect();
        for (round, vanished) in ["new", "tmp", "cur"].into_iter().enumerate() {
            std::fs::remove_dir_all(server.maildir().join(vanished)).expect("it is ours");
            let name = format!("vanished-{round}");
            let reply = client.send(&mail::content(&name, 3000)).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
            mail::assert_kept(&server.maildir(), [&name]);
        }
        let aside = server.maildir().with_extension("aside");
        std::fs::rename(server.maildir(), &aside).expect("it is ours");
        let reply = client.send(&mail::content("nowhere", 3000)).unwrap();
        assert!(reply.starts_with("451 4.3.0 "), "{reply}");
        assert!(!server.maildir().exists());
        std::fs::rename(&aside, server.maildir()).expect("it is ours");
        server.assert_serves();
    }
}
