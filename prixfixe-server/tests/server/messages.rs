//! Contents, as the handler gets them.

use prixfixe_server::{Accepted, BareLineEnds, BodyError, Message, Reply, Transport, inbox};
use tokio::sync::mpsc;

use crate::client::{Client, builder, start};
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
    a_name_that_is_no_domain_is_unknown_in_the_trace,
    bare_line_ends_are_repaired_where_that_is_wanted,
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

async fn a_name_that_is_no_domain_is_unknown_in_the_trace(transport: Transport) {
    for (name, smtputf8, traced) in [
        ("Client.test.", false, "Client.test"),
        ("[192.0.2.1]", false, "[192.0.2.1]"),
        ("192.0.2.1", false, "192.0.2.1"),
        ("Z170-D3H Gentoo", false, "unknown"),
        ("(none)", false, "unknown"),
        ("Bobs'-MacBook.local", true, "unknown"),
        ("a (b) by mx.test with ESMTP id 1; ", true, "unknown"),
        ("[2001:db8::1", false, "unknown"),
        ("b\u{fc}cher.example", false, "unknown"),
        ("b\u{fc}cher.example", true, "b\u{fc}cher.example"),
    ] {
        let (handler, mut inbox) = inbox();
        let server = start(transport, handler);
        let mut client = Client::greeted(server.local_address()).await;
        let extension = if smtputf8 { " SMTPUTF8" } else { "" };
        client.ask(&format!("EHLO {name}")).await;
        client.ask(&format!("MAIL FROM:<a@b>{extension}")).await;
        client.ask("RCPT TO:<b@c>").await;
        client.ask("DATA").await;
        client.ask("x\r\n.").await;
        let message = inbox.next().await.expect("it was delivered");
        let trace = String::from_utf8(message.trace_headers(message.envelope().recipients()))
            .expect("headers are text");
        let expected = format!("Received: from {traced} ([127.0.0.1])\r\n");
        assert!(trace.contains(&expected), "{name}: {trace}");
        assert_eq!(message.client().helo(), Some(name.trim_end()));
    }
}

async fn bare_line_ends_are_repaired_where_that_is_wanted(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .bare_line_ends(BareLineEnds::Repair)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let lines = "a line of text\n.\n\r".repeat(10_000);
    assert!(client.deliver(&lines).await.starts_with("250 2.0.0"));
    let message = inbox.next().await.expect("it was delivered");
    // The last CR is bare, too: the line end of its line stands behind it.
    let expected = "a line of text\r\n.\r\n\r\n".repeat(10_000) + "\r\n";
    assert!(message.content()[..] == *expected.as_bytes());
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
