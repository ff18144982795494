//! More connections than there are descriptors for.

use std::net::TcpStream;

use crate::TRANSPORTS;
use crate::client::Client;
use crate::mail;
use crate::server::{Launch, has};

/// Far fewer than the connections that are configured, and than those that come.
const LIMIT: usize = 64;
const CLIENTS: usize = 100;

/// More than what waits in memory for its end: each has its file open while it is under way.
const LARGE: usize = 400_000;

#[test]
fn with_few_descriptors_fewer_clients_are_let_in_and_all_of_them_deliver() {
    if !has("prlimit") {
        return;
    }
    for transport in TRANSPORTS {
        let server = Launch::new(transport)
            .wrapper(&["prlimit", &format!("--nofile={LIMIT}:{LIMIT}")])
            .arguments(&["--max-connections", "500", "--threads", "2"])
            .start();
        server.log.wait("the limit of open files is too low", 1);
        let before = server.warm();
        let mut number = 0;
        for _ in 0..3 {
            let (mut clients, mut refused) = (Vec::new(), Vec::new());
            for _ in 0..CLIENTS {
                let stream = TcpStream::connect(server.address()).expect("the backlog has room");
                match Client::over(stream) {
                    Ok(client) => clients.push(client),
                    // Told 421; it stays as long as it can.
                    Err(error) => refused.push(error.to_string()),
                }
            }
            let told = refused.iter().find(|told| !told.contains("421 4.3.2 "));
            assert_eq!(told, None);
            assert!(clients.len() >= 8, "{} let in", clients.len());
            let mut names = Vec::new();
            for client in &mut clients {
                names.push(format!("few-{number}"));
                number += 1;
                let content = mail::content(names.last().unwrap(), LARGE);
                client.begin().unwrap();
                client.write(&content).unwrap();
            }
            for client in &mut clients {
                client.write(b".\r\n").unwrap();
                client.expect("250").unwrap();
            }
            mail::assert_kept(&server.maildir(), &names);
            let in_force = format!("in_force={}", clients.len());
            server.log.wait(&in_force, 1);
            drop(clients);
            server.eventually_serves();
        }
        assert_eq!(server.log.count("cannot accept connections"), 0);
        server.assert_memory_is_back(before);
    }
}
