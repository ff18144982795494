//! Deadlines: whom they are about, and when. RFC 5321 section 4.5.3.2.

use std::time::Duration;

use prixfixe_client::{Config, Mail, OUTPUT_HIGH_WATER, Rcpt};

use crate::script::Client;

const MINUTE: Duration = Duration::from_secs(60);

fn client() -> Client {
    let config = Config::smtp("client.example.com").unwrap();
    Client::ready(config, "250-PIPELINING\r\n")
}

/// How long the server has from now on.
fn patience(client: &Client) -> Option<Duration> {
    Some(client.connection.deadline()? - client.now)
}

fn begin(client: &mut Client) {
    let now = client.now;
    client
        .connection
        .mail(now, &Mail::new("a@x").unwrap())
        .unwrap();
    client
        .connection
        .rcpt(now, &Rcpt::new("b@x").unwrap())
        .unwrap();
    client.connection.data(now).unwrap();
}

#[test]
fn each_reply_has_its_time() {
    let mut client = Client::new(Config::smtp("c").unwrap(), false);
    assert_eq!(patience(&client), Some(5 * MINUTE));
    client.now += MINUTE;
    assert_eq!(patience(&client), Some(4 * MINUTE));
    client.receive(b"220 mx\r\n");
    assert_eq!(patience(&client), Some(5 * MINUTE), "EHLO");
    client.receive(b"250-mx\r\n250 PIPELINING\r\n");
    assert_eq!(
        patience(&client),
        None,
        "between messages nothing is awaited"
    );
    client.now += 100 * MINUTE;
    begin(&mut client);
    assert_eq!(patience(&client), Some(5 * MINUTE), "MAIL");
    client.receive(b"250 ok\r\n");
    client.now += MINUTE;
    client.receive(b"250 ok\r\n");
    assert_eq!(patience(&client), Some(2 * MINUTE), "DATA");
    client.receive(b"354 go\r\n");
    assert_eq!(patience(&client), None, "the content is the caller's");
    client
        .connection
        .send_content(client.now, b"hi\r\n")
        .unwrap();
    assert_eq!(patience(&client), Some(3 * MINUTE), "a block");
    client.now += MINUTE;
    client.transmit(2);
    assert_eq!(patience(&client), Some(3 * MINUTE), "some of it was taken");
    client.transmit(2);
    assert_eq!(patience(&client), None);
    client.connection.finish_content(client.now).unwrap();
    client.transmit(usize::MAX);
    assert_eq!(
        patience(&client),
        Some(10 * MINUTE),
        "the end of the content"
    );
    client.receive(b"250 ok\r\n");
    assert_eq!(patience(&client), None);
}

#[test]
fn a_reply_that_never_ends_is_no_progress() {
    let mut client = Client::new(Config::smtp("c").unwrap(), false);
    for _ in 0..4 {
        client.now += MINUTE;
        client.receive(b"220-wait\r\n");
    }
    client.connection.handle_timeout(client.now).unwrap();
    client.now += MINUTE;
    let error = client.connection.handle_timeout(client.now).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server has taken too long, waiting for the greeting"
    );
    assert!(client.connection.is_closed() && !error.in_doubt());
    assert_eq!(client.connection.deadline(), None);
}

#[test]
fn a_timeout_behind_the_content_leaves_a_doubt() {
    let mut client = client();
    begin(&mut client);
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    client.connection.finish_content(client.now).unwrap();
    client.now += 3 * MINUTE;
    let mut stuck = client;
    // The final dot was not sent: there is no doubt.
    assert!(
        !stuck
            .connection
            .handle_timeout(stuck.now)
            .unwrap_err()
            .in_doubt()
    );

    let mut client = self::client();
    begin(&mut client);
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    client.connection.finish_content(client.now).unwrap();
    client.transmit(usize::MAX);
    client.now += 10 * MINUTE;
    assert!(
        client
            .connection
            .handle_timeout(client.now)
            .unwrap_err()
            .in_doubt()
    );
}

#[test]
fn a_configured_time_is_kept() {
    let mut config = Config::smtp("c").unwrap();
    config.timeouts.mail = MINUTE / 2;
    let mut client = Client::ready(config, "");
    client
        .connection
        .mail(client.now, &Mail::new("").unwrap())
        .unwrap();
    assert_eq!(patience(&client), Some(MINUTE / 2));
}

#[test]
fn a_content_is_taken_as_it_is_sent() {
    let mut client = client();
    begin(&mut client);
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    client.output.clear();
    let content = b".line\r\n".repeat(40_000);
    let mut left = content.as_slice();
    while !left.is_empty() {
        let taken = client.connection.send_content(client.now, left).unwrap();
        assert!(taken <= OUTPUT_HIGH_WATER);
        left = &left[taken..];
        if taken == 0 {
            client.transmit(10_000);
        }
    }
    client.connection.finish_content(client.now).unwrap();
    client.transmit(usize::MAX);
    let expected = [b"..line\r\n".repeat(40_000).as_slice(), b".\r\n"].concat();
    assert!(client.output == expected);
}
