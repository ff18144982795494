//! Nothing is allocated for a command, nor for a message, once the buffers have grown.

use std::time::Instant;

use prixfixe_client::{BodyType, Config, Connection, Event, Mail, Rcpt};

use crate::script::Client;

/// Sends all that can be sent, nowhere.
fn transmit(connection: &mut Connection, now: Instant) {
    loop {
        let length: u64 = connection.poll_transmit().map(|piece| piece.length()).sum();
        if length == 0 {
            return;
        }
        connection.handle_transmitted(now, length as usize);
    }
}

/// Two messages, the second's envelope behind the first's content. Gives how many were accepted.
fn converse(connection: &mut Connection, now: Instant, mail: &Mail<'_>, rcpt: &Rcpt<'_>) -> usize {
    let envelope = |connection: &mut Connection| {
        connection.mail(now, mail).unwrap();
        connection.rcpt(now, rcpt).unwrap();
        connection.rcpt(now, rcpt).unwrap();
        connection.data(now).unwrap();
    };
    envelope(connection);
    let (mut begun, mut accepted) = (1, 0);
    for mut replies in [
        &b"250 ok\r\n250-ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n"[..],
        b"250 2.0.0 queued\r\n250 ok\r\n250 ok\r\n250 o",
        b"k\r\n354 go\r\n",
        b"250 2.0.0 queued\r\n",
    ] {
        transmit(connection, now);
        while let Some(event) = connection.poll_event(now, &mut replies).unwrap() {
            match event {
                Event::Content if begun == 1 => {
                    begun += 1;
                    connection.lend_content(now, 102_400).unwrap();
                    envelope(connection);
                }
                Event::Content => {
                    connection
                        .send_content(now, b"Subject: x\r\n\r\n.\r\n")
                        .unwrap();
                    connection.finish_content(now).unwrap();
                }
                Event::Message { reply, .. } => {
                    assert_eq!(reply.enhanced().unwrap().1, 0);
                    accepted += usize::from(reply.is_positive());
                }
                _ => {}
            }
        }
    }
    accepted
}

#[test]
fn a_message_allocates_nothing() {
    let config = Config::smtp("client.example.com").unwrap();
    let mut client = Client::ready(config, "250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n");
    let mail = Mail::new("alice@example.com")
        .unwrap()
        .size(102_400)
        .body(BodyType::EightBitMime);
    let rcpt = Rcpt::new("bob@example.net").unwrap();
    assert_eq!(
        converse(&mut client.connection, client.now, &mail, &rcpt),
        2
    );
    let mut accepted = 0;
    let allocated = allocation_counter::measure(|| {
        for _ in 0..10 {
            accepted += converse(&mut client.connection, client.now, &mail, &rcpt);
        }
    });
    assert_eq!(accepted, 20);
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_connection_is_small() {
    assert!(
        size_of::<Connection>() <= 512,
        "{}",
        size_of::<Connection>()
    );
}
