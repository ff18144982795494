//! Two processes with one spool: a successor that takes over under load, and a start on mail that
//! is there already.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use prixfixe_test_support::{unused_port, wait_until};
use tempfile::TempDir;

use crate::TRANSPORTS;
use crate::client::Client;
use crate::kill::seed;
use crate::mail;
use crate::server::{Launch, Server, files};
use crate::targets::place::Place;
use crate::targets::programs;

const CLIENTS: usize = 4;
const HANDOVERS: usize = 4;
/// Mail that comes in before each step of a handover.
const MESSAGES: usize = 20;

/// Servers that share a port and a spool, one after the other.
struct Line {
    folder: Arc<TempDir>,
    address: SocketAddr,
    transport: &'static str,
    configuration: String,
}

impl Line {
    fn new(transport: &'static str, place: &Place) -> Self {
        let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
            address: (Ipv4Addr::LOCALHOST, port).into(),
            transport,
            configuration: format!(
                "{}\n[spool]\npath = 'spool'\nretry = ['1s']\n",
                place.configuration
            ),
        }
    }

    fn launch(&self) -> Launch {
        let shared = format!("--listen={}", self.address);
        Launch::new(self.transport)
            .folder(&self.folder)
            .arguments(&["--reuse-port", &shared])
            .file(&self.configuration)
    }

    /// How many messages `prixfixe spool` sees, with a server or without one.
    fn waiting(&self) -> usize {
        let output = Command::new(env!("CARGO_BIN_EXE_prixfixe"))
            .args(["spool", "list", "--json", "--config", "prixfixe.toml"])
            .current_dir(self.folder.path())
            .output()
            .expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8_lossy(&output.stdout).lines().count()
    }
}

/// What clients see of each other.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    acknowledged: AtomicUsize,
}

impl Load {
    /// A client that goes on through every handover: the names of what got its `250`.
    fn send(&self, address: SocketAddr, client: usize) -> BTreeSet<String> {
        let mut acknowledged = BTreeSet::new();
        let mut connection: Option<Client> = None;
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let Some(mut open) = connection.take().or_else(|| Client::connect(address).ok()) else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let name = format!("{client}-{number}");
            let size = if number % 10 == 9 { 400_000 } else { 3000 };
            let Ok(reply) = open.try_to_send(&mail::content(&name, size)) else {
                continue;
            };
            if reply.starts_with("250") {
                acknowledged.insert(name);
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // A process that drains says so; one behind the other is connected to in turn.
            connection = Some(open).filter(|_| reply.starts_with("250") && number % 5 != 4);
        }
        acknowledged
    }

    fn wait_for_more(&self) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + MESSAGES;
        wait_until("mail comes in", || {
            self.acknowledged.load(Ordering::Relaxed) >= enough
        });
    }
}

/// Each has its turn; every second one is killed in the middle of handing over.
fn hand_over_again_and_again(line: &Line, place: &mut Place, load: &Load) -> Server {
    let seed = seed();
    eprintln!("PRIXFIXE_FAULTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = line.launch().start();
    server.log.wait("the spool delivers", 1);
    for handover in 0..HANDOVERS {
        load.wait_for_more();
        // So that there is mail in the spool.
        place.stop();
        let successor = line.launch().start();
        // Both take mail, and one of them delivers.
        load.wait_for_more();
        assert_eq!(successor.log.count("the spool delivers"), 0);
        server.terminate();
        if handover % 2 == 1 {
            thread::sleep(Duration::from_millis(random.u64(..60)));
            server.kill();
        } else {
            assert!(server.wait().success());
        }
        successor.log.wait("the spool delivers", 1);
        place.run();
        server = successor;
    }
    load.wait_for_more();
    server
}

#[test]
fn a_successor_delivers_what_both_have_taken() {
    for transport in TRANSPORTS {
        let mut place = programs::next_hop("smtp");
        let line = Line::new(transport, &place);
        let load = Load::default();
        let (mut server, acknowledged) = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (load, address) = (&load, line.address);
                    scope.spawn(move || load.send(address, client))
                })
                .collect();
            let server = hand_over_again_and_again(&line, &mut place, &load);
            load.is_over.store(true, Ordering::Relaxed);
            let names = clients
                .into_iter()
                .flat_map(|it| it.join().expect("a client"));
            (server, names.collect::<BTreeSet<String>>())
        });
        wait_until("the target has them all", || {
            acknowledged.is_subset(&mail::stored(place.folder.path()))
        });
        mail::assert_kept(place.folder.path(), &acknowledged);
        wait_until("nothing is left", || line.waiting() == 0);
        assert!(files(&line.folder.path().join("spool/failed")).is_empty());
        server.terminate();
        assert!(server.wait().success());
        // Whoever looks now has the lock, and finds nothing that is not over.
        assert_eq!(line.waiting(), 0);
    }
}

#[test]
fn a_later_process_takes_the_spool_up_and_an_unknown_format_is_left_alone() {
    for transport in TRANSPORTS {
        let mut place = programs::next_hop("smtp");
        place.stop();
        let line = Line::new(transport, &place);
        let mut server = line.launch().start();
        let mut client = server.connect();
        let mut acknowledged = BTreeSet::new();
        for number in 0..12 {
            let name = format!("before-{number}");
            let size = if number % 4 == 3 { 400_000 } else { 3000 };
            let reply = client.send(&mail::content(&name, size)).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
            acknowledged.insert(name);
        }
        server.terminate();
        assert!(server.wait().success());
        assert_eq!(line.waiting(), acknowledged.len());

        let format = line.folder.path().join("spool/format");
        let ours = fs::read(&format).expect("a file");
        fs::write(&format, "prixfixe-spool 2\n").expect("it is ours");
        let refused = line.launch().spawn().wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(error.contains("is not a spool of this version"), "{error}");
        assert_eq!(fs::read(&format).expect("a file"), b"prixfixe-spool 2\n");
        fs::write(&format, ours).expect("it is ours");

        place.run();
        let mut server = line.launch().start();
        wait_until("the target has them all", || {
            acknowledged.is_subset(&mail::stored(place.folder.path()))
        });
        wait_until("nothing is left", || line.waiting() == 0);
        // Nothing was torn off in the middle, so nothing is repeated.
        assert!(place.names().values().all(|times| *times == 1));
        server.terminate();
        assert!(server.wait().success());
    }
}
