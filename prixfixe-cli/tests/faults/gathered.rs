//! Large messages that have to be gathered whole, all at once: policy looks at each, and memory stays within its limit.
//!
//! `PRIXFIXE_FAULTS_MESSAGES=100 PRIXFIXE_FAULTS_MEGABYTES=50` for the long form.

use std::sync::Barrier;
use std::thread;

use crate::TRANSPORTS;
use crate::kill::number;
use crate::mail;
use crate::server::{KEPT_KIB, Launch};

/// `limits.message-memory`.
const MEMORY_MIB: u64 = 16;

#[test]
fn large_messages_at_once_hold_the_memory_of_messages() {
    let messages = number("PRIXFIXE_FAULTS_MESSAGES").unwrap_or(16);
    let megabytes = number("PRIXFIXE_FAULTS_MEGABYTES").unwrap_or(8);
    let messages = usize::try_from(messages).expect("a few");
    let size = usize::try_from(megabytes).expect("a few") * 1_000_000;
    for transport in TRANSPORTS {
        let server = Launch::new(transport)
            .file(&format!(
                "limits.message-memory = '{MEMORY_MIB}MiB'\nlimits.max-message-size = '100MiB'\n\
                 delivery.fsync = false\n[policy]\ndmarc = 'mark'\ndns = ['127.0.0.1:9']\n"
            ))
            .arguments(&["--max-connections", "200"])
            .start();
        let before = server.warm();
        // All of each is there but its end.
        let all_are_there = Barrier::new(messages + 1);
        let measured = Barrier::new(messages + 1);
        let peak = thread::scope(|scope| {
            for number in 0..messages {
                let (server, all_are_there, measured) = (&server, &all_are_there, &measured);
                scope.spawn(move || {
                    let mut client = server.connect();
                    client.begin().expect("it takes mail");
                    let content = mail::content(&format!("large-{number}"), size);
                    client.write(&content).expect("it reads");
                    drop(content);
                    all_are_there.wait();
                    measured.wait();
                    client.write(b".\r\n").expect("it reads");
                    let reply = client.reply().expect("it answers");
                    assert!(reply.starts_with("250"), "{reply}");
                    client.quit();
                });
            }
            all_are_there.wait();
            let held = server.memory();
            measured.wait();
            held
        });
        let most = before + MEMORY_MIB * 1024 + KEPT_KIB;
        eprintln!("{transport}: {before} KiB before, {peak} KiB with {messages} of {megabytes} MB");
        assert!(peak <= most, "{peak} KiB, of {most}");
        // Verified, moved into a Maildir and gone.
        assert!(server.peak() <= most, "{} KiB, of {most}", server.peak());
        let stored = mail::stored(&server.maildir());
        let large = stored.iter().filter(|name| name.starts_with("large-"));
        assert_eq!(large.count(), messages);
        server.assert_memory_is_back(before);
    }
}
