//! Nothing is allocated for a command, nor for a message.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::{Answer, Config, Connection, Event};

/// Says all of it, answers yes, and drops the replies.
fn converse(connection: &mut Connection, octets: &[u8], output: &mut Vec<u8>) -> usize {
    let now = Instant::now();
    let mut messages = 0;
    let mut input = octets;
    while let Some(event) = connection.poll_event(now, &mut input, output) {
        messages += usize::from(matches!(event, Event::MessageEnd { .. }));
        if connection.question().is_some() {
            connection.answer(now, Answer::Accept, output);
        }
        output.clear();
    }
    messages
}

#[test]
fn a_session_allocates_nothing() {
    let now = Instant::now();
    let mut output = Vec::with_capacity(4096);
    let text = b"EHLO client.example.com\r\n\
        MAIL FROM:<@relay.example:alice@example.com> SIZE=100 BODY=8BITMIME\r\n\
        RCPT TO:<\"b o b\"@[IPv6:2001:db8::1]>\r\nRCPT TO:<bad\r\nDATA\r\n\
        Received: x\r\n\r\n..text\r\n.\r\n\
        MAIL FROM:<j\xc3\xb6rg@example.com> SMTPUTF8\r\nRCPT TO:<postmaster>\r\n\
        BDAT 3\r\na\r\nBDAT 1 LAST\r\n\n\
        MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRSET\r\n\
        NOOP\r\nVRFY x\r\nHELP\r\nXYZZY\r\nEXPN x\r\nBDAT 6\r\nQUIT\r\n";
    let mut connection = Connection::new(Arc::new(Config::new("mx.example.com")), now);
    connection.answer(now, Answer::Accept, &mut output);
    let mut messages = 0;
    let allocated = allocation_counter::measure(|| {
        messages = converse(&mut connection, text, &mut output);
    });
    assert_eq!(messages, 1, "the second has a bare CR LF cut wrongly");
    assert!(!connection.is_closed());
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 300);
}
