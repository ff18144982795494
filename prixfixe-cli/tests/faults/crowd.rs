//! Ten thousand clients that do nothing, beside some that work.

use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::TRANSPORTS;
use crate::client::Client;
use crate::mail;
use crate::server::{Launch, skip};

const IDLE: usize = 10_000;
const WORKERS: usize = 4;
const MESSAGES: usize = 25;

/// What an idle connection may cost at most, in KiB.
const IDLE_KIB: u64 = 4;

/// Both ends have a descriptor for each, and each end is a process.
fn has_descriptors() -> bool {
    let limit = getrlimit(Resource::Nofile);
    let needed = IDLE as u64 + 500;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        skip("the hard limit of open files is below 10,500");
        return false;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    true
}

#[test]
fn a_crowd_of_idle_clients_costs_little_and_delays_nobody() {
    if !has_descriptors() {
        return;
    }
    for transport in TRANSPORTS {
        let server = Launch::new(transport)
            .arguments(&["--max-connections", "11000"])
            .start();
        let before = server.warm();
        let address = server.address();
        let mut idle: Vec<_> = (0..IDLE)
            .map(|_| Client::greeted(address).expect("it serves").into_stream())
            .collect();
        let crowded = server.memory();
        let names: Vec<String> = thread::scope(|scope| {
            let work = |worker| {
                move || {
                    let mut client = Client::connect(address).expect("it serves");
                    let names = (0..MESSAGES).map(|number| format!("crowd-{worker}-{number}"));
                    names
                        .inspect(|name| {
                            let reply = client.send(&mail::content(name, 3000)).unwrap();
                            assert!(reply.starts_with("250"), "{reply}");
                        })
                        .collect::<Vec<_>>()
                }
            };
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| scope.spawn(work(worker)))
                .collect();
            let names = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap());
            names.collect()
        });
        mail::assert_kept(&server.maildir(), &names);
        let each = crowded.saturating_sub(before) as f64 / IDLE as f64;
        eprintln!("{transport}: {each:.3} KiB for an idle connection");
        assert!(crowded < before + IDLE_KIB * IDLE as u64, "{crowded} KiB");
        // The last to come are still there, and so are the first.
        for stream in [idle.swap_remove(0), idle.pop().unwrap()] {
            use std::io::{Read, Write};
            let mut stream = stream;
            stream.write_all(b"NOOP\r\n").unwrap();
            let mut reply = [0; 3];
            stream.read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"250");
        }
        drop(idle);
        server.assert_memory_is_back(before);
        server.assert_serves();
    }
}
