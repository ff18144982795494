//! Limits, as a client meets them over a socket.

use std::time::Duration;

use prixfixe_server::{Transport, inbox};

use crate::client::{Client, builder, start};
use crate::on_both_transports;

on_both_transports![
    one_connection_too_many_is_told_421,
    a_silent_client_is_told_421,
    a_client_that_never_comes_to_a_message_is_told_421,
    commands_without_a_message_have_a_limit,
    a_chunk_that_was_refused_has_an_end,
    a_client_that_stops_in_mid_body_is_told_421_and_nothing_is_delivered,
    ten_thousand_recipients_are_answered_and_the_first_thousand_stay,
    a_body_too_large_is_refused_and_the_session_goes_on,
    a_million_noops_from_a_client_that_reads_nothing_are_not_buffered,
];

async fn one_connection_too_many_is_told_421(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .max_connections(2)
        .handler(handler)
        .start()
        .expect("it starts");
    let _first = Client::greeted(server.local_address()).await;
    let mut second = Client::greeted(server.local_address()).await;
    let mut third = Client::connect(server.local_address()).await;
    assert!(third.rest().await.starts_with("421 4.3.2"));

    assert!(second.ask("QUIT").await.starts_with("221"));
    second.rest().await;
    // The place is free once the server has noticed: at once, or after a few refusals.
    loop {
        let mut client = Client::connect(server.local_address()).await;
        if client.reply().await.starts_with("220") {
            break;
        }
    }
}

async fn a_silent_client_is_told_421(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .command_timeout(Duration::from_millis(50))
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::connect(server.local_address()).await;
    assert!(client.reply().await.starts_with("220"));
    assert!(client.rest().await.starts_with("421 4.4.2"));
}

async fn a_client_that_never_comes_to_a_message_is_told_421(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .idle_timeout(Duration::from_millis(200))
        .max_idle_commands(0)
        .handler(handler)
        .start()
        .expect("it starts");
    // No reply but the last is sure to come in time on a slow machine.
    let mut client = Client::connect(server.local_address()).await;
    assert!(client.reply().await.starts_with("220"));
    let last = loop {
        client.send("NOOP\r\n").await;
        let reply = client.reply().await;
        if !reply.starts_with("250") {
            break reply;
        }
    };
    assert!(last.starts_with("421 4.4.2"), "{last}");
    client.rest().await;
}

async fn commands_without_a_message_have_a_limit(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    // EHLO was the first.
    for _ in 1..100 {
        assert!(client.ask("NOOP").await.starts_with("250"));
    }
    let last = client.ask("NOOP").await;
    assert_eq!(last, "421 4.7.0 Too many commands without a message");
    assert_eq!(client.rest().await, "");
}

async fn a_chunk_that_was_refused_has_an_end(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .command_timeout(Duration::from_millis(300))
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::connect(server.local_address()).await;
    // In a chunk that is not refused they would be good for another 200 s.
    let chunk = "x".repeat(100_000);
    client
        .send(format!("BDAT 18446744073709551615\r\n{chunk}"))
        .await;
    assert!(client.rest().await.contains("\r\n421 4.4.2"));
    assert_eq!(server.metrics().snapshot().timeouts, 1);
}

async fn a_client_that_stops_in_mid_body_is_told_421_and_nothing_is_delivered(
    transport: Transport,
) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .command_timeout(Duration::from_millis(200))
        .min_data_rate(1_000_000)
        .handler(handler)
        .start()
        .expect("it starts");
    // In one go, so that no command is too slow on a slow machine.
    let mut client = Client::connect(server.local_address()).await;
    client
        .send(
            "EHLO c\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n\
             the beginning of",
        )
        .await;
    let replies = client.rest().await;
    assert!(
        replies.contains("\r\n354 ") && replies.contains("\r\n421 4.4.2 "),
        "{replies}"
    );
    server.stop().await;
    assert!(inbox.next().await.is_none());
}

async fn ten_thousand_recipients_are_answered_and_the_first_thousand_stay(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    client.ask("MAIL FROM:<>").await;
    let mut accepted = 0;
    for hundred in 0..100 {
        let commands: String = (0..100)
            .map(|n| format!("RCPT TO:<user{}@example.com>\r\n", hundred * 100 + n))
            .collect();
        client.send(commands).await;
        for _ in 0..100 {
            let reply = client.reply().await;
            match reply.get(..3) {
                Some("250") => accepted += 1,
                _ => assert!(reply.starts_with("452 4.5.3"), "{reply}"),
            }
        }
    }
    assert_eq!(accepted, 1000);
    assert!(client.ask("DATA").await.starts_with("354"));
    client.send("hello\r\n.\r\n").await;
    assert!(client.reply().await.starts_with("250 2.0.0"));
    assert_eq!(
        inbox
            .next()
            .await
            .expect("it was delivered")
            .envelope()
            .recipients()
            .len(),
        1000
    );
}

async fn a_body_too_large_is_refused_and_the_session_goes_on(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .max_message_size(10)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.deliver("12345678").await.starts_with("250 2.0.0"));
    assert_eq!(inbox.next().await.expect("it fits").content().len(), 10);
    assert!(client.deliver("123456789").await.starts_with("552 5.3.4"));
    assert!(client.deliver("1234").await.starts_with("250 2.0.0"));
    assert_eq!(inbox.next().await.expect("it fits").content().len(), 6);
}

async fn a_million_noops_from_a_client_that_reads_nothing_are_not_buffered(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .max_idle_commands(0)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::connect_with_small_buffers(server.local_address()).await;
    // The server stops reading once its replies are not taken, so the client cannot send all of
    // them; it goes on when it reads again. A server that buffered would take them all. The text
    // makes the commands together larger than what kernels buffer.
    let noops = format!("NOOP {}\r\n", "x".repeat(26)).repeat(1000);
    let mut sent = 0;
    while sent < 1_000_000 && client.try_send(noops.as_bytes()).await {
        sent += 1000;
    }
    assert!(sent < 1_000_000, "the server took everything");
    let mut bystander = Client::greeted(server.local_address()).await;
    assert!(bystander.ask("NOOP").await.starts_with("250"));
    assert!(client.reply().await.starts_with("220"));
    for _ in 0..sent {
        assert!(client.reply().await.starts_with("250"));
    }
}
