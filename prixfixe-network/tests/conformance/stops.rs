//! Shutdown, the drain and its end.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::harness::{Client, Harness, Way, wait_until};
use crate::toy::Toy;

pub(crate) fn shutdown_tells_idle_sessions_and_refuses_new_ones(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut clients: Vec<Client> = (0..20).map(|_| harness.client()).collect();
    harness.running.shutdown();
    for client in &mut clients {
        client.expect("DOWN");
        client.expect_eof();
    }
    drop(clients);
    harness.wait_stopped();
    assert_eq!(harness.seen.dropped.load(SeqCst), 20);
    assert!(TcpStream::connect(harness.address()).is_err());
}

pub(crate) fn shutdown_waits_for_what_is_under_way(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut client = harness.client();
    client.send("ASK\n");
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    let mut idle = harness.client();
    harness.running.shutdown();
    idle.expect("DOWN");
    wait_until("the port is closed", || {
        TcpStream::connect(harness.address()).is_err()
    });
    assert!(harness.running.active_connections() > 0);
    harness.seen.answer();
    client.expect("ANSWER");
    client.expect("DOWN");
    client.expect_eof();
    drop((client, idle));
    harness.wait_stopped();
}

pub(crate) fn shutdown_tells_those_who_stand_in_the_backlog(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let mut holder = harness.client();
    let held = harness.seen.hold();
    holder.send("HOLD\n");
    wait_until("all stand still", || harness.seen.held.load(SeqCst) == 1);
    let mut waiting: Vec<Client> = (0..20)
        .map(|_| Client::connect(harness.address()))
        .collect();
    harness.running.shutdown();
    drop(held);
    holder.expect("HELD");
    holder.expect("DOWN");
    for client in &mut waiting {
        client.expect("HELLO");
        client.expect("DOWN");
        client.expect_eof();
    }
}

pub(crate) fn sessions_that_outlast_the_drain_are_dropped(way: Way) {
    let options = way.options().drain_timeout(Duration::from_millis(50));
    let harness = Harness::start(way, Toy::default(), options);
    let mut client = harness.client();
    client.send("ASK\n");
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    harness.running.shutdown();
    harness.wait_stopped();
    assert_eq!(harness.seen.dropped.load(SeqCst), 1);
    assert_eq!(harness.running.active_connections(), 0);
    assert_closed(&mut client);
}

pub(crate) fn abort_drops_all(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut clients: Vec<Client> = (0..20).map(|_| harness.client()).collect();
    harness.running.abort();
    harness.wait_stopped();
    assert_eq!(harness.seen.dropped.load(SeqCst), 20);
    for client in &mut clients {
        assert_closed(client);
    }
}

pub(crate) fn abort_cuts_a_drain_short(way: Way) {
    let options = way.options().drain_timeout(Duration::from_secs(3600));
    let harness = Harness::start(way, Toy::default(), options);
    let mut client = harness.client();
    client.send("ASK\n");
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    harness.running.shutdown();
    wait_until("the port is closed", || {
        TcpStream::connect(harness.address()).is_err()
    });
    harness.running.abort();
    harness.wait_stopped();
    assert_closed(&mut client);
}

pub(crate) fn dropping_the_handle_aborts(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut client = harness.client();
    let (address, seen) = (harness.address(), harness.seen.clone());
    let Harness { running, .. } = harness;
    drop(running);
    assert_closed(&mut client);
    wait_until("the session is gone", || seen.dropped.load(SeqCst) == 1);
    wait_until("the port is closed", || {
        TcpStream::connect(address).is_err()
    });
}

/// Closed, in whatever way.
#[track_caller]
fn assert_closed(client: &mut Client) {
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    assert!(
        client
            .stream()
            .peek(&mut [0])
            .map_or(true, |count| count == 0)
    );
}
