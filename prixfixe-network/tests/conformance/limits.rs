//! The connection limit, descriptors, and how many can be idle.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Client, Harness, Way, child, limit_descriptors, wait_until};
use crate::toy::Toy;

pub(crate) fn a_connection_over_the_limit_is_told_and_closed(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options().max_connections(2));
    let (mut one, mut two) = (harness.client(), harness.client());
    for _ in 0..20 {
        let mut three = Client::connect(harness.address());
        three.expect("FULL");
        three.expect_eof();
    }
    assert_eq!(harness.running.active_connections(), 2);
    assert_eq!(harness.seen.made.load(SeqCst), 2);
    one.send("QUIT\n");
    one.expect("BYE");
    harness.client().echo("a place was free");
    two.echo("undisturbed");
}

/// Closing a socket with unread input is a reset, which may destroy the reply.
pub(crate) fn what_an_over_limit_peer_has_sent_does_not_cost_it_the_reply(way: Way) {
    let harness = Harness::single(way, Toy::default(), way.options().max_connections(1));
    let mut holder = harness.client();
    for round in 1..=10 {
        let held = harness.seen.hold();
        holder.send("HOLD\n");
        wait_until("all stand still", || {
            harness.seen.held.load(SeqCst) == round
        });
        let mut eager = Client::connect(harness.address());
        eager.send("in a hurry\n");
        drop(held);
        holder.expect("HELD");
        eager.expect("FULL");
        eager.expect_eof();
        // A reset after the end of the stream can only be seen in the socket's error; by then the
        // server has closed.
        holder.echo("gone on");
        assert!(eager.stream().take_error().unwrap().is_none());
    }
}

/// The client connects again the moment it has its last reply: its place must be free by then.
pub(crate) fn a_peer_that_has_its_last_reply_has_given_its_place_back(way: Way) {
    let harness = Harness::start(way, Toy::default(), way.options().max_connections(1));
    for round in 0..300 {
        let mut client = harness.client();
        client.send(if round % 2 == 0 { "QUIT\n" } else { "LEAVE\n" });
        client.expect("BYE");
    }
}

/// However many they are: only so many are waited for.
pub(crate) fn peers_that_never_close_keep_no_place(way: Way) {
    let harness = Harness::start(
        way,
        Toy::default(),
        way.options()
            .max_connections(1)
            .linger(Duration::from_secs(3600)),
    );
    let mut stay = Vec::new();
    // One and 256 may linger beside the one session.
    for _ in 0..300 {
        let mut client = harness.client();
        client.send("QUIT\n");
        client.expect("BYE");
        stay.push(client);
    }
    harness.client().echo("served");
}

/// With no place for them nobody is waited for, at a stop either.
pub(crate) fn peers_that_do_not_close_have_as_many_places_as_are_set(way: Way) {
    for (at_first, later) in [(Some(0), Some(0)), (None, Some(0))] {
        let harness = Harness::start(
            way,
            Toy::default(),
            way.options()
                .max_closing(at_first)
                .linger(Duration::from_secs(3600))
                .drain_timeout(Duration::from_secs(3600)),
        );
        harness.running.set_max_closing(later);
        let mut client = harness.client();
        client.send("LEAVE\n");
        client.expect("BYE");
        harness.running.shutdown();
        harness.wait_stopped();
    }
}

/// In a process of its own, which lowers its limit.
pub(crate) fn connections_wait_while_descriptors_are_short(way: Way) {
    let server = ShortOfDescriptors::start(way);
    // The kernel connects them all; the server has room for some. As those leave, others are
    // served, in the end all.
    let clients: Vec<_> = (0..40).map(|_| Client::connect(server.address)).collect();
    let served = clients.into_iter().map(|mut client| {
        thread::spawn(move || {
            client.expect("HELLO");
            client.echo("served");
        })
    });
    for client in served.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    server.stop();
}

struct ShortOfDescriptors {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

/// Names the way to [`serve_short_of_descriptors`].
const WAY: &str = "CONFORMANCE_WAY";

impl ShortOfDescriptors {
    fn start(way: Way) -> Self {
        let mut process = child("limits::serve_short_of_descriptors")
            .env(WAY, format!("{way:?}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = output
            .find_map(|line| {
                line.unwrap()
                    .split_once("listening on ")
                    .map(|(_, address)| address.parse().unwrap())
            })
            .unwrap();
        Self {
            process,
            output,
            address,
        }
    }

    fn stop(mut self) {
        drop(self.process.stdin.take());
        let output: Vec<_> = self.output.map(Result::unwrap).collect();
        assert!(self.process.wait().unwrap().success(), "{output:?}");
    }
}

#[test]
#[ignore = "a process that another test starts"]
fn serve_short_of_descriptors() {
    let way = match std::env::var(WAY).unwrap().as_str() {
        "Within" => Way::Within,
        "Threads" => Way::Threads,
        _ => Way::Raw,
    };
    let harness = Harness::start(way, Toy::default(), way.options());
    limit_descriptors(8);
    println!("listening on {}", harness.address());
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().for_each(drop);
}

/// As many as the limit on descriptors allows, both ends being in this process, up to ten thousand.
pub(crate) fn ten_thousand_idle_peers(way: Way) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    /// For everything else that runs at the same time.
    const SPARE: u64 = 1000;
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .unwrap();
    let descriptors = limit.maximum.unwrap_or(u64::MAX).min(20_000 + SPARE);
    let count = usize::try_from((descriptors - SPARE) / 2).unwrap();
    eprintln!("{count} idle connections");

    let harness = Harness::start(way, Toy::default(), way.options());
    let mut clients: Vec<Client> = (0..count)
        .map(|_| Client::connect(harness.address()))
        .collect();
    for client in &mut clients {
        client.expect("HELLO");
    }
    assert_eq!(harness.running.active_connections(), count);
    let polls = harness.seen.polls.load(SeqCst);
    let mut busy = harness.client();
    for _ in 0..100 {
        busy.echo("served beside them");
    }
    let spent = harness.seen.polls.load(SeqCst) - polls;
    assert!(spent < 1000, "{spent} polls: idle connections cost some");
    harness.running.shutdown();
    for client in &mut clients {
        client.expect("DOWN");
    }
    drop((clients, busy));
    harness.wait_stopped();
    wait_until("all sessions are gone", || {
        harness.seen.dropped.load(SeqCst) == count + 1
    });
}
