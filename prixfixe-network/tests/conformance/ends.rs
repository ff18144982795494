//! The ways in which a connection ends.

use std::io::{ErrorKind, Write};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::harness::{Client, Harness, Way, wait_until};
use crate::toy::Toy;

/// No test waits for it.
const NEVER: Duration = Duration::from_secs(3600);
/// It comes as soon as there is nothing else to do.
const SOON: Duration = Duration::from_millis(50);

fn start(way: Way) -> Harness {
    Harness::start(way, Toy::default(), way.options())
}

fn start_lingering(way: Way, linger: Duration) -> Harness {
    Harness::start(
        way,
        Toy::default(),
        way.options().linger(linger).drain_timeout(NEVER),
    )
}

fn wait_gone(harness: &Harness, sessions: usize) {
    wait_until("the sessions are gone", || {
        harness.seen.dropped.load(SeqCst) == sessions
    });
    wait_until("their places are free", || {
        harness.running.active_connections() == 0
    });
}

pub(crate) fn the_peer_that_is_done_itself_is_not_lingered_for(way: Way) {
    let harness = start_lingering(way, NEVER);
    let mut client = harness.client();
    client.send("LEAVE\n");
    client.expect("BYE");
    client.expect_eof();
    // The client doesn't close: lingering would take an hour.
    harness.running.shutdown();
    harness.wait_stopped();
}

pub(crate) fn a_last_reply_reaches_a_peer_that_is_still_sending(way: Way) {
    let harness = start_lingering(way, NEVER);
    for _ in 0..20 {
        let mut client = harness.client();
        client.send("QUIT\n");
        client.send(&"and on\n".repeat(16 * 1024));
        client.expect("BYE");
        client.expect_eof();
    }
}

pub(crate) fn a_peer_that_does_not_close_is_given_up(way: Way) {
    let harness = start_lingering(way, SOON);
    let mut client = harness.client();
    client.send("QUIT\n");
    client.expect("BYE");
    client.expect_eof();
    harness.running.shutdown();
    harness.wait_stopped();
}

pub(crate) fn a_peer_that_sends_for_ever_is_given_up(way: Way) {
    let harness = start_lingering(way, NEVER);
    let mut client = harness.client();
    client.send("QUIT\n");
    let chunk = [b'x'; 64 * 1024];
    let error = loop {
        if let Err(error) = client.stream().write_all(&chunk) {
            break error;
        }
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
}

pub(crate) fn a_peer_that_never_takes_its_last_bytes_is_given_up(way: Way) {
    let toy = Toy {
        timeout: SOON,
        ..Toy::default()
    };
    let harness = Harness::start(way, toy, way.options().linger(SOON));
    let mut client = harness.client();
    // More than fits anywhere, and nobody reads it: the session gives up first, then the pump.
    client.send("POUR 1000000\n");
    wait_gone(&harness, 1);
    harness.running.shutdown();
    harness.wait_stopped();
}

pub(crate) fn half_close_when_idle_ends_the_session(way: Way) {
    let harness = start(way);
    let mut client = harness.client();
    client.echo("one");
    client.half_close();
    client.expect_eof();
    wait_gone(&harness, 1);
}

pub(crate) fn half_close_right_after_data_loses_none_of_it(way: Way) {
    let harness = start(way);
    for _ in 0..100 {
        let mut client = Client::connect(harness.address());
        client.send("one\ntwo\n");
        client.half_close();
        for line in ["HELLO", "one", "two"] {
            client.expect(line);
        }
        client.expect_eof();
    }
}

pub(crate) fn half_close_in_a_line_is_told_to_the_session(way: Way) {
    let harness = start(way);
    let mut client = harness.client();
    client.send("one\nincomplete");
    client.half_close();
    client.expect("one");
    client.expect("CUT");
    client.expect_eof();
}

pub(crate) fn half_close_behind_a_question_waits_for_the_answer(way: Way) {
    let harness = start(way);
    let mut client = harness.client();
    client.send("ASK\nbehind\n");
    client.half_close();
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    harness.seen.answer();
    client.expect("ANSWER");
    client.expect("behind");
    client.expect_eof();
}

pub(crate) fn a_peer_that_connects_and_vanishes_leaves_nothing(way: Way) {
    let harness = start(way);
    for round in 0..100 {
        let client = Client::connect(harness.address());
        if round % 2 == 0 {
            client.reset();
        }
    }
    harness.client().echo("still here");
    let made = harness.seen.made.load(SeqCst);
    assert!(made > 0);
    wait_until("all are gone", || {
        harness.seen.dropped.load(SeqCst) == harness.seen.made.load(SeqCst)
    });
    wait_until("their places are free", || {
        harness.running.active_connections() == 0
    });
}

/// All on one thread, which stands still until the guard is dropped.
fn holding(harness: &Harness) -> (MutexGuard<'_, ()>, Client) {
    let mut holder = harness.client();
    let held = harness.seen.hold();
    holder.send("HOLD\n");
    wait_until("all stand still", || harness.seen.held.load(SeqCst) == 1);
    (held, holder)
}

pub(crate) fn a_peer_that_has_left_gets_no_costly_work(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let (held, _holder) = holding(&harness);
    let mut leaver = Client::connect(harness.address());
    leaver.send("COSTLY\n");
    leaver.half_close();
    drop(held);
    leaver.expect("HELLO");
    leaver.expect("CUT");
    leaver.expect_eof();
    assert_eq!(harness.seen.costly.load(SeqCst), 0);

    let mut client = harness.client();
    client.send("COSTLY\n");
    client.expect("DONE");
}

pub(crate) fn a_peer_that_leaves_while_costly_work_waits_gets_none(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let mut leaver = harness.client();
    leaver.send("ASK\nCOSTLY\n");
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    let (held, _holder) = holding(&harness);
    // Woken before the poller can have reported the end.
    harness.seen.answer();
    leaver.half_close();
    drop(held);
    leaver.expect("ANSWER");
    leaver.expect("CUT");
    leaver.expect_eof();
    assert_eq!(harness.seen.costly.load(SeqCst), 0);
}

pub(crate) fn a_reset_drops_the_session(way: Way) {
    let harness = start(way);
    let mut client = harness.client();
    client.echo("one");
    client.reset();
    wait_gone(&harness, 1);
}

pub(crate) fn a_reset_behind_a_question_is_found_with_the_answer(way: Way) {
    let harness = start(way);
    let mut client = harness.client();
    client.send("ASK\n");
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    client.reset();
    harness.seen.answer();
    wait_gone(&harness, 1);
}

pub(crate) fn the_deadline_of_an_idle_peer_fires(way: Way) {
    let harness = Harness::start(
        way,
        Toy {
            timeout: SOON,
            ..Toy::default()
        },
        way.options(),
    );
    let mut client = harness.client();
    client.expect("LATE");
    client.expect_eof();
}

pub(crate) fn a_deadline_moves_away_with_each_command_and_fires_in_the_end(way: Way) {
    let timeout = Duration::from_secs(1);
    let harness = Harness::start(
        way,
        Toy {
            timeout,
            ..Toy::default()
        },
        way.options(),
    );
    let mut client = harness.client();
    let start = Instant::now();
    let mut last = start;
    while start.elapsed() < timeout + timeout / 4 {
        last = Instant::now();
        client.echo("still here");
    }
    client.expect("LATE");
    assert!(last.elapsed() >= timeout, "too early");
}

pub(crate) fn a_panic_in_a_session_is_its_own(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let mut bystander = harness.client();
    let mut client = harness.client();
    client.send("PANIC\n");
    client.expect_eof();
    bystander.echo("unmoved");
    wait_until("its place is free", || {
        harness.running.active_connections() == 1
    });
    harness.client().echo("as before");
}

pub(crate) fn a_panic_while_a_session_is_made_is_its_own(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    harness.service.panic_at_accept.store(true, SeqCst);
    Client::connect(harness.address()).expect_eof();
    harness.service.panic_at_accept.store(false, SeqCst);
    harness.client().echo("as before");
    wait_until("its place is free", || {
        harness.running.active_connections() <= 1
    });
}
