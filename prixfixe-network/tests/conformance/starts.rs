//! What a transport takes to start, and what happens where that is missing.

use std::num::NonZeroUsize;
use std::sync::Arc;

use prixfixe_network::{Options, ServeError, Transport, serve};
use rustix::process::{Resource, setrlimit};

use crate::harness::{Harness, Way, child, limit_descriptors, loopback, runtime};
use crate::toy::Toy;

#[test]
fn without_a_listener_there_is_nothing_to_start() {
    let result = serve(Vec::new(), Arc::new(Toy::default()), Options::default());
    assert!(matches!(result, Err(ServeError::NoListener)), "{result:?}");
}

#[test]
fn auto_is_tokio() {
    let harness = Harness::start(Way::Threads, Toy::default(), Options::default());
    assert_eq!(harness.running.transport(), Transport::Tokio);
    harness.client().echo("served");
}

#[test]
fn auto_is_raw_where_tokio_cannot_be_set_up() {
    // A runtime that can neither read a socket nor tell the time.
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = bare.enter();
    let tokio = Options::default().transport(Transport::Tokio);
    let result = serve(vec![loopback()], Arc::new(Toy::default()), tokio);
    assert!(matches!(result, Err(ServeError::Runtime(_))), "{result:?}");
    let harness = Harness::start(Way::Raw, Toy::default(), Options::default());
    assert_eq!(harness.running.transport(), Transport::Raw);
    harness.client().echo("served");
}

/// In a process of its own, which lowers its limit.
#[test]
fn a_start_that_lacks_descriptors_is_an_error_wherever_it_stops() {
    let output = child("starts::start_short_of_descriptors")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "a process that another test starts"]
fn start_short_of_descriptors() {
    // Within a runtime: there, more can go wrong.
    let runtime = runtime(1);
    let mut failed = 0;
    for spare in 0.. {
        let listeners = vec![loopback()];
        let options = Options::default().threads(NonZeroUsize::new(2));
        let limit = limit_descriptors(spare);
        let result =
            runtime.block_on(async { serve(listeners, Arc::new(Toy::default()), options) });
        setrlimit(Resource::Nofile, limit).unwrap();
        match result {
            Err(ServeError::EventLoop(_) | ServeError::Listener { .. }) => failed += 1,
            Err(error) => panic!("auto fails with raw's error: {error}"),
            Ok(running) if running.transport() == Transport::Raw => drop(running),
            Ok(_) => break,
        }
    }
    assert!(failed > 0);
}

#[test]
fn threads_of_its_own_do_without_the_runtime_around_them() {
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = bare.enter();
    let options = Options::default().threads(NonZeroUsize::new(1));
    let harness = Harness::start(Way::Threads, Toy::default(), options);
    assert_eq!(harness.running.transport(), Transport::Tokio);
    harness.client().echo("served");
}

#[test]
fn sessions_find_tokio_wherever_it_can_be_had() {
    let ask = |way: Way| {
        let harness = Harness::start(way, Toy::default(), way.options());
        let mut client = harness.client();
        client.send("TOKIO\n");
        client.line()
    };
    assert_eq!(ask(Way::Within), "YES");
    assert_eq!(ask(Way::Threads), "YES");
    assert_eq!(ask(Way::Raw), "NO");
    let runtime = runtime(1);
    let _entered = runtime.enter();
    assert_eq!(ask(Way::Raw), "YES");
}
