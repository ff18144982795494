//! `kill -9` in the middle of the work.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::Prixfixe;

const CLIENTS: usize = 8;

/// Messages acknowledged before the server is killed.
const ENOUGH: usize = 200;

/// Sends until the connection breaks; the numbers of the messages that got their 250.
fn send_until_it_breaks(
    address: SocketAddr,
    client: usize,
    acknowledged: &AtomicUsize,
) -> Vec<String> {
    let mut sent = Vec::new();
    let Ok(stream) = TcpStream::connect(address) else {
        return sent;
    };
    let mut replies = BufReader::new(stream.try_clone().expect("a socket"))
        .lines()
        .map_while(Result::ok);
    let mut stream = stream;
    let mut converse = |command: String, replies_due: usize| {
        stream.write_all(command.as_bytes()).ok()?;
        (0..replies_due).map(|_| replies.next()).last().flatten()
    };
    if converse("HELO client.test\r\n".into(), 2).is_none() {
        return sent;
    }
    for number in 0.. {
        let name = format!("{client}-{number}");
        let body = format!(
            "Subject: {name}\r\n\r\n{}\r\nend of {name}\r\n.\r\n",
            "x".repeat(2000)
        );
        let envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
        match converse(envelope.into(), 3).and_then(|_| converse(body, 1)) {
            Some(reply) if reply.starts_with("250") => sent.push(name),
            _ => break,
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    sent
}

fn nothing_acknowledged_is_lost(transport: &str) {
    let mut server = Prixfixe::start(&["--transport", transport]);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, acknowledged) = (server.address(), Arc::clone(&acknowledged));
            thread::spawn(move || send_until_it_breaks(address, client, &acknowledged))
        })
        .collect();
    while acknowledged.load(Ordering::Relaxed) < ENOUGH {
        thread::yield_now();
    }
    server.kill();
    let names: Vec<_> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("a client"))
        .collect();

    let again = Prixfixe::start_in(server.shared_folder(), &[], &["--transport", transport]);
    let stored: HashSet<String> = again
        .mail()
        .into_iter()
        .map(|mail| {
            let content = String::from_utf8(mail.content).expect("text");
            let name = content
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("Subject: "))
                .expect("a name");
            assert!(
                content.ends_with(&format!("end of {name}\r\n")),
                "{name} is not whole"
            );
            name.to_owned()
        })
        .collect();
    assert!(names.len() >= ENOUGH);
    for name in names {
        assert!(stored.contains(&name), "{name} got its 250 and is gone");
    }
}

#[test]
fn over_tokio_nothing_acknowledged_is_lost() {
    nothing_acknowledged_is_lost("tokio");
}

#[test]
fn over_raw_nothing_acknowledged_is_lost() {
    nothing_acknowledged_is_lost("raw");
}
