//! How long a client may stay that sends no message, and how much of what is refused is read.

use std::time::Duration;

use prixfixe_core::{Abort, replies};
use prixfixe_dialogue::{Refusal, Settings, Stage};

use crate::server::{Server, Told};

const SECOND: Duration = Duration::from_secs(1);
/// The defaults.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const SIZE: usize = 10_485_760;

const HELLO: &str = "EHLO c\r\n";
const TO_RCPT: &str = "MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n";
const MESSAGE: &str = "MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n";

/// Refuses `bad@x` as sender and as recipient, and every message with `refuse` set.
fn settings(max_idle_commands: u32) -> Settings {
    let refusal = |stage| Refusal {
        stage,
        address: Some("bad@x".to_owned()),
        code: 550,
        enhanced: (5, 1, 1),
        text: "No".to_owned(),
    };
    Settings {
        max_idle_commands: Some(max_idle_commands),
        max_errors: Some(1000),
        max_recipients: Some(2),
        starttls: true,
        refusals: vec![refusal(Stage::Mail), refusal(Stage::Rcpt)],
        ..Settings::default()
    }
}

/// How many times the text can be said before the session ends with 421 4.7.0; `None`: as often as
/// one likes.
fn endured(settings: &Settings, before: &str, said: &str) -> Option<usize> {
    let mut server = Server::new(settings);
    server.receive(before.as_bytes());
    server.output.clear();
    (0..50).find(|_| {
        server.receive(said.as_bytes());
        let lines = server.lines();
        let ended = lines
            .last()
            .is_some_and(|line| line == "421 4.7.0 Too many commands without a message");
        assert_eq!(ended, server.connection.is_closed(), "{said:?}: {lines:?}");
        ended
    })
}

#[test]
fn commands_that_bring_no_message_nearer_are_counted() {
    for said in [
        "NOOP\r\n",
        "RSET\r\n",
        "VRFY x\r\n",
        "HELP\r\n",
        "EXPN x\r\n",
        "EHLO c\r\n",
        "HELO c\r\n",
        "XYZZY\r\n",
        "MAIL FROM:<bad@x>\r\n",
        "MAIL FROM:<x\r\n",
        "MAIL FROM:<a@x> SIZE=99999999\r\n",
        "RCPT TO:<b@x>\r\n",
        "NOOP\n\r\n",
    ] {
        assert_eq!(endured(&settings(5), HELLO, said), Some(4), "{said:?}");
        assert_eq!(endured(&settings(0), HELLO, said), None, "{said:?}");
    }
    let in_transaction = format!("{HELLO}MAIL FROM:<a@x>\r\n");
    let said = "RCPT TO:<bad@x>\r\n";
    assert_eq!(endured(&settings(5), &in_transaction, said), Some(4));
    // MAIL is accepted each time; RSET is what counts.
    let said = "MAIL FROM:<a@x>\r\nRSET\r\n";
    assert_eq!(endured(&settings(5), HELLO, said), Some(4));
}

#[test]
fn what_mail_is_made_of_is_not_counted() {
    for (before, said) in [
        ("", "DATA\r\n"),
        ("", "BDAT 0\r\n"),
        ("MAIL FROM:<a@x>\r\n", "RCPT TO:<b@x>\r\n"),
        (TO_RCPT, "BDAT 1\r\nx"),
        (TO_RCPT, "BDAT 0\r\n"),
        ("", MESSAGE),
        (
            "",
            "NOOP\r\nRSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 0 LAST\r\n",
        ),
        // Refused in the end.
        (
            "",
            "NOOP\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\na\nb\r\n.\r\n",
        ),
        (
            "",
            "NOOP\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 2 LAST\r\n\nb",
        ),
    ] {
        let before = format!("{HELLO}{before}");
        assert_eq!(endured(&settings(5), &before, said), None, "{said:?}");
    }
}

/// The recipients that are too many may all be on their way when the first of them is refused: RFC
/// 5321 section 4.5.3.1.10 has the transaction go on.
#[test]
fn recipients_too_many_are_not_counted() {
    let before = format!("{HELLO}{TO_RCPT}RCPT TO:<c@x>\r\n");
    let said = "RCPT TO:<d@x>\r\n";
    assert_eq!(endured(&settings(5), &before, said), None);
}

#[test]
fn one_command_too_many_between_chunks_tells_that_the_message_is_gone() {
    let mut server = Server::new(&settings(1));
    server.receive(format!("{HELLO}{TO_RCPT}BDAT 1\r\nxNOOP\r\n").as_bytes());
    assert!(server.connection.is_closed());
    assert_eq!(server.told.last(), Some(&Told::Aborted(Abort::Closed)));
}

/// The client says something every four minutes, so that no command of its takes too long.
fn wait(server: &mut Server, time: Duration, said: &str) {
    let end = server.now + time;
    while server.now < end {
        server.now = end.min(server.now + 240 * SECOND);
        server
            .connection
            .handle_timeout(server.now, &mut server.output);
        server.receive(said.as_bytes());
    }
}

fn idles(server: &mut Server, said: &str) {
    let before = server.connection.deadline().expect("it is waited for");
    wait(server, 590 * SECOND, said);
    assert!(!server.connection.is_closed(), "{said:?}: too early");
    server.output.clear();
    wait(server, 20 * SECOND, "");
    let lines = server.lines();
    assert!(server.connection.is_closed(), "{said:?}: {before:?}");
    assert!(lines[0].starts_with("421 4.4.2 "), "{said:?}: {lines:?}");
}

#[test]
fn a_session_without_a_message_has_its_time_whatever_it_says() {
    for said in ["NOOP\r\n", "MAIL FROM:<a@x>\r\nRSET\r\n", "DATA\r\n", ""] {
        let mut server = Server::new(&settings(0));
        server.receive(HELLO.as_bytes());
        match said {
            "" => assert_eq!(
                server.connection.deadline(),
                Some(server.now + COMMAND_TIMEOUT)
            ),
            said => idles(&mut server, said),
        }
    }
    // A transaction under way is no message.
    let mut server = Server::new(&settings(0));
    server.receive(format!("{HELLO}MAIL FROM:<a@x>\r\n").as_bytes());
    idles(&mut server, "RCPT TO:<b@x>\r\n");
}

#[test]
fn a_message_gives_a_session_its_time_anew() {
    for message in [
        MESSAGE,
        "MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\na\nb\r\n.\r\n",
    ] {
        let mut server = Server::new(&settings(0));
        server.receive(HELLO.as_bytes());
        for _ in 0..5 {
            wait(&mut server, 590 * SECOND, "NOOP\r\n");
            server.receive(message.as_bytes());
            assert!(!server.connection.is_closed());
        }
        server.output.clear();
        idles(&mut server, "NOOP\r\n");
    }
}

#[test]
fn a_body_is_never_idle() {
    let mut server = Server::new(&settings(0));
    server.receive(format!("{HELLO}{TO_RCPT}DATA\r\n").as_bytes());
    let line = format!("{}\r\n", "x".repeat(998)).repeat(130);
    // 130,000 octets every four minutes are more than the minimum rate.
    wait(&mut server, 3 * IDLE_TIMEOUT, &line);
    assert!(!server.connection.is_closed());
    server.receive(b".\r\n");
    assert_eq!(server.delivered.len(), 1);
}

#[test]
fn chunks_that_come_are_never_idle_and_those_that_bring_nothing_are() {
    let mut server = Server::new(&settings(0));
    server.receive(format!("{HELLO}{TO_RCPT}").as_bytes());
    wait(&mut server, 240 * SECOND, "NOOP\r\n");
    let chunk = format!("BDAT 130000\r\n{}", "x".repeat(130_000));
    wait(&mut server, 3 * IDLE_TIMEOUT, &chunk);
    server.receive(b"BDAT 0 LAST\r\n");
    assert_eq!(server.delivered.len(), 1);

    for said in ["BDAT 0\r\n", "BDAT 1\r\nx"] {
        let mut server = Server::new(&settings(0));
        server.receive(format!("{HELLO}{TO_RCPT}").as_bytes());
        server.receive(said.as_bytes());
        idles(&mut server, said);
        assert_eq!(server.told.last(), Some(&Told::Aborted(Abort::Timeout)));
    }
}

#[test]
fn a_message_that_is_given_up_between_chunks_gives_no_time() {
    let mut server = Server::new(&settings(0));
    server.receive(HELLO.as_bytes());
    idles(&mut server, &format!("{TO_RCPT}BDAT 1\r\nxRSET\r\n"));
}

/// What is refused, and then goes on with `x` for ever.
const REFUSED: [(&str, &str); 5] = [
    ("a line that is too long", "x"),
    ("a body with a bare line end", "DATA\r\na\nb"),
    ("a chunk with a bare line end", "BDAT 10000000\r\na\nb"),
    ("a chunk over the limit", "BDAT 18446744073709551615\r\n"),
    ("a chunk out of order", "BDAT 18446744073709551615\r\n"),
];

fn refused(what: &str, sent: &str, settings: &Settings) -> Server {
    let mut server = Server::new(settings);
    server.receive(HELLO.as_bytes());
    match what {
        "a line that is too long" => server.receive(&b"x".repeat(2048)),
        "a chunk out of order" => server.receive(sent.as_bytes()),
        _ => {
            server.receive(TO_RCPT.as_bytes());
            server.receive(sent.as_bytes());
        }
    }
    server.output.clear();
    server
}

#[test]
fn what_is_refused_has_the_time_of_a_command_and_no_octet_adds_to_it() {
    for size in [None, Some(0)] {
        let settings = Settings {
            max_message_size: size,
            ..settings(100)
        };
        for (what, sent) in REFUSED {
            // Without a limit a chunk of any size is in order.
            if size == Some(0) && what == "a chunk over the limit" {
                continue;
            }
            let mut server = refused(what, sent, &settings);
            let start = server.now;
            for _ in 0..299 {
                server.now += SECOND;
                server
                    .connection
                    .handle_timeout(server.now, &mut server.output);
                server.receive(&b"x".repeat(600));
                assert!(!server.connection.is_closed(), "{what}");
            }
            let deadline = server.connection.deadline();
            assert_eq!(deadline, Some(start + COMMAND_TIMEOUT), "{what}");
            server.now += SECOND;
            server
                .connection
                .handle_timeout(server.now, &mut server.output);
            assert!(server.connection.is_closed());
            assert_eq!(
                server.lines(),
                ["421 4.4.2 Timed out waiting for the client"],
                "{what}"
            );
        }
    }
}

#[test]
fn of_what_is_refused_as_much_is_read_as_a_message_may_have() {
    for (what, sent) in REFUSED {
        // Its length is less than the limit.
        if what == "a chunk with a bare line end" {
            continue;
        }
        let mut server = refused(what, sent, &settings(100));
        let megabyte = vec![b'x'; 1 << 20];
        let count = (1..30).find(|_| {
            server.receive(&megabyte);
            server.connection.is_closed()
        });
        // A body, and a chunk as large, is read to twice the limit: a message that is too large is
        // told so.
        let expected = match what {
            "a line that is too long" => 11,
            // Some of it was read by the first megabyte.
            "a body with a bare line end" => 20,
            _ => 21,
        };
        assert_eq!(count, Some(expected), "{what}");
        assert_eq!(
            server.lines(),
            ["421 4.4.2 Timed out waiting for the client"],
            "{what}"
        );
    }
}

#[test]
fn a_body_that_is_twice_too_large_is_told_so_and_one_octet_more_is_not() {
    for (octets, code) in [(2 * SIZE - 3, "552"), (2 * SIZE - 2, "421")] {
        let mut server = Server::new(&Settings::default());
        server.receive(format!("{HELLO}{TO_RCPT}DATA\r\n").as_bytes());
        server.output.clear();
        let mut body = vec![b'x'; octets - 2];
        body.extend_from_slice(b"\r\n.\r\n");
        // The end belongs to it: three octets.
        assert_eq!(body.len(), octets + 3);
        for piece in body.chunks(1_000_003) {
            server.receive(piece);
        }
        let lines = server.lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(code), "{octets}: {lines:?}");
        let refused = Told::Aborted(Abort::Refused(replies::TOO_LARGE));
        assert!(server.told.contains(&refused));
    }
}

#[test]
fn a_message_of_the_largest_size_passes_in_chunks_of_a_kibibyte() {
    let mut server = Server::new(&Settings::default());
    server.receive(format!("{HELLO}{TO_RCPT}").as_bytes());
    let chunk = format!("BDAT 1024\r\n{}", "x".repeat(1024));
    for _ in 0..SIZE / 1024 {
        // A slow line: 0.2 s for each.
        server.now += SECOND / 5;
        server
            .connection
            .handle_timeout(server.now, &mut server.output);
        server.receive(chunk.as_bytes());
    }
    server.receive(b"BDAT 0 LAST\r\n");
    assert_eq!(server.delivered.len(), 1);
    assert_eq!(server.delivered[0].size, SIZE);
}
