//! Contents, as the handler gets them.

use prixfixe_server::{Accepted, BodyError, Message, Reply, Transport, inbox};
use tokio::sync::mpsc;

use crate::client::{Client, start};
use crate::on_both_transports;

on_both_transports![
    bytes_arrive_as_sent_without_the_transparency_dots,
    a_large_content_comes_in_bounded_pieces,
    chunks_make_one_content,
    a_lost_connection_is_an_error_not_a_short_content,
    a_bare_line_feed_is_refused_and_the_handler_told,
    a_half_close_after_the_end_still_gets_its_reply,
    pipelined_transactions_are_answered_in_order,
    any_client_library_can_send,
];

async fn bytes_arrive_as_sent_without_the_transparency_dots(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client
        .send(b"..one\r\n...\r\nt\xE4\0\r\n..\r\n\r\n.\r\n")
        .await;
    assert!(client.reply().await.starts_with("250 2.0.0"));
    assert_eq!(
        &inbox.next().await.expect("it was delivered").content()[..],
        b".one\r\n..\r\nt\xE4\0\r\n.\r\n\r\n"
    );
}

async fn a_large_content_comes_in_bounded_pieces(transport: Transport) {
    let (report, mut reports) = mpsc::unbounded_channel();
    let server = start(transport, move |mut message: Message| {
        let report = report.clone();
        async move {
            let (mut total, mut largest) = (0, 0);
            while let Some(chunk) = message.body().chunk().await? {
                total += chunk.len();
                largest = largest.max(chunk.len());
                tokio::task::yield_now().await;
            }
            report
                .send((total, largest))
                .map_err(|_| Reply::transient("the test is over"))?;
            Ok(Accepted::default())
        }
    });
    let mut client = Client::greeted(server.local_address()).await;
    let line = "x".repeat(70) + "\r\n";
    assert!(
        client
            .deliver(line.repeat(100_000).trim_end())
            .await
            .starts_with("250 2.0.0")
    );
    let (total, largest) = reports.recv().await.expect("it was handled");
    assert_eq!(total, 7_200_000);
    assert!(largest <= 512 * 1024, "{largest} octets at once");
}

async fn chunks_make_one_content(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    client
        .ask("MAIL FROM:<ann@example.com> BODY=BINARYMIME")
        .await;
    client.ask("RCPT TO:<bob@example.com>").await;
    client.send(b"BDAT 4\r\na\nb\rBDAT 3 LAST\r\n.\r\n").await;
    assert!(client.reply().await.starts_with("250 2.0.0"));
    assert!(client.reply().await.starts_with("250 2.0.0 OK "));
    assert_eq!(
        &inbox.next().await.expect("it was delivered").content()[..],
        b"a\nb\r.\r\n"
    );
}

async fn a_lost_connection_is_an_error_not_a_short_content(transport: Transport) {
    let (report, mut reports) = mpsc::unbounded_channel();
    let server = start(transport, move |message: Message| {
        let report = report.clone();
        async move {
            let _ = report.send(
                message
                    .collect()
                    .await
                    .map(|message| message.into_content()),
            );
            Ok(Accepted::default())
        }
    });
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client.send("almost the end\r\n.").await;
    client.half_close().await;
    assert_eq!(
        reports.recv().await.expect("the handler was told"),
        Err(BodyError::Incomplete)
    );
}

async fn a_bare_line_feed_is_refused_and_the_handler_told(transport: Transport) {
    let (report, mut reports) = mpsc::unbounded_channel();
    let server = start(transport, move |message: Message| {
        let report = report.clone();
        async move {
            let _ = report.send(
                message
                    .collect()
                    .await
                    .map(|message| message.into_content()),
            );
            Ok(Accepted::default())
        }
    });
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client
        .send("one\n.\nMAIL FROM:<smuggled@example.com>\r\n.\r\n")
        .await;
    assert!(client.reply().await.starts_with("550 5.5.2"));
    assert!(
        matches!(reports.recv().await, Some(Err(BodyError::Refused(reply))) if reply.code() == 550)
    );
    assert!(client.ask("NOOP").await.starts_with("250"));
}

async fn a_half_close_after_the_end_still_gets_its_reply(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    client
        .send("MAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
        .await;
    for code in ["250", "250", "354"] {
        assert!(client.reply().await.starts_with(code));
    }
    client.send("hello\r\n.\r\nQUIT\r\n").await;
    client.half_close().await;
    let rest = client.rest().await;
    assert!(
        rest.starts_with("250 2.0.0 OK ") && rest.contains("\r\n221 2.0.0 "),
        "{rest}"
    );
    assert!(inbox.next().await.is_some());
}

async fn pipelined_transactions_are_answered_in_order(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    let mut input = String::new();
    for n in 0..16 {
        input += &format!(
            "MAIL FROM:<a{n}@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 4 LAST\r\n{n:02}\r\n"
        );
    }
    client.send(input).await;
    for n in 0..16 {
        for code in ["250 2.1.0", "250 2.1.5", "250 2.0.0 OK"] {
            assert!(client.reply().await.starts_with(code));
        }
        let message = inbox.next().await.expect("it was delivered");
        assert_eq!(
            message.envelope().reverse_path().to_string(),
            format!("a{n}@example.com")
        );
        assert_eq!(&message.content()[..], format!("{n:02}\r\n").as_bytes());
    }
}

async fn any_client_library_can_send(transport: Transport) {
    use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mail = lettre::Message::builder()
        .from("Ann <ann@example.com>".parse().expect("an address"))
        .to("Bob <bob@example.com>".parse().expect("an address"))
        .subject("Grüße")
        .body(String::from(".leading dot\r\nand an ümlaut\r\n"))
        .expect("a message");
    let sent = mail.formatted();
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(server.local_address().port())
        .build()
        .send(mail)
        .await
        .expect("it is accepted");
    // This client ends a message with an empty line of its own.
    let received = inbox.next().await.expect("it was delivered").into_content();
    assert_eq!(received.strip_suffix(b"\r\n"), Some(&sent[..]));
}
