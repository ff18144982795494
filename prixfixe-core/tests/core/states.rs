//! What a connection says of itself, and its corners.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::{Answer, Config, Connection, Event, Question};
use prixfixe_dialogue::Settings;

use crate::server::Server;

#[test]
fn a_transaction_lasts_from_mail_to_the_end_of_the_message() {
    let mut server = Server::new(&Settings::default());
    for (sent, expected) in [
        ("EHLO c\r\n", false),
        ("MAIL FROM:<a\r\n", false),
        ("MAIL FROM:<a@x>\r\n", true),
        ("RCPT TO:<b@x>\r\n", true),
        ("NOOP\r\n", true),
        ("DATA\r\n", true),
        ("x\r\n", true),
        (".\r\n", false),
        ("MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nBDAT 1\r\n", true),
        ("x", true),
        ("BDAT 0 LAST\r\n", false),
        ("MAIL FROM:<>\r\n", true),
        ("RSET\r\n", false),
        ("MAIL FROM:<>\r\n", true),
        ("EHLO c\r\n", false),
        ("MAIL FROM:<>\r\n", true),
        ("QUIT\r\n", false),
    ] {
        server.receive(sent.as_bytes());
        assert_eq!(server.connection.in_transaction(), expected, "{sent:?}");
    }
}

#[test]
fn a_transaction_goes_on_while_a_question_is_open() {
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(Config::default()), now);
    let mut output = Vec::new();
    assert_eq!(connection.question(), Some(Question::Connect));
    assert!(!connection.in_transaction());
    let mut input: &[u8] = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nBDAT 2 LAST\r\n\r\n";
    let mut open = Vec::new();
    loop {
        connection.answer(now, Answer::Accept, &mut output);
        let Some(event) = connection.poll_event(now, &mut input, &mut output) else {
            break;
        };
        drop(event);
        if let Some(question) = connection.question() {
            open.push((question, connection.in_transaction()));
        }
    }
    let expected = [
        (Question::Hello, false),
        (Question::Mail, true),
        (Question::Rcpt, true),
        (Question::Data, true),
        (Question::Message, true),
    ];
    assert_eq!(open, expected);
}

#[test]
fn an_answer_that_nobody_asked_for_does_nothing() {
    let mut server = Server::new(&Settings::default());
    server.output.clear();
    for answer in [
        Answer::Accept,
        Answer::Refuse(prixfixe_core::replies::LOCAL_ERROR),
    ] {
        server
            .connection
            .answer(server.now, answer, &mut server.output);
    }
    assert!(server.output.is_empty() && !server.connection.is_closed());
}

#[test]
fn clear_text_where_tls_comes_first_is_told_so_and_gets_no_greeting() {
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(Config::default()), now);
    let mut output = Vec::new();
    connection.clear_text_after_starttls(now, &mut output);
    connection.answer(now, Answer::Accept, &mut output);
    assert_eq!(output, b"554 5.5.1 TLS comes first on this port\r\n");
    assert!(connection.is_closed());
}

#[test]
fn tls_before_the_first_answer_leaves_the_question_open() {
    let now = Instant::now();
    let mut config = Config::default();
    config.starttls = true;
    let mut connection = Connection::new(Arc::new(config), now);
    connection.tls_established(now);
    assert_eq!(connection.question(), Some(Question::Connect));
    let mut output = Vec::new();
    connection.answer(now, Answer::Accept, &mut output);
    let mut input: &[u8] = b"EHLO c\r\n";
    let hello = connection.poll_event(now, &mut input, &mut output);
    assert!(matches!(hello, Some(Event::Hello { extended: true, .. })));
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("220 ") && !output.contains("STARTTLS"));
}

#[test]
fn a_size_limit_of_zero_is_none() {
    let now = Instant::now();
    let mut config = Config::default();
    config.max_message_size = 0;
    let mut connection = Connection::new(Arc::new(config), now);
    let mut output = Vec::new();
    let declared = format!(
        "EHLO c\r\nMAIL FROM:<> SIZE={}\r\nRCPT TO:<b@x>\r\nBDAT {}\r\n",
        u64::MAX,
        u64::MAX
    );
    let mut input = declared.as_bytes();
    let mut started = false;
    loop {
        connection.answer(now, Answer::Accept, &mut output);
        match connection.poll_event(now, &mut input, &mut output) {
            Some(event) => started |= event == Event::Data,
            None => break,
        }
    }
    let output = String::from_utf8(output).unwrap();
    assert!(
        output.contains("250-SIZE 0\r\n"),
        "RFC 1870 section 4: {output}"
    );
    assert!(started, "{output}");
}

/// RFC 8689 section 4.1: whoever asks for it in the clear is told that it is not there.
#[test]
fn requiretls_is_taken_within_tls_alone() {
    let now = Instant::now();
    let mut config = Config::default();
    (config.starttls, config.requiretls) = (true, true);
    let mut connection = Connection::new(Arc::new(config), now);
    let mut output = Vec::new();
    connection.answer(now, Answer::Accept, &mut output);
    for (tls, code) in [(false, &b"555 5.5.4"[..]), (true, b"250 2.1.0")] {
        if tls {
            connection.tls_established(now);
        }
        output.clear();
        let mut input = &b"EHLO c\r\nMAIL FROM:<a@b> REQUIRETLS\r\n"[..];
        while let Some(event) = connection.poll_event(now, &mut input, &mut output) {
            if let Event::Mail { parameters, .. } = &event {
                assert!(parameters.requiretls);
            }
            connection.answer(now, Answer::Accept, &mut output);
        }
        assert!(output.windows(9).any(|it| it == code), "{tls}");
    }
}
