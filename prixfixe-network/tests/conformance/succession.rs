//! One transport ends while another goes on at the same address.

use std::io::BufRead;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_network::Listener;

use crate::harness::{Client, Harness, Way, wait_until};
use crate::toy::Toy;

const RESTARTS: usize = 5;
const CLIENTS: usize = 8;

pub(crate) fn a_socket_that_is_kept_elsewhere_keeps_who_waits_in_it(way: Way) {
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let inherit = || {
        Listener::try_from(kept.try_clone().unwrap())
            .unwrap()
            .leave_backlog()
    };
    let old = Harness::single_on(way, inherit(), Toy::default(), way.options());
    let mut holder = old.client();
    let held = old.seen.hold();
    holder.send("HOLD\n");
    wait_until("all stand still", || old.seen.held.load(SeqCst) == 1);
    let connect = |_| Client::connect(old.address());
    let mut waiting: Vec<Client> = (0..20).map(connect).collect();
    old.running.shutdown();
    drop(held);
    holder.expect("HELD");
    holder.expect("DOWN");
    drop(holder);
    old.wait_stopped();
    waiting.push(Client::connect(old.address()));

    let new = Harness::single_on(way, inherit(), Toy::default(), way.options());
    for client in &mut waiting {
        client.expect("HELLO");
        client.echo("the new one serves");
    }
    drop(new);
}

pub(crate) fn a_successor_beside_it_fails_no_connection(way: Way) {
    let shared = |address| Listener::bind_shared(address).unwrap();
    let first = shared(([127, 0, 0, 1], 0).into());
    let mut serving = Harness::listen(way, vec![first], Toy::default(), way.options());
    let address = serving.address();
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || connect_again_and_again(address, &over))
        })
        .collect();
    for _ in 0..RESTARTS {
        let successor = Harness::listen(way, vec![shared(address)], Toy::default(), way.options());
        serving.running.shutdown();
        serving.wait_stopped();
        serving = successor;
    }
    over.store(true, SeqCst);
    let connections: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    assert!(connections >= CLIENTS);
}

/// Each connection is greeted and, at whatever point, told to go away or closed at its own wish: it
/// isn't reset.
fn connect_again_and_again(address: SocketAddr, over: &AtomicBool) -> usize {
    let mut connections = 0;
    while !over.load(SeqCst) {
        let mut client = Client::connect(address);
        let mut greeting = String::new();
        client.reader.read_line(&mut greeting).unwrap();
        assert!(
            matches!(greeting.as_str(), "HELLO\n" | "DOWN\n"),
            "{greeting:?}"
        );
        connections += 1;
    }
    connections
}

pub(crate) fn who_leaves_serves_on_until_handshakes_are_over(way: Way) {
    let listener = Listener::bind_shared(([127, 0, 0, 1], 0).into()).unwrap();
    let harness = Harness::listen(way, vec![listener], Toy::default(), way.options());
    let mut client = harness.client();
    let start = Instant::now();
    harness.running.shutdown();
    client.expect("DOWN");
    // However slow the machine is, it is not sooner.
    assert!(start.elapsed() >= Duration::from_millis(500));
    client.expect_eof();
}

pub(crate) fn a_drain_can_be_cut_short_while_it_leaves(way: Way) {
    let listener = Listener::bind_shared(([127, 0, 0, 1], 0).into()).unwrap();
    let harness = Harness::listen(way, vec![listener], Toy::default(), way.options());
    let client = harness.client();
    harness.running.shutdown();
    harness.running.abort();
    harness.wait_stopped();
    drop(client);
}
