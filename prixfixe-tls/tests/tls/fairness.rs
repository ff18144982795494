//! A burst of handshakes: few steps each time around, in the order of arrival, all in the end.

use crate::wire::{BOTH, Client, Server, World};
use prixfixe_network::Session;
use prixfixe_tls::HandshakeError;

fn burst(world: &World, count: usize) -> Vec<(Client, Server)> {
    let config = world.issued.config();
    (0..count)
        .map(|_| {
            let (mut client, mut server) = (world.client(BOTH), Server::implicit(&config));
            let hello = client.sent();
            server.session.receive(server.now, &hello);
            (client, server)
        })
        .collect()
}

fn answered(burst: &mut [(Client, Server)]) -> Vec<usize> {
    let answered = |(_, server): &mut (Client, Server)| !server.session.output().is_empty();
    (0..burst.len())
        .filter(|&index| answered(&mut burst[index]))
        .collect()
}

#[test]
fn one_step_each_time_around_in_the_order_of_arrival() {
    let world = World::new();
    let mut burst = burst(&world, 5);
    for round in 1..=5 {
        burst.iter_mut().for_each(|(_, server)| {
            server.poll_next();
            // Again in the same turn, as after a flush.
            server.poll();
        });
        assert_eq!(answered(&mut burst), (0..round).collect::<Vec<_>>());
    }
}

#[test]
fn one_that_vanishes_with_its_turn_holds_nobody_up() {
    let world = World::new();
    let mut burst = burst(&world, 3);
    burst.iter_mut().for_each(|(_, server)| server.poll_next());
    assert_eq!(answered(&mut burst), [0]);
    drop(burst.remove(0));
    // The second waits in the queue, and vanishes as well.
    drop(burst.remove(0));
    burst.iter_mut().for_each(|(_, server)| server.poll_next());
    assert_eq!(answered(&mut burst), [0]);
}

/// It ended without a step: nothing was written, not even an alert.
fn is_closed_untouched(server: &mut Server) -> bool {
    server.finished
        && server.session.output().is_empty()
        && matches!(server.echo().failed, Some(HandshakeError::Closed))
}

#[test]
fn one_whose_peer_has_left_takes_no_step_and_no_turn() {
    let world = World::new();
    let mut burst = burst(&world, 2);
    let [(_, gone), (_, next)] = &mut burst[..] else {
        unreachable!()
    };
    assert!(gone.session.is_costly());
    gone.receive_eof();
    assert!(is_closed_untouched(gone));
    assert!(!gone.session.is_costly());
    next.poll();
    assert!(!next.session.output().is_empty(), "the turn is free");
    assert!(!next.session.is_costly(), "the first step was taken");
}

#[test]
fn one_whose_peer_leaves_the_queue_ends_at_once_and_holds_nobody_up() {
    let world = World::new();
    let mut burst = burst(&world, 3);
    burst.iter_mut().for_each(|(_, server)| server.poll_next());
    assert_eq!(answered(&mut burst), [0]);
    let (_, waiting) = &mut burst[1];
    waiting.receive_eof();
    assert!(is_closed_untouched(waiting));
    burst.iter_mut().for_each(|(_, server)| server.poll_next());
    assert_eq!(answered(&mut burst), [0, 2]);
}

#[test]
fn one_that_waits_for_its_turn_still_has_a_deadline() {
    let world = World::new();
    let mut burst = burst(&world, 2);
    burst.iter_mut().for_each(|(_, server)| server.poll_next());
    let (_, waiting) = &mut burst[1];
    waiting.after(std::time::Duration::from_secs(30));
    assert!(waiting.finished);
}

#[test]
fn established_sessions_are_not_held_up() {
    let world = World::new();
    let (mut client, mut server) = world.established(BOTH);
    let mut burst = burst(&world, 3);
    burst.iter_mut().for_each(|(_, server)| server.poll_next());
    client.write(b"hi\n");
    let sent = client.sent();
    server.session.receive(server.now, &sent);
    server.poll_next();
    client.receive(&server.sent());
    assert_eq!(client.received, b"hi\n");
}

#[test]
fn one_that_is_finished_holds_no_turn() {
    let world = World::new();
    let mut burst = burst(&world, 3);
    let [(first, server), (_, second), (_, third)] = &mut burst[..] else {
        unreachable!()
    };
    server.run();
    first.receive(&server.sent());
    // Its last message, and the end of the session behind it.
    first.write(b"quit\n");
    let last = first.sent();
    server.session.receive(server.now, &last);
    second.poll_next();
    server.poll_next();
    assert!(server.echo().info.is_none(), "the second has the turn");
    second.poll_next();
    server.poll_next();
    assert!(server.finished, "established, and at its end");
    third.poll_next();
    assert!(!third.session.output().is_empty());
}

#[test]
fn the_last_step_is_a_turn_too() {
    let world = World::new();
    let mut burst = burst(&world, 2);
    let [(first, server), (_, second)] = &mut burst[..] else {
        unreachable!()
    };
    server.run();
    first.receive(&server.sent());
    let last = first.sent();
    server.session.receive(server.now, &last);
    server.poll_next();
    assert!(server.echo().info.is_some());
    second.poll_next();
    assert!(
        second.session.output().is_empty(),
        "the first has the turn until it is polled again"
    );
    server.poll_next();
    second.poll_next();
    assert!(!second.session.output().is_empty());
}

#[test]
fn what_comes_while_a_turn_is_held_is_not_lost() {
    let world = World::new();
    let mut burst = burst(&world, 1);
    let (client, server) = &mut burst[0];
    server.poll();
    client.receive(&server.sent_so_far());
    client.write(b"last\n");
    let last = client.sent();
    server.session.receive(server.now, &last);
    server.session.receive_eof(server.now);
    server.poll();
    assert!(!server.finished && server.echo().info.is_none());
    server.poll_next();
    assert_eq!(server.echo().in_tls, b"last\n");
    assert!(server.finished && server.echo().eof);
}
