//! What every transport has to do, run on each of them.

mod harness;
mod toy;

use harness::{Harness, Way};
use toy::Toy;

#[test]
fn smoke() {
    for way in [Way::Within, Way::Threads, Way::Raw] {
        let harness = Harness::start(way, Toy::default(), way.options());
        let mut client = harness.client();
        client.echo("one");
        client.send("QUIT\n");
        client.expect("BYE");
        client.expect_eof();
        drop(client);
        let mut client = harness.client();
        harness.running.shutdown();
        client.expect("DOWN");
        client.expect_eof();
        drop(client);
        harness.wait_stopped();
        assert_eq!(harness.running.active_connections(), 0);
    }
}
