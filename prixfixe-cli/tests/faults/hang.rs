//! A disk that hangs: a file system that is frozen, which takes root, and system calls that
//! `strace` delays.
//!
//! An answer may be owed for 10 s, so each of these takes as long.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::TRANSPORTS;
use crate::mail;
use prixfixe_test_support::wait_until;

use crate::server::{Launch, Server, has, skip};
use crate::storage::Injection;

/// An ext4 in a file. It is unmounted when this is dropped.
pub(crate) struct Image {
    file: PathBuf,
    path: PathBuf,
    options: String,
}

impl Image {
    /// With mail on it. `None`: the test is skipped.
    fn mount(folder: &Path) -> Option<Self> {
        Self::mount_at(folder, "mail", "defaults")
    }

    /// In a directory of this name. `None`: the test is skipped.
    pub(crate) fn mount_at(folder: &Path, name: &str, options: &str) -> Option<Self> {
        let image = Self {
            file: folder.join("image"),
            path: folder.join(name),
            options: format!("loop,{options}"),
        };
        let file = std::fs::File::create(&image.file).expect("a file");
        file.set_len(64 << 20).expect("a size");
        std::fs::create_dir(&image.path).expect("a directory");
        let made = succeeds(
            Command::new("mkfs.ext4")
                .args(["-q", "-F"])
                .arg(&image.file),
        );
        assert!(made, "mkfs.ext4 fails");
        if !image.attach() {
            skip("no image can be mounted");
            return None;
        }
        Some(image)
    }

    fn attach(&self) -> bool {
        let mut command = Command::new("mount");
        let command = command.args(["-o", &self.options]);
        succeeds(command.arg(&self.file).arg(&self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As after a reboot: checked, mended and mounted again.
    pub(crate) fn repair(&self) {
        let unmounted = succeeds(Command::new("umount").arg(&self.path));
        assert!(unmounted, "somebody has files open there");
        // 1: errors were corrected.
        let checked = Command::new("e2fsck").arg("-fy").arg(&self.file).output();
        let code = checked.expect("e2fsck runs").status.code();
        assert!(code.is_some_and(|code| code <= 1), "{code:?}");
        assert!(self.attach(), "it can be mounted again");
    }

    fn freeze(&self) -> Frozen<'_> {
        assert!(succeeds(
            Command::new("fsfreeze").arg("--freeze").arg(&self.path)
        ));
        Frozen(self)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}

/// It thaws when this is dropped: a process that waits for it cannot even be killed.
struct Frozen<'a>(&'a Image);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.0.path)
            .status();
    }
}

/// Whether a command succeeds.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn admin(server: &Server) -> SocketAddr {
    let lines = server.log.all();
    let line = lines.iter().find(|line| line.contains("admin endpoints"));
    let (_, address) = line.unwrap().split_once("address=").unwrap();
    address.trim().parse().unwrap()
}

/// The code and the text of `/readyz`.
fn readiness(server: &Server) -> (u16, String) {
    let mut stream = TcpStream::connect(admin(server)).unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap();
    (code.parse().unwrap(), body.trim_end().to_owned())
}

/// What `prixfixe health` exits with.
fn health(server: &Server) -> i32 {
    let output = Command::new(env!("CARGO_BIN_EXE_prixfixe"))
        .args(["health", "--admin", &admin(server).to_string()])
        .output();
    output.unwrap().status.code().unwrap()
}

fn start(launch: Launch) -> Server {
    let server = launch.arguments(&["--admin=127.0.0.1:0"]).start();
    server.log.wait("admin endpoints", 1);
    server
}

/// From the disk's last answer to its next: what everybody is told, and that nothing is lost.
/// `release` ends the hang.
fn assert_seen_and_over(server: &Server, release: impl FnOnce()) {
    let address = server.address();
    let waiting = thread::spawn(move || {
        let mut client = crate::client::Client::connect(address).unwrap();
        client.send(&mail::content("waited", 3000)).unwrap()
    });
    wait_until("/readyz is 503", || readiness(server).0 == 503);
    let (_, reason) = readiness(server);
    assert!(
        reason.starts_with("mail cannot be delivered: cannot write to ")
            && reason.contains(": no answer for "),
        "{reason}"
    );
    assert_eq!(health(server), 1);
    // Nobody has to send a body for nothing, once the log has it too.
    server
        .log
        .wait("mail cannot be stored; MAIL is answered 451", 1);
    let mut client = server.connect();
    client.write(b"MAIL FROM:<>\r\n").unwrap();
    client.expect("451 4.3.0 ").unwrap();
    release();
    let reply = waiting.join().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    wait_until("/readyz is 200", || readiness(server).0 == 200);
    assert_eq!(health(server), 0);
    mail::assert_kept(&server.maildir(), [&"waited".to_owned()]);
    server.assert_serves();
}

#[test]
fn a_file_system_that_hangs_is_seen_and_so_is_its_end() {
    if !has("mkfs.ext4") || !has("fsfreeze") {
        return;
    }
    for transport in TRANSPORTS {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let Some(image) = Image::mount(folder.path()) else {
            return;
        };
        let server = start(Launch::new(transport).folder(&folder));
        server.assert_serves();
        let frozen = image.freeze();
        assert_seen_and_over(&server, || drop(frozen));
    }
}

#[test]
fn system_calls_that_take_their_time_are_seen_and_a_client_that_does_is_not() {
    if !has("strace") {
        return;
    }
    let server = start(Launch::new("tokio"));
    // A client that owes its body, with a part of it on the disk, for longer than a disk may owe
    // anything.
    let mut stalled = server.connect();
    stalled.begin().unwrap();
    let content = mail::content("stalled", 500_000);
    stalled.write(&content[..400_000]).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(13) {
        assert_eq!(readiness(&server), (200, "ready".to_owned()));
        thread::sleep(Duration::from_millis(200));
    }
    // Whichever thread has the next message, it waits.
    let delay = Injection::new(&server, "fdatasync:delay_enter=20000000:when=1");
    assert_seen_and_over(&server, || {});
    drop(delay);
    stalled.write(&content[400_000..]).unwrap();
    stalled.write(b".\r\n").unwrap();
    stalled.expect("250").unwrap();
    mail::assert_kept(&server.maildir(), [&"stalled".to_owned()]);
}
