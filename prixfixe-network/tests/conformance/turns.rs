//! Whether all threads still have their turns.

use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Waker};

use crate::harness::{Harness, Way, block_on, wait_until};
use crate::toy::Toy;

pub(crate) fn all_threads_have_their_turns(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    for _ in 0..100 {
        block_on(harness.running.turned());
    }
}

pub(crate) fn a_thread_that_stands_still_is_waited_for(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options());
    let mut holder = harness.client();
    let held = harness.seen.hold();
    holder.send("HOLD\n");
    wait_until("all stand still", || harness.seen.held.load(SeqCst) == 1);
    let mut turned = pin!(harness.running.turned());
    let mut unwoken = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        assert!(turned.as_mut().poll(&mut unwoken).is_pending());
        std::thread::yield_now();
    }
    drop(held);
    block_on(turned);
    block_on(harness.running.turned());
}

pub(crate) fn a_stopped_transport_is_not_waited_for(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options());
    harness.running.shutdown();
    block_on(harness.running.turned());
    harness.wait_stopped();
    block_on(harness.running.turned());
}
