//! What a caller gets to know about a failure, and what it cannot do any more.

use prixfixe_client::{Config, Fault, Mail, Malformed, Rcpt, Stage, StartTls, Unsendable};

use crate::script::Client;

fn client() -> Client {
    Client::ready(
        Config::smtp("c").unwrap(),
        "250-PIPELINING\r\n250-CHUNKING\r\n",
    )
}

#[test]
fn an_error_carries_the_whole_reply() {
    let mut client = client();
    client
        .connection
        .mail(client.now, &Mail::new("").unwrap())
        .unwrap();
    client.transmit(usize::MAX);
    let error = client
        .connection
        .poll_event(
            client.now,
            &mut &b"421-4.3.2 going down\r\n421 4.3.2 come back\r\n"[..],
        )
        .unwrap_err();
    assert_eq!((error.stage(), error.in_doubt()), (Stage::Mail, false));
    let Fault::Refused(reply) = error.fault() else {
        panic!("{error}")
    };
    assert_eq!(reply.code(), 421);
    let reply = reply.as_reply();
    let lines: Vec<_> = reply.lines().collect();
    assert_eq!(lines, [&b"4.3.2 going down"[..], b"4.3.2 come back"]);
    assert_eq!(reply.enhanced().unwrap().to_string(), "4.3.2");
}

#[test]
fn what_is_no_reply_says_why() {
    for (input, expected) in [
        ("hello\r\n".to_owned(), Malformed::NotAReply),
        ("2".repeat(5000), Malformed::LineTooLong),
        ("250-x\r\n".repeat(1001), Malformed::TooManyLines),
        ("250-x\r\n251 x\r\n".to_owned(), Malformed::Codes),
    ] {
        let mut client = client();
        client.connection.noop(client.now).unwrap();
        client.transmit(usize::MAX);
        let error = client
            .connection
            .poll_event(client.now, &mut input.as_bytes())
            .unwrap_err();
        let Fault::Malformed { why, said } = error.fault() else {
            panic!("{error}")
        };
        assert_eq!(why, &expected);
        assert!(input.contains(said) && !said.is_empty() && said.len() <= 160);
        assert_eq!(error.stage(), Stage::Noop);
    }
}

#[test]
fn nothing_can_be_said_after_the_end() {
    let mut client = client();
    client.connection.receive_eof().unwrap_err();
    let (connection, now) = (&mut client.connection, client.now);
    let (mail, rcpt) = (Mail::new("").unwrap(), Rcpt::new("b@x").unwrap());
    for result in [
        connection.mail(now, &mail),
        connection.rcpt(now, &rcpt),
        connection.data(now),
        connection.bdat(now),
        connection.send_content(now, b"x").map(|_| ()),
        connection.finish_content(now),
        connection.lend_content(now, 1),
        connection.send_chunk(now, b"x", true),
        connection.lend_chunk(now, 1, true),
        connection.reset(now),
        connection.noop(now),
        connection.quit(now),
        connection.tls_established(now),
    ] {
        assert_eq!(result, Err(Unsendable::NotNow));
    }
    assert_eq!(connection.poll_transmit().count(), 0);
    assert_eq!(connection.stage(), Stage::Closed);
    let mut input = &b"250 still there\r\n"[..];
    assert_eq!(connection.poll_event(now, &mut input), Ok(None));
    assert!(input.is_empty());
    assert_eq!(connection.receive_eof(), Ok(()));
}

#[test]
fn nothing_can_be_said_before_the_extensions_are_known() {
    let mut client = Client::new(Config::smtp("c").unwrap(), false);
    let mail = Mail::new("").unwrap();
    for input in [&b""[..], b"220 mx\r\n", b"250-"] {
        client.receive(input);
        let now = client.now;
        assert_eq!(client.connection.mail(now, &mail), Err(Unsendable::NotNow));
        assert_eq!(client.connection.quit(now), Err(Unsendable::NotNow));
        assert!(!client.connection.is_idle());
    }
    client.receive(b"mx\r\n250 DSN\r\n");
    assert!(client.connection.is_idle() && client.connection.extensions().dsn);
}

#[test]
fn a_chunk_waits_for_room() {
    let mut client = client();
    let now = client.now;
    client
        .connection
        .mail(now, &Mail::new("").unwrap())
        .unwrap();
    client
        .connection
        .rcpt(now, &Rcpt::new("b@x").unwrap())
        .unwrap();
    client.connection.bdat(now).unwrap();
    let chunk = [b'x'; 40_000];
    client.connection.send_chunk(now, &chunk, false).unwrap();
    client.connection.send_chunk(now, &chunk, false).unwrap();
    assert_eq!(
        client.connection.send_chunk(now, &chunk, false),
        Err(Unsendable::Full)
    );
    client.transmit(usize::MAX);
    client.connection.send_chunk(now, &chunk, true).unwrap();
}

#[test]
fn debug_shows_nobodys_mail() {
    let mut client = client();
    let now = client.now;
    client
        .connection
        .mail(now, &Mail::new("").unwrap())
        .unwrap();
    client
        .connection
        .rcpt(now, &Rcpt::new("b@x").unwrap())
        .unwrap();
    client.connection.bdat(now).unwrap();
    client.connection.send_chunk(now, b"private", true).unwrap();
    let shown = format!("{:?}", client.connection);
    assert!(
        !shown.contains("private") && !shown.contains("112, 114"),
        "{shown}"
    );
}

#[test]
fn plaintext_in_one_piece_with_the_220_is_found_before_the_handshake() {
    let mut config = Config::smtp("c").unwrap();
    config.start_tls = StartTls::Required;
    let mut client = Client::new(config, false);
    client.receive(b"220 mx\r\n");
    client.receive(b"250-mx\r\n250 STARTTLS\r\n");
    let error = client
        .connection
        .poll_event(client.now, &mut &b"220 go\r\n250 mx\r\n"[..])
        .unwrap_err();
    assert_eq!(
        (error.stage(), error.fault()),
        (Stage::StartTls, &Fault::Injected)
    );
    assert_eq!(
        client.connection.tls_established(client.now),
        Err(Unsendable::NotNow)
    );
}
