//! The pump between a socket that does as it is told and a session that shouts: no clock, no
//! system.

mod bench;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::task::{Poll, Waker};

use proptest::collection::vec;
use proptest::prelude::*;

use self::bench::Act::{self, Fail, Move};
use self::bench::{BLOCK, Bench, Call, LINGER, Scripted, TIMEOUT, oracle};
use super::*;

#[test]
fn pipelined_input_is_answered_by_one_write() {
    let mut bench = Bench::open(b"one two three");
    let deadline = bench.now + TIMEOUT;
    assert_eq!(bench.turn(), Next::Wait(Some(deadline)));
    assert_eq!(bench.calls(), [Call::Read(13), Call::Write(13)]);
    assert_eq!(bench.socket.output, b"ONE TWO THREE");
}

#[test]
fn what_was_answered_is_flushed_before_more_is_read() {
    let mut bench = Bench::open(b"onetwo");
    bench.socket.reads = [Move(3), Move(3)].into();
    bench.turn();
    assert_eq!(
        bench.calls(),
        [Call::Read(3), Call::Write(3), Call::Read(3), Call::Write(3)]
    );
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let mut bench = Bench::open(b"onetwo");
    bench.socket.reads = [Move(3)].into();
    bench.socket.writes = [Move(1), BLOCK, BLOCK].into();
    let wait = Next::Wait(Some(bench.now + TIMEOUT));
    assert_eq!(bench.turn(), wait);
    assert_eq!(bench.turn(), wait);
    assert_eq!(bench.calls(), [Call::Read(3), Call::Write(1)]);
    assert_eq!(bench.turn(), wait);
    assert_eq!(
        bench.calls(),
        [Call::Write(2), Call::Read(3), Call::Write(3)]
    );
}

#[test]
fn a_session_that_stops_early_works_on_after_each_flush() {
    let mut bench = Bench::open(&[b'x'; 2 * MUCH_OUTPUT + 2]);
    bench.session().output_a_poll = MUCH_OUTPUT;
    bench.turn();
    assert_eq!(
        bench.calls(),
        [
            Call::Read(2 * MUCH_OUTPUT + 2),
            Call::Write(MUCH_OUTPUT),
            Call::Write(MUCH_OUTPUT),
            Call::Write(2)
        ]
    );
}

#[test]
fn a_session_that_answers_briefly_works_once_a_read() {
    let mut bench = Bench::open(b"abcdef");
    bench.turn();
    assert_eq!(bench.calls(), [Call::Read(6), Call::Write(6)]);
    assert_eq!(bench.session().polls, 1);
}

#[test]
fn a_session_that_wants_no_input_gets_none() {
    let mut bench = Bench::open(b"abcdef");
    bench.session().enough_input = 0;
    assert_eq!(bench.turn(), Next::Wait(Some(bench.now + TIMEOUT)));
    assert_eq!(bench.calls(), []);
}

#[test]
fn before_costly_work_all_is_read_that_the_kernel_has() {
    let mut bench = Bench::new(b"ab");
    bench.session().is_costly = true;
    bench.socket.reads = [Move(1)].into();
    assert_eq!(bench.turn(), Next::Close);
    assert_eq!(
        bench.calls(),
        [
            Call::Read(1),
            Call::AskKernel,
            Call::Read(1),
            Call::AskKernel,
            Call::Read(0),
            Call::Write(3)
        ]
    );
    assert_eq!(bench.session().polls, 1, "the end was known by then");
}

#[test]
fn costly_work_that_waited_asks_the_kernel_again() {
    let mut bench = Bench::open(b"a");
    bench.session().is_costly = true;
    bench.session().output_a_poll = 0;
    bench.turn();
    bench.calls();
    bench.socket.stays_open = false;
    bench.session().output_a_poll = usize::MAX;
    assert_eq!(bench.turn(), Next::Close);
    assert_eq!(
        bench.calls(),
        [Call::AskKernel, Call::Read(0), Call::Write(2)]
    );
}

#[test]
fn costly_work_does_not_wait_for_a_peer_that_sends_for_ever() {
    let mut bench = Bench::open(&vec![b'x'; 10 * OCTETS_A_TURN]);
    bench.session().is_costly = true;
    bench.session().enough_input = READ_BUFFER_SIZE + 1;
    bench.turn();
    assert!(bench.session().polls > 0);
}

#[test]
fn a_turn_has_its_share_of_octets() {
    let mut bench = Bench::open(&vec![b'x'; 10 * OCTETS_A_TURN]);
    assert_eq!(bench.turn(), Next::Again);
    let read = OCTETS_A_TURN.next_multiple_of(READ_BUFFER_SIZE);
    // What was read is answered, too.
    assert_eq!(bench.socket.output.len(), read);
    assert_eq!(bench.socket.input.len(), 10 * OCTETS_A_TURN - read);
}

#[test]
fn a_turn_has_its_share_of_rounds() {
    let mut bench = Bench::open(&[b'x'; ROUNDS_A_TURN * MUCH_OUTPUT]);
    bench.session().output_a_poll = MUCH_OUTPUT;
    assert_eq!(bench.turn(), Next::Again);
    assert_eq!(bench.session().polls, ROUNDS_A_TURN);
}

#[test]
fn an_idle_session_is_polled_once_a_turn() {
    let mut bench = Bench::open(b"");
    assert_eq!(bench.turn(), Next::Wait(Some(bench.now + TIMEOUT)));
    assert_eq!(bench.session().polls, 1);
    assert_eq!(bench.calls(), []);
}

#[test]
fn the_end_of_the_input_is_told_once_and_never_read_again() {
    let mut bench = Bench::new(b"ab");
    bench.session().output_a_poll = 0;
    assert_eq!(bench.turn(), Next::Wait(Some(bench.now + TIMEOUT)));
    bench.turn();
    assert_eq!(bench.calls(), [Call::Read(2), Call::Read(0)]);
    bench.session().output_a_poll = 3;
    assert_eq!(bench.turn(), Next::Close);
    // The peer has closed its side: there is nothing to linger for.
    assert_eq!(bench.calls(), [Call::Write(3)]);
}

#[test]
fn a_deadline_counts_while_output_is_stuck() {
    let mut bench = Bench::open(b"ab");
    bench.socket.writes = [BLOCK, BLOCK, BLOCK].into();
    assert_eq!(bench.turn(), Next::Wait(Some(bench.now + TIMEOUT)));
    bench.now += TIMEOUT;
    // The session has given up; its last words have the linger time.
    assert_eq!(bench.turn(), Next::Wait(Some(bench.now + LINGER)));
    bench.now += LINGER - Duration::from_nanos(1);
    assert_eq!(
        bench.turn(),
        Next::Wait(Some(bench.now + Duration::from_nanos(1)))
    );
    bench.socket.writes = [BLOCK].into();
    bench.now += Duration::from_nanos(1);
    assert_eq!(bench.turn(), Next::Close);
}

#[test]
fn a_session_that_is_done_is_flushed_then_half_closed_then_drained() {
    let mut bench = Bench::open(b"a.more");
    bench.socket.reads = [Move(2)].into();
    let until = bench.now + LINGER;
    assert_eq!(bench.turn(), Next::Wait(Some(until)));
    assert_eq!(
        bench.calls(),
        [Call::Read(2), Call::Write(2), Call::Shutdown, Call::Read(4)]
    );
    bench.socket.stays_open = false;
    assert_eq!(bench.turn(), Next::Close);
    assert_eq!(bench.calls(), [Call::Read(0)]);
}

#[test]
fn the_peer_has_until_the_linger_time_to_close() {
    let mut bench = Bench::open(b".");
    let until = bench.now + LINGER;
    assert_eq!(bench.turn(), Next::Wait(Some(until)));
    bench.now = until;
    assert_eq!(bench.turn(), Next::Close);
}

#[test]
fn the_peer_may_send_so_much_until_it_closes() {
    let mut bench = Bench::open(&vec![b'.'; 2 * LINGER_OCTETS]);
    let mut turns = 0;
    while bench.turn() != Next::Close {
        turns += 1;
        assert!(turns < 100);
    }
    let read: usize = bench
        .calls()
        .iter()
        .map(|call| {
            if let Call::Read(count) = call {
                *count
            } else {
                0
            }
        })
        .sum();
    assert!(
        read < LINGER_OCTETS + 2 * READ_BUFFER_SIZE,
        "{read} octets were read"
    );
}

#[test]
fn a_peer_that_is_done_is_closed_at_once() {
    let mut bench = Bench::open(b"a.more");
    bench.session().peer_is_done = true;
    assert_eq!(bench.turn(), Next::Close);
    assert_eq!(bench.calls(), [Call::Read(6), Call::Write(2)]);
}

#[test]
fn a_linger_time_without_end_is_none() {
    let mut bench = Bench::open(b".");
    bench.pump.linger = Duration::MAX;
    assert_eq!(bench.turn(), Next::Wait(None));
}

#[test]
fn shutdown_reaches_the_session_and_nobody_after_it() {
    let mut bench = Bench::open(b"");
    bench.turn();
    bench.pump.shutdown(bench.now);
    bench.turn();
    assert_eq!(bench.socket.output, b"!");
    bench.pump.shutdown(bench.now);
    bench.turn();
    assert_eq!(bench.socket.output, b"!");
}

#[test]
fn a_call_that_was_interrupted_is_repeated() {
    let mut bench = Bench::open(b"ab");
    bench.socket.reads = [Fail(ErrorKind::Interrupted)].into();
    bench.socket.writes = [Fail(ErrorKind::Interrupted)].into();
    bench.turn();
    assert_eq!(bench.socket.output, b"AB");
}

#[test]
fn a_connection_that_breaks_is_closed_wherever_it_stands() {
    let reset = Fail(ErrorKind::ConnectionReset);
    let cases: [(&[u8], &[Act], &[Act]); 5] = [
        (b"ab", &[reset], &[]),
        (b"ab", &[Move(1), reset], &[]),
        (b"ab", &[], &[reset]),
        (b"ab", &[], &[Move(0)]),
        (b"a.b", &[Move(2), reset], &[]),
    ];
    for (input, reads, writes) in cases {
        let mut bench = Bench::open(input);
        bench.socket.reads = reads.iter().copied().collect();
        bench.socket.writes = writes.iter().copied().collect();
        assert_eq!(bench.turn(), Next::Close, "{input:?} {reads:?} {writes:?}");
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "a deadline in the past would spin")]
fn a_deadline_in_the_past_is_a_fault_of_the_session() {
    #[derive(Debug)]
    struct Late(OutputBuffer, Instant);
    impl Session for Late {
        fn receive(&mut self, _: Instant, _: &[u8]) {}
        fn receive_eof(&mut self, _: Instant) {}
        fn poll(&mut self, _: Instant, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
        fn output(&mut self) -> &mut OutputBuffer {
            &mut self.0
        }
        fn wants_read(&self) -> bool {
            true
        }
        fn deadline(&self) -> Option<Instant> {
            Some(self.1)
        }
        fn shutdown(&mut self, _: Instant) {}
    }
    let now = Instant::now();
    let mut pump = Pump::new(Late(OutputBuffer::new(), now), LINGER);
    pump.turn(
        &mut Scripted::default(),
        &mut [0],
        now,
        &mut Context::from_waker(Waker::noop()),
    );
}

fn acts() -> impl Strategy<Value = VecDeque<Act>> {
    let act = prop_oneof![
        3 => (1..20_usize).prop_map(Move),
        1 => Just(BLOCK),
        1 => Just(Fail(ErrorKind::Interrupted)),
    ];
    vec(act, 0..60).prop_map(VecDeque::from)
}

proptest! {
    /// However the socket deals out bytes, the peer gets the same ones.
    #[test]
    fn any_schedule_gives_the_same_bytes(
        input in vec(prop_oneof![20 => b'a'..=b'z', 1 => Just(b'.')], 0..200),
        reads in acts(),
        writes in acts(),
        buffer in 1..50_usize,
        output_a_poll in 1..30_usize,
        enough_input in 1..60_usize,
    ) {
        let mut bench = Bench::new(&input);
        bench.socket.reads = reads;
        bench.socket.writes = writes;
        bench.buffer = vec![0; buffer];
        bench.session().output_a_poll = output_a_poll;
        bench.session().enough_input = enough_input;
        let mut turns = 0;
        while bench.turn() != Next::Close {
            turns += 1;
            prop_assert!(turns < 1000, "it never ends");
        }
        prop_assert_eq!(&bench.socket.output, &oracle(&input));
    }
}
