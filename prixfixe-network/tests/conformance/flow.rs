//! Bytes in, bytes out, and the sharing of a thread.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Harness, Way, wait_until};
use crate::toy::Toy;

pub(crate) fn a_session_is_served_in_order(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut client = harness.client();
    client.echo("one");
    client.send("two\nthree\nQUIT\nfour\n");
    for line in ["two", "three", "BYE"] {
        client.expect(line);
    }
    client.expect_eof();
    drop(client);
    wait_until("the session is gone", || {
        harness.seen.dropped.load(SeqCst) == 1
    });
    assert_eq!(harness.running.active_connections(), 0);
}

pub(crate) fn an_idle_peer_costs_no_poll(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let _idle = harness.client();
    let mut busy = harness.client();
    busy.echo("warm");
    let polls = harness.seen.polls.load(SeqCst);
    for _ in 0..100 {
        busy.echo("busy");
    }
    // A poll for what woke it, one for what came, one after the flush: an idle one in each turn
    // would add to that.
    let spent = harness.seen.polls.load(SeqCst) - polls;
    assert!(spent <= 303, "{spent} polls for 100 commands");
}

pub(crate) fn a_peer_that_never_reads_is_not_served(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut client = harness.client();
    client.stream().set_nonblocking(true).unwrap();
    let line = 1024;
    let chunk = format!("{}\n", "x".repeat(line - 1)).repeat(64);
    let (mut sent, mut taken) = (0, 0);
    let mut still = Instant::now();
    // Until nothing has moved for a while. A server that goes on serving would never let it come to
    // that.
    while still.elapsed() < Duration::from_millis(300) {
        match client.stream().write(&chunk.as_bytes()[sent % line..]) {
            Ok(count) => {
                sent += count;
                still = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        if harness.seen.octets.load(SeqCst) > taken {
            taken = harness.seen.octets.load(SeqCst);
            still = Instant::now();
        }
        assert!(sent < 1 << 28, "it goes on and on");
    }
    assert!(taken < sent, "it has taken all");
    let polls = harness.seen.polls.load(SeqCst);
    harness.client().echo("another is served");
    assert!(harness.seen.polls.load(SeqCst) - polls < 100, "it spins");

    // When the peer begins to read it gets it all.
    client.stream().set_nonblocking(false).unwrap();
    client.half_close();
    let mut got = Vec::new();
    client.reader.read_to_end(&mut got).unwrap();
    let cut = if sent.is_multiple_of(line) {
        0
    } else {
        "CUT\n".len()
    };
    assert_eq!(got.len(), sent / line * line + cut);
}

pub(crate) fn a_stream_larger_than_all_buffers_arrives_whole(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut client = harness.client();
    client.send("POUR 20000\nlast\n");
    for _ in 0..20_000 {
        assert_eq!(client.line().len(), 1023);
    }
    client.expect("last");
}

pub(crate) fn an_answer_from_another_thread_wakes_the_session(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    let mut clients: Vec<Client> = (0..20).map(|_| harness.client()).collect();
    for client in &mut clients {
        client.send("ASK\n");
    }
    wait_until("all ask", || harness.seen.asked.load(SeqCst) == 20);
    let seen = Arc::clone(&harness.seen);
    thread::spawn(move || seen.answer()).join().unwrap();
    for client in &mut clients {
        client.expect("ANSWER");
        client.echo("and on");
    }
}

pub(crate) fn an_answer_slower_than_the_deadline_does_not_spin(way: Way) {
    let timeout = Duration::from_millis(50);
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
    client.send("ASK\n");
    wait_until("it asks", || harness.seen.asked.load(SeqCst) == 1);
    wait_until("deadlines pass", || start.elapsed() >= timeout * 6);
    let polls = harness.seen.polls.load(SeqCst);
    let deadlines = start.elapsed().as_millis() / timeout.as_millis();
    let allowed = 8 + 2 * usize::try_from(deadlines).unwrap();
    assert!(polls <= allowed, "{polls} polls in {deadlines} deadlines");
    harness.seen.answer();
    client.expect("ANSWER");
}

pub(crate) fn a_bulk_sender_takes_turns_with_a_small_one(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let mut holder = harness.client();
    let mut small = harness.client();
    let bulk = harness.client();
    let sender = thread::spawn(move || {
        // Answered by a line a 64 KiB, so that reading its answers is never what it waits for.
        let mut line = vec![b'\n'; 64 * 1024];
        for piece in line.chunks_mut(1024) {
            piece[..1023].fill(b'x');
        }
        let mut answers = bulk.stream().try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut scrap = [0; 64 * 1024];
            while answers.read(&mut scrap).is_ok_and(|count| count > 0) {}
        });
        while bulk.stream().write_all(&line).is_ok() {}
        reader.join().unwrap();
    });
    for round in 1..=20 {
        let octets = harness.seen.octets.load(SeqCst);
        wait_until("the bulk flows", || {
            harness.seen.octets.load(SeqCst) > octets + (1 << 20)
        });
        let held = harness.seen.hold();
        holder.send("HOLD\n");
        wait_until("all stand still", || {
            harness.seen.held.load(SeqCst) == round
        });
        harness.seen.order.lock().unwrap().clear();
        small.send("small\n");
        drop(held);
        small.expect("small");
        holder.expect("HELD");
        let port = small.stream().local_addr().unwrap().port();
        let order = harness.seen.order.lock().unwrap();
        let before = order.iter().position(|&from| from == port).unwrap();
        // The rest of the holder's round of turns, and one more: each at most three reads of the
        // bulk sender.
        assert!(before <= 6, "{before} reads before the small sender's");
    }
    harness.running.abort();
    sender.join().unwrap();
}
