//! What is told of refused commands.

use prixfixe_dialogue::Settings;

use crate::server::{Server, Told};

/// The codes of the commands that were refused, in order.
fn refused(settings: &Settings, sent: &str) -> Vec<u16> {
    let mut server = Server::new(settings);
    server.receive(sent.as_bytes());
    let told = server.told.iter();
    told.filter_map(|told| match told {
        Told::CommandRefused(code) => Some(*code),
        _ => None,
    })
    .collect()
}

const HELLO: &str = "EHLO c\r\n";
const TO_RCPT: &str = "EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n";

#[test]
fn a_command_that_is_refused_is_told_with_its_code() {
    let small = Settings {
        max_message_size: Some(10),
        max_recipients: Some(1),
        ..Settings::default()
    };
    let long = format!("NOOP {}\r\n", "x".repeat(3000));
    let cases: &[(String, &[u16])] = &[
        (format!("{HELLO}NOOP\r\nHELP\r\nVRFY x\r\nRSET\r\n"), &[]),
        (
            "MAIL FROM:<a@x>\r\nFOO\r\nEXPN x\r\n".into(),
            &[503, 500, 502],
        ),
        (
            format!("{HELLO}MAIL FROM:<a\r\nRCPT TO:<b@x>\r\nDATA\r\n"),
            &[501, 503, 503],
        ),
        (format!("{HELLO}MAIL FROM:<a@x> SIZE=11\r\n"), &[552]),
        (format!("{HELLO}MAIL FROM:<a@x> X=1\r\n"), &[555]),
        (format!("{HELLO}MAIL FROM:<\u{e4}@x>\r\n"), &[553]),
        (format!("{TO_RCPT}RCPT TO:<c@x>\r\n"), &[452]),
        (long, &[500]),
        ("NOOP\n\r\n".into(), &[500]),
        ("GET / HTTP/1.1\r\n".into(), &[554]),
        ("STARTTLS\r\n".into(), &[502]),
        // The chunk is over the limit before a message has begun.
        (format!("{TO_RCPT}BDAT 11\r\n01234567890NOOP\r\n"), &[552]),
    ];
    for (sent, codes) in cases {
        assert_eq!(refused(&small, sent), *codes, "{sent:?}");
    }
}

#[test]
fn a_refused_message_is_no_refused_command() {
    let small = Settings {
        max_message_size: Some(10),
        ..Settings::default()
    };
    let cases = [
        format!("{TO_RCPT}DATA\r\na\nb\r\n.\r\nNOOP\r\n"),
        format!("{TO_RCPT}DATA\r\n0123456789\r\n.\r\nNOOP\r\n"),
        format!("{TO_RCPT}BDAT 3 LAST\r\na\nbNOOP\r\n"),
        format!("{TO_RCPT}BDAT 5\r\n01234BDAT 6\r\n567890NOOP\r\n"),
        // The client had sent the chunk behind the refused one by then.
        format!("{TO_RCPT}BDAT 3\r\na\nbBDAT 1 LAST\r\ncNOOP\r\n"),
    ];
    for sent in cases {
        assert_eq!(refused(&small, &sent), [], "{sent:?}");
    }
}

#[test]
fn the_end_by_too_many_errors_is_told_as_such() {
    let strict = Settings {
        max_errors: Some(2),
        ..Settings::default()
    };
    assert_eq!(refused(&strict, "X\r\nX\r\nX\r\nX\r\n"), [500, 500, 421]);
}

#[test]
fn clear_text_behind_starttls_is_told() {
    let offered = Settings {
        starttls: true,
        ..Settings::default()
    };
    assert_eq!(refused(&offered, "STARTTLS\r\nNOOP\r\n"), [554]);
}

#[test]
fn the_refused_line_is_told_as_the_client_sent_it() {
    let small = Settings {
        max_message_size: Some(10),
        ..Settings::default()
    };
    let long = "x".repeat(3000);
    let cases = [
        (
            "mAiL FROM:<a@\u{e4}> \r\n".into(),
            "mAiL FROM:<a@\u{e4}> ".into(),
        ),
        (format!("{HELLO}RCPT TO:<b@x>\r\n"), "RCPT TO:<b@x>".into()),
        ("NOOP a\nb\r\n".into(), "NOOP a\n".into()),
        (format!("{long}\r\n"), long.get(..2048).unwrap().into()),
        (
            format!("{TO_RCPT}BDAT 11\r\n01234567890NOOP\r\n"),
            "BDAT".to_owned(),
        ),
    ];
    for (sent, line) in cases {
        let mut server = Server::new(&small);
        server.receive(sent.as_bytes());
        let lines: Vec<_> = server
            .refused_lines
            .iter()
            .map(|it| String::from_utf8_lossy(it))
            .collect();
        assert_eq!(lines, [line], "{sent:?}");
    }
}
