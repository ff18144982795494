//! A spool whose disk fills up, turns read-only, or cannot sync. The file systems are mounted by
//! the test, which takes root: what a real one answers is what is tried. What fails at a single
//! call is injected by `strace`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use prixfixe_test_support::wait_until;
use tempfile::TempDir;

use crate::TRANSPORTS;
use crate::client::Client;
use crate::disk::Mount;
use crate::hang::Image;
use crate::mail;
use crate::server::{Launch, Server, files, has, skip};
use crate::storage::Injection;
use crate::targets::place::Place;
use crate::targets::programs;

/// One that forwards all mail to a target, by way of a spool.
fn launch(transport: &str, folder: &Arc<TempDir>, place: &Place) -> Launch {
    // What is tried is the disk's own word.
    let text = format!(
        "delivery.min-free = 0\n{}\n[spool]\npath = 'spool'\nretry = ['1s']\n",
        place.configuration
    );
    Launch::new(transport).folder(folder).file(&text)
}

/// All that was acknowledged is at the target, and whole, and nothing is left.
fn assert_delivered(place: &Place, folder: &TempDir, acknowledged: &BTreeSet<String>) {
    wait_until("the target has them all", || {
        acknowledged.is_subset(&mail::stored(place.folder.path()))
    });
    mail::assert_kept(place.folder.path(), acknowledged);
    let failed = files(&folder.path().join("spool/failed"));
    assert!(failed.is_empty(), "{failed:?}");
}

/// What a client has sent.
#[derive(Default)]
struct Sent {
    acknowledged: BTreeSet<String>,
    refusals: Vec<String>,
}

/// Sends mail of all sizes until so many were refused.
fn send_until_refused(server: &Server, name: &str, refusals: usize) -> Sent {
    let mut client = server.connect();
    let mut sent = Sent::default();
    for number in 0.. {
        let name = format!("{name}-{number}");
        let size = match number % 3 {
            0 => 3000,
            1 => 100_000,
            // A file of its own.
            _ => 400_000,
        };
        let reply = client.try_to_send(&mail::content(&name, size)).unwrap();
        match reply.starts_with("250") {
            true => drop(sent.acknowledged.insert(name)),
            false => sent.refusals.push(reply),
        }
        if sent.refusals.len() >= refusals {
            break;
        }
    }
    client.quit();
    sent
}

/// The target is away while the spool fills up, so that all of it is there when it comes back:
/// nobody else makes room.
#[test]
fn a_spool_that_has_filled_its_disk_refuses_and_empties_itself() {
    for transport in TRANSPORTS {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let Some(_mount) = Mount::new(&folder.path().join("spool"), "6m") else {
            return;
        };
        let mut place = programs::next_hop("smtp");
        place.stop();
        let server = launch(transport, &folder, &place).start();
        let before = server.memory();
        let sent: Vec<Sent> = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    let (server, name) = (&server, format!("fill-{client}"));
                    scope.spawn(move || send_until_refused(server, &name, 8))
                })
                .collect();
            let sent = clients.into_iter().map(|it| it.join().expect("a client"));
            sent.collect()
        });
        let mut acknowledged = BTreeSet::new();
        for sent in sent {
            acknowledged.extend(sent.acknowledged);
            for refusal in sent.refusals {
                assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
            }
        }
        assert!(acknowledged.len() > 10, "{acknowledged:?}");
        place.run();
        assert_delivered(&place, &folder, &acknowledged);
        wait_until("there is room", || {
            let mut client = server.connect();
            let reply = client.try_to_send(&mail::content("room", 400_000));
            reply.unwrap().starts_with("250")
        });
        assert_delivered(&place, &folder, &["room".to_owned()].into());
        server.assert_memory_is_back(before + 8 * 1024);
    }
}

/// Killed while its disk is full: what it had acknowledged is there all the same, and so it is with
/// no room at all.
#[test]
fn a_spool_on_a_full_disk_survives_its_server() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let Some(_mount) = Mount::new(&folder.path().join("spool"), "6m") else {
        return;
    };
    let mut place = programs::next_hop("smtp");
    place.stop();
    let mut server = launch("tokio", &folder, &place).start();
    let sent = send_until_refused(&server, "full", 10);
    assert!(!sent.acknowledged.is_empty());
    server.kill();
    let ballast = folder.path().join("spool/ballast");
    // Until the disk says no.
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    let server = launch("tokio", &folder, &place).start();
    let mut client = server.connect();
    let reply = client.try_to_send(&mail::content("none", 3000)).unwrap();
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    place.run();
    wait_until("the target has them all", || {
        sent.acknowledged
            .is_subset(&mail::stored(place.folder.path()))
    });
    fs::remove_file(ballast).expect("it is there");
    wait_until("there is room", || {
        let reply = client.try_to_send(&mail::content("room", 3000));
        reply.unwrap().starts_with("250")
    });
    assert_delivered(&place, &folder, &sent.acknowledged);
    assert_delivered(&place, &folder, &["room".to_owned()].into());
}

/// An ext4 that finds an error turns itself read-only, also under files that are open: a remount
/// would be refused there.
fn fail(image: &Image) -> bool {
    let device = Command::new("findmnt")
        .args(["-n", "-o", "SOURCE"])
        .arg(image.path())
        .output()
        .expect("findmnt runs");
    let device = String::from_utf8(device.stdout).expect("a path");
    let name = device.trim().trim_start_matches("/dev/");
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").is_ok()
}

#[test]
fn a_spool_whose_disk_turns_read_only_refuses_and_keeps_what_it_has() {
    if !["mkfs.ext4", "e2fsck", "findmnt"].into_iter().all(has) {
        return;
    }
    for transport in TRANSPORTS {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let Some(image) = Image::mount_at(folder.path(), "spool", "errors=remount-ro") else {
            return;
        };
        let mut place = programs::next_hop("smtp");
        place.stop();
        let mut server = launch(transport, &folder, &place).start();
        let mut acknowledged = BTreeSet::new();
        let mut client = server.connect();
        for (number, size) in [3000, 400_000, 3000].into_iter().enumerate() {
            let name = format!("writable-{number}");
            let reply = client.send(&mail::content(&name, size)).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
            acknowledged.insert(name);
        }
        if !fail(&image) {
            return skip("no error can be made in an ext4");
        }
        for size in [3000, 400_000, 3000] {
            let reply = client.try_to_send(&mail::content("read-only", size));
            let reply = reply.unwrap();
            assert!(reply.starts_with("451 4.3.0 "), "{reply}");
        }
        // What it has goes out, whatever cannot be written down of that.
        place.run();
        wait_until("the target has them all", || {
            acknowledged.is_subset(&mail::stored(place.folder.path()))
        });
        server.kill();
        image.repair();
        let server = launch(transport, &folder, &place).start();
        server.assert_serves();
        assert_delivered(&place, &folder, &acknowledged);
        assert_delivered(&place, &folder, &["serves".to_owned()].into());
        assert!(!mail::stored(place.folder.path()).contains("read-only"));
    }
}

/// The segments that are there.
fn segments(folder: &Path) -> BTreeSet<PathBuf> {
    files(&folder.join("spool/log")).into_iter().collect()
}

/// One that fails is closed, whatever is on the disk of it, and the next message begins another
/// one.
#[test]
fn a_sync_that_fails_is_an_error_for_its_messages_alone() {
    if !has("strace") {
        return;
    }
    for transport in TRANSPORTS {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut place = programs::next_hop("smtp");
        place.stop();
        let mut server = launch(transport, &folder, &place).start();
        let mut acknowledged = BTreeSet::new();
        let mut refused = BTreeSet::new();
        let mut client = server.connect();
        let mut send = |client: &mut Client, name: String, size: usize| {
            let reply = client.try_to_send(&mail::content(&name, size)).unwrap();
            match &reply[..3] {
                "250" => acknowledged.insert(name),
                "451" => refused.insert(name),
                _ => panic!("{reply}"),
            }
        };
        send(&mut client, "before".to_owned(), 3000);
        let before = segments(folder.path());
        for fault in ["fdatasync:error=EIO:when=2+2", "fsync:error=EIO:when=2+2"] {
            let injection = Injection::new(&server, fault);
            for number in 0..12 {
                let size = if number % 4 == 3 { 400_000 } else { 3000 };
                send(&mut client, format!("{fault}-{number}"), size);
            }
            drop(injection);
        }
        wait_until("it is written again", || {
            let name = "after".to_owned();
            let reply = client.try_to_send(&mail::content(&name, 3000)).unwrap();
            reply.starts_with("250")
        });
        acknowledged.insert("after".to_owned());
        assert!(!refused.is_empty() && acknowledged.len() > 3);
        assert!(segments(folder.path()).difference(&before).count() >= 2);
        // By what is on the disk alone.
        server.kill();
        place.run();
        let _server = launch(transport, &folder, &place).start();
        assert_delivered(&place, &folder, &acknowledged);
        let stored = mail::stored(place.folder.path());
        assert!(refused.is_disjoint(&stored), "refused, and yet there");
    }
}

/// Whether a thread of the process is held up by `strace`.
fn hangs(server: &Server) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.process()));
    let mut tasks = tasks.expect("it is there").map_while(Result::ok);
    tasks.any(|task| {
        let status = fs::read_to_string(task.path().join("status"));
        status.is_ok_and(|it| it.contains("State:\tt"))
    })
}

/// The drain timeout, and 10 s for the disk's last answer.
#[test]
fn a_disk_that_does_not_answer_does_not_hold_up_the_end() {
    if !has("strace") {
        return;
    }
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let mut place = programs::next_hop("smtp");
    place.stop();
    let mut server = launch("tokio", &folder, &place)
        .arguments(&["--drain-timeout=1s"])
        .start();
    let mut client = server.connect();
    let reply = client.send(&mail::content("before", 3000)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let delay = Injection::new(&server, "fdatasync:delay_enter=120000000:when=1+1");
    client.begin().unwrap();
    client.write(&mail::content("waits", 3000)).unwrap();
    client.write(b".\r\n").unwrap();
    wait_until("the disk hangs", || hangs(&server));
    server.terminate();
    server.log.wait("the spool does not answer", 1);
    delay.kill();
    let status = server.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    place.run();
    let _server = launch("tokio", &folder, &place).start();
    assert_delivered(&place, &folder, &["before".to_owned()].into());
}
