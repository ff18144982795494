//! Established connections: the end of them, and what they hold.

use prixfixe_network::Session;
use prixfixe_tls::Tls;
use rustls::{AlertDescription, Error};

use crate::echo::Echo;
use crate::wire::{BOTH, Server, TLS12, TLS13, World, exchange};

#[test]
fn close_notify_is_sent_when_the_session_ends() {
    for versions in [TLS12, TLS13] {
        let (mut client, mut server) = World::new().established(versions);
        client.write(b"quit\n");
        exchange(&mut client, &mut server);
        assert_eq!(client.received, b"bye\n");
        assert!(server.finished && client.closed);
        assert!(
            !server.session.peer_is_done(),
            "its own close_notify is to come"
        );
    }
}

#[test]
fn close_notify_from_the_client_is_the_end_of_its_input() {
    for versions in [TLS12, TLS13] {
        let (mut client, mut server) = World::new().established(versions);
        client.write(b"last\n");
        client.tls.send_close_notify();
        exchange(&mut client, &mut server);
        assert_eq!(server.echo().in_tls, b"last\n");
        assert!(server.echo().eof && server.finished && client.closed);
        assert_eq!(client.received, b"last\n", "the answer still leaves");
        assert!(server.session.peer_is_done());
    }
}

#[test]
fn the_end_of_the_connection_after_close_notify_is_not_told_twice() {
    let (mut client, mut server) = World::new().established(BOTH);
    client.tls.send_close_notify();
    let sent = client.sent();
    server.session.receive(server.now, &sent);
    server.session.receive_eof(server.now);
    server.run();
    assert!(server.echo().eof && server.finished);
}

#[test]
fn truncation_is_the_end_of_the_input_and_no_more() {
    let (mut client, mut server) = World::new().established(BOTH);
    client.write(b"whole\n");
    client.write(b"cut off\n");
    let sent = client.sent();
    server.receive(&sent[..sent.len() - 1]);
    server.receive_eof();
    assert_eq!(
        server.echo().in_tls,
        b"whole\n",
        "no octet of a record that cannot be verified"
    );
    assert!(server.echo().eof && server.finished);
}

#[test]
fn a_forged_record_gets_an_alert_and_nothing_behind_it_counts() {
    let (mut client, mut server) = World::new().established(BOTH);
    client.write(b"true\n");
    let mut sent = client.sent();
    client.write(b"forged\n");
    let mut forged = client.sent();
    *forged.last_mut().unwrap() ^= 1;
    client.write(b"behind\n");
    sent.extend(forged);
    sent.extend(client.sent());
    server.receive(&sent);
    client.receive(&server.sent());
    assert_eq!(
        client.error,
        Some(Error::AlertReceived(AlertDescription::BadRecordMac))
    );
    assert_eq!(server.echo().in_tls, b"true\n");
    assert!(server.echo().eof && server.finished && !server.session.peer_is_done());
}

#[test]
fn a_header_that_no_record_has_gets_an_alert_before_its_content_comes() {
    let headers = [
        // SSL 2 and what is no TLS, an empty alert, one octet too long.
        [23, 2, 3, 0, 16],
        [23, b'Q', b'U', b'I', b'T'],
        [21, 3, 3, 0, 0],
        [23, 3, 3, 0x48, 0],
    ];
    for (versions, header) in [TLS12, TLS13]
        .into_iter()
        .flat_map(|versions| headers.map(|header| (versions, header)))
    {
        let (mut client, mut server) = World::new().established(versions);
        server.receive(&header);
        assert!(server.echo().eof && server.finished, "{header:?}");
        client.receive(&server.sent());
        assert_eq!(
            client.error,
            Some(Error::AlertReceived(AlertDescription::DecodeError)),
            "{header:?}"
        );
    }
}

#[test]
fn what_is_encrypted_ahead_is_bounded_and_all_of_it_arrives() {
    let world = World::new();
    const LENGTH: usize = 300_000;
    let mut echo = Echo::greeting();
    echo.to_write = LENGTH;
    let mut server = Server::new(|now| Tls::implicit(echo, &world.issued.config(), now));
    let mut client = world.client(BOTH);
    server.receive(&client.sent());
    client.receive(&server.sent());
    // The client's Finished: from now on the server writes, and nobody takes it.
    server.receive(&client.sent());
    for _ in 0..100 {
        server.poll();
    }
    let waiting = server.session.output().len();
    assert!((64 * 1024..96 * 1024).contains(&waiting), "{waiting}");
    assert!(
        !server.session.wants_read(),
        "who doesn't read isn't served"
    );
    exchange(&mut client, &mut server);
    assert_eq!(client.received.len(), "hello\n".len() + LENGTH);
    assert!(server.session.wants_read());
}

#[test]
fn keys_are_updated_without_a_trace() {
    let (mut client, mut server) = World::new().established(TLS13);
    for _ in 0..3 {
        client.tls.refresh_traffic_keys().unwrap();
        client.write(b"x\n");
        exchange(&mut client, &mut server);
    }
    assert_eq!(client.received, b"x\nx\nx\n");
}

#[test]
fn large_records_pass_whole_and_in_order() {
    for versions in [TLS12, TLS13] {
        let (mut client, mut server) = World::new().established(versions);
        let mut line: Vec<u8> = (0..200_000_u32)
            .map(|index| b'a' + (index % 23) as u8)
            .collect();
        line.push(b'\n');
        for chunk in line.chunks(50_000) {
            client.write(chunk);
            let sent = client.sent();
            server.receive(&sent);
        }
        exchange(&mut client, &mut server);
        assert_eq!(server.echo().in_tls, line);
        assert_eq!(client.received, line);
    }
}
