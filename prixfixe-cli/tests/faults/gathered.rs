//! Large messages that have to be gathered whole, all at once: policy looks at each, and memory
//! stays within its limit.
//!
//! `PRIXFIXE_FAULTS_MESSAGES=100 PRIXFIXE_FAULTS_MEGABYTES=50` for the long form.

use std::net::{SocketAddr, UdpSocket};
use std::thread;

use crate::TRANSPORTS;
use crate::client::Client;
use crate::kill::number;
use crate::mail;
use crate::server::{KEPT_KIB, Launch};

/// `limits.message-memory`.
const MEMORY_MIB: u64 = 8;

/// What a message needs beside that, while it is read back from its file and written.
const EACH_KIB: u64 = 512;

/// A name server that knows of nothing. It ends with the tests.
fn nothing_is_there() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut packet = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            // The question, as a response with NXDOMAIN (RFC 1035 section 4.1.1).
            packet[2] |= 0x80;
            packet[3] = 0x80 | 3;
            let _ = socket.send_to(&packet[..length], from);
        }
    });
    address
}

#[test]
fn large_messages_at_once_hold_the_memory_of_messages() {
    let messages = number("PRIXFIXE_FAULTS_MESSAGES").unwrap_or(16);
    let megabytes = number("PRIXFIXE_FAULTS_MEGABYTES").unwrap_or(4);
    let most_of_each = messages * EACH_KIB;
    let messages = usize::try_from(messages).expect("a few");
    let size = usize::try_from(megabytes).expect("a few") * 1_000_000;
    let dns = nothing_is_there();
    for transport in TRANSPORTS {
        let server = Launch::new(transport)
            .file(&format!(
                "limits.message-memory = '{MEMORY_MIB}MiB'\nlimits.max-message-size = '100MiB'\n\
                 delivery.fsync = false\n[policy]\ndmarc = 'mark'\ndns = ['{dns}']\n"
            ))
            .arguments(&["--max-connections", "200"])
            .start();
        let before = server.warm();
        // All of each is there but its end.
        let mut clients: Vec<Client> = Vec::new();
        for number in 0..messages {
            let mut client = server.connect();
            client.begin().expect("it takes mail");
            let content = mail::content(&format!("large-{number}"), size);
            client.write(&content).expect("it reads");
            clients.push(client);
        }
        let held = server.memory();
        for client in &mut clients {
            client.write(b".\r\n").expect("it reads");
        }
        for mut client in clients {
            let reply = client.reply().expect("it answers");
            assert!(reply.starts_with("250"), "{reply}");
            client.quit();
        }
        let most = before + MEMORY_MIB * 1024 + KEPT_KIB + most_of_each;
        let peak = server.peak();
        eprintln!(
            "{transport}: {before} KiB before, {held} with {messages} of {megabytes} MB, {peak} at the most"
        );
        // Verified, moved into a Maildir and gone.
        assert!(peak <= most, "{peak} KiB, of {most}");
        let stored = mail::stored(&server.maildir());
        let large = stored.iter().filter(|name| name.starts_with("large-"));
        assert_eq!(large.count(), messages);
        server.assert_memory_is_back(before);
    }
}
