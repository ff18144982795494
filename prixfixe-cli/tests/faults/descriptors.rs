//! More connections than there are descriptors for.

use std::collections::BTreeSet;
use std::net::TcpStream;

use crate::TRANSPORTS;
use crate::mail;
use crate::server::{Launch, has};

const LIMIT: usize = 100;

#[test]
fn without_descriptors_clients_wait_and_are_served_when_there_are_some() {
    if !has("prlimit") {
        return;
    }
    for transport in TRANSPORTS {
        let server = Launch::new(transport)
            .wrapper(&["prlimit", &format!("--nofile={LIMIT}:{LIMIT}")])
            .arguments(&["--max-connections", "1000"])
            .start();
        let before = server.warm();
        let mut acknowledged = BTreeSet::new();
        let mut client = server.connect();
        for round in 0..3 {
            let idle: Vec<TcpStream> = (0..LIMIT + 50)
                .map(|_| TcpStream::connect(server.address()).expect("the backlog has room"))
                .collect();
            // One line a minute, however often it happens.
            server.log.wait("cannot accept connections for now", 1);
            // There is none for the file of a message either.
            for number in 0..5 {
                let name = format!("short-{round}-{number}");
                let reply = client.send(&mail::content(&name, 3000)).unwrap();
                match &reply[..3] {
                    "250" => drop(acknowledged.insert(name)),
                    _ => assert!(reply.starts_with("451 4.3.0 "), "{reply}"),
                }
            }
            drop(idle);
            server.assert_serves();
            let name = format!("enough-{round}");
            let reply = client.send(&mail::content(&name, 3000)).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
            acknowledged.insert(name);
        }
        mail::assert_kept(&server.maildir(), &acknowledged);
        let lines = server.log.count("cannot accept connections for now");
        assert!(lines < 100, "{lines} lines");
        server.assert_memory_is_back(before);
    }
}
