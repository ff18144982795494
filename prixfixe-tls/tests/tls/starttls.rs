//! Nothing crosses the upgrade, in either direction.

use prixfixe_network::Session;
use prixfixe_tls::Tls;

use crate::echo::Echo;
use crate::wire::{BOTH, Server, TLS12, TLS13, World, exchange, exchange_pieces};

#[test]
fn the_answer_leaves_in_clear_and_the_rest_in_tls() {
    let world = World::new();
    let mut server = Server::starttls(&world.issued.config());
    server.receive(b"a\nstarttls\n");
    assert_eq!(server.sent(), b"hello\na\ngo ahead\n");
    let mut client = world.client(BOTH);
    exchange(&mut client, &mut server);
    client.write(b"b\nquit\n");
    exchange(&mut client, &mut server);
    assert_eq!(client.received, b"b\nbye\n");
    assert!(server.finished && client.closed);
    assert_eq!(server.echo().in_clear, b"a\nstarttls\n");
    assert_eq!(server.echo().in_tls, b"b\nquit\n");
}

#[test]
fn the_client_hello_may_come_before_the_answer_was_sent() {
    let world = World::new();
    let mut server = Server::starttls(&world.issued.config());
    server.receive(b"starttls\n");
    let mut client = world.client(BOTH);
    server.receive(&client.sent());
    let sent = server.sent();
    let clear = b"hello\ngo ahead\n";
    assert_eq!(&sent[..clear.len()], clear);
    client.receive(&sent[clear.len()..]);
    exchange(&mut client, &mut server);
    assert!(server.echo().info.is_some());
}

#[test]
fn clear_text_in_place_of_the_handshake_is_refused_in_clear() {
    let world = World::new();
    for injected in [
        &b"MAIL FROM:<a@b>\n"[..],
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\x00\x02\x02\x00",
    ] {
        let mut server = Server::starttls(&world.issued.config());
        server.receive(b"starttls\n");
        server.receive(injected);
        assert_eq!(server.sent(), b"hello\ngo ahead\nnot in clear\n");
        assert!(server.finished && server.echo().refused);
        assert_eq!(
            server.echo().in_clear,
            b"starttls\n",
            "it never got to the session"
        );
        assert!(!server.session.peer_is_done(), "the reply is to be read");
    }
}

#[test]
fn clear_text_to_an_implicit_port_does_not_learn_the_greeting() {
    let world = World::new();
    let mut server = Server::implicit(&world.issued.config());
    assert_eq!(server.sent(), b"", "the greeting waits for the handshake");
    server.receive(b"EHLO a\r\n");
    assert_eq!(server.sent(), b"not in clear\n");
    assert!(server.finished);
}

#[test]
fn clear_text_in_the_middle_of_the_handshake_gets_an_alert() {
    let world = World::new();
    // In TLS 1.3 the alert is encrypted already, and looks like data.
    for (versions, alert) in [(TLS12, 21), (TLS13, 23)] {
        let mut server = Server::starttls(&world.issued.config());
        server.receive(b"starttls\n");
        server.sent();
        server.receive(&world.client(versions).sent());
        server.sent();
        server.receive(b"MAIL FROM:<a@b>\n");
        assert_eq!(server.sent().first(), Some(&alert));
        assert!(server.finished && server.echo().failed.is_some());
        assert_eq!(server.echo().in_clear, b"starttls\n");
    }
}

#[test]
fn a_second_read_before_the_poll_does_not_slip_through() {
    let world = World::new();
    let mut server = Server::starttls(&world.issued.config());
    server.receive(b"starttls\n");
    // The transport reads several times before it polls.
    server.session.receive(server.now, b"x");
    server.session.receive(server.now, b"\x16\x03\x01");
    server.run();
    assert!(server.finished && server.echo().refused);
    assert_eq!(server.sent(), b"hello\ngo ahead\nnot in clear\n");
}

#[test]
fn a_failed_handshake_leaks_nothing_of_the_session() {
    let world = World::new();
    let mut echo = Echo::greeting();
    echo.to_write = 100;
    let mut server = Server::new(|now| Tls::implicit(echo, &world.issued.config(), now));
    server.receive(b"\x16\x03\x01\xff\xff");
    let sent = server.sent();
    assert!(server.finished);
    assert!(!sent.windows(5).any(|window| window == b"hello"));
    assert!(!sent.contains(&b'x'));
}

#[test]
fn byte_by_byte_is_the_same() {
    let world = World::new();
    let mut server = Server::starttls(&world.issued.config());
    b"a\nstarttls\n"
        .iter()
        .for_each(|byte| server.receive(&[*byte]));
    assert_eq!(server.sent(), b"hello\na\ngo ahead\n");
    let mut client = world.client(BOTH);
    exchange_pieces(&mut client, &mut server, |bytes| vec![1; bytes.len()]);
    client.write(b"b\nquit\n");
    exchange_pieces(&mut client, &mut server, |bytes| vec![1; bytes.len()]);
    assert_eq!(client.received, b"b\nbye\n");
    assert!(server.finished && client.closed);
}
