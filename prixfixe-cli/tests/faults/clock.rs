//! A clock that jumps, by libfaketime.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::TRANSPORTS;
use crate::mail;
use prixfixe_test_support::wait_until;

use crate::server::{Launch, files, skip};

/// Where Debian has it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

fn has_library() -> bool {
    let found = Path::new(LIBRARY).is_file();
    if !found {
        skip("libfaketime is not installed");
    }
    found
}

/// With a clock that shows what is in the file `clock` of its folder.
fn launch(transport: &str, monotonic: bool) -> Launch {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").expect("a file");
    let keep = if monotonic { "0" } else { "1" };
    Launch::new(transport)
        .folder(&folder)
        .variable("LD_PRELOAD", LIBRARY)
        .variable("FAKETIME_TIMESTAMP_FILE", clock)
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("DONT_FAKE_MONOTONIC", keep)
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", keep)
}

/// The year in the Received header of each message.
fn years(maildir: &Path) -> BTreeSet<String> {
    let year = |file: &Path| {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        let (trace, _) = text.split_once("\r\nSubject: ").expect("a message");
        let (_, date) = trace.rsplit_once(';').expect("a date");
        let mut words = date.split_whitespace();
        words.rfind(|word| word.len() == 4).unwrap().to_owned()
    };
    files(&maildir.join("new"))
        .iter()
        .map(|file| year(file))
        .collect()
}

#[test]
fn a_wall_clock_that_jumps_changes_dates_and_nothing_else() {
    if !has_library() {
        return;
    }
    for transport in TRANSPORTS {
        let server = launch(transport, false).start();
        let set = |offset: &str| fs::write(server.folder.path().join("clock"), offset).unwrap();
        let before = server.warm();
        let mut acknowledged = BTreeSet::new();
        let mut idle = server.connect();
        for (round, offset) in ["+800d", "-800d", "+0", "-10s", "+800d"].iter().enumerate() {
            let mut client = server.connect();
            let name = format!("jump-{round}");
            let content = mail::content(&name, 3000);
            let (head, tail) = content.split_at(1500);
            client.begin().unwrap();
            client.write(head).unwrap();
            set(offset);
            client.write(tail).unwrap();
            client.write(b".\r\n").unwrap();
            client.expect("250").unwrap();
            acknowledged.insert(name);
            // Nobody was waited for in vain.
            idle.write(b"NOOP\r\n").unwrap();
            idle.expect("250").unwrap();
            client.quit();
            server.assert_serves();
        }
        mail::assert_kept(&server.maildir(), &acknowledged);
        assert!(
            years(&server.maildir()).len() >= 3,
            "the clock has not jumped"
        );
        server.assert_memory_is_back(before);
    }
}

#[test]
fn a_time_that_leaps_leaves_nobody_hanging() {
    if !has_library() {
        return;
    }
    for transport in TRANSPORTS {
        let server = launch(transport, true).start();
        let before = server.warm();
        let mut idle = server.connect();
        fs::write(server.folder.path().join("clock"), "+1d").unwrap();
        server.assert_serves();
        // Whether the leap is noticed before the client says something depends on the transport's
        // timer.
        let _ = idle.write(b"NOOP\r\n");
        let reply = idle.reply().unwrap();
        assert!(
            reply.starts_with("421 4.4.2 ") || reply.starts_with("250"),
            "{reply}"
        );
        server.assert_serves();
        server.assert_memory_is_back(before);
    }
}

/// A server whose clock is days ahead takes the file of a message under way for abandoned. The
/// message is refused, not lost.
#[test]
fn a_message_that_a_wrong_clock_sweeps_away_is_refused() {
    if !has_library() {
        return;
    }
    for transport in TRANSPORTS {
        let server = Launch::new(transport).start();
        let mut client = server.connect();
        let content = mail::content("swept", 1_000_000);
        let (head, tail) = content.split_at(500_000);
        client.begin().unwrap();
        client.write(head).unwrap();
        let tmp = server.maildir().join("tmp");
        wait_until("it has a file", || !files(&tmp).is_empty());

        let other = Launch::new(transport)
            .folder(&server.folder)
            .variable("LD_PRELOAD", LIBRARY)
            .variable("FAKETIME", "+3d")
            .start();
        other.log.wait("an abandoned temporary file is removed", 1);
        client.write(tail).unwrap();
        client.write(b".\r\n").unwrap();
        client.expect("451 4.3.0 ").unwrap();
        assert!(!mail::stored(&server.maildir()).contains("swept"));
        let reply = client.send(&content).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        mail::assert_kept(&server.maildir(), [&"swept".to_owned()]);
    }
}
