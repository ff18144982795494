//! The lines of whole sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use prixfixe_network::{Connection, Service, Session};

use crate::conversation::Application;
use crate::endpoint::Rules;
use crate::log::tests::Events;
use crate::shared::SmtpService;
use crate::{Accepted, Client, Handler, Message, Reply, Settings};

const HELLO: &str = "EHLO client.test\r\n";
const MAIL: &str = "MAIL FROM:<ann@a.test>\r\n";
const RCPT: &str = "RCPT TO:<bob@b.test>\r\n";
const BODY: &str = "DATA\r\nhello\r\n.\r\n";

/// Refuses the client, or messages from `full@`.
#[derive(Clone)]
struct Strict {
    connect: bool,
}

impl Handler for Strict {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Self, Reply> {
        match self.connect {
            true => Ok(Self::clone(self)),
            false => Err(Reply::permanent("not you")),
        }
    }
}

impl crate::Session for Strict {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message
            .collect()
            .await
            .map_err(|_| Reply::transient("cut off"))?;
        match message
            .envelope()
            .reverse_path()
            .to_string()
            .starts_with("full@")
        {
            true => Err(Reply::transient("no room")),
            false => Ok(Accepted::default()),
        }
    }
}

/// How a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It sends no more, or was sent away.
    Eof,
    /// The connection breaks.
    Reset,
    /// It says nothing for an hour.
    Silence,
    /// The server goes away.
    Shutdown,
}

fn service(handler: impl Handler, max_idle_commands: u32) -> impl Service {
    let settings = Settings::default()
        .max_errors(2)
        .max_message_size(1000)
        .max_recipients(2)
        .max_idle_commands(max_idle_commands)
        .accept_domains(["b.test"]);
    let application = Arc::new(Application::new(Arc::new(handler), Default::default()));
    SmtpService::new(application, &settings, vec![Rules::none()])
}

/// Plays a client of this service that says all of it at once.
fn play(service: &impl Service, sent: &str, end: End) {
    let connection = Connection::new(
        SocketAddr::from(([192, 0, 2, 1], 1024)),
        Some(([192, 0, 2, 2], 25).into()),
        0,
    );
    let now = Instant::now();
    let mut cx = Context::from_waker(Waker::noop());
    let mut session = service.session(now, &connection);
    let _ = session.poll(now, &mut cx);
    if !sent.is_empty() {
        session.receive(now, sent.as_bytes());
    }
    let _ = session.poll(now, &mut cx);
    let mut later = now;
    match end {
        End::Eof => session.receive_eof(now),
        End::Reset => {}
        End::Silence => later += Duration::from_secs(3600),
        End::Shutdown => session.shutdown(now),
    }
    let _ = session.poll(later, &mut cx);
}

/// What is logged of such a client.
fn logged(connect: bool, sent: &str, end: End) -> Vec<String> {
    let service = service(Strict { connect }, 3);
    let mut events = Events::of(|| play(&service, sent, end));
    events.retain(|event| !event.contains("message=log "));
    events
}

/// The line of the connection.
fn connection(events: &[String]) -> &str {
    let line = events
        .iter()
        .find(|event| event.contains(" message=connection "));
    line.expect("there is one")
}

#[test]
fn a_connection_says_in_a_word_why_it_ended() {
    let message = format!("{HELLO}{MAIL}{RCPT}{BODY}");
    let in_data = format!("{HELLO}{MAIL}{RCPT}DATA\r\nhello\r\n");
    let too_many = "X\r\nX\r\nX\r\n".to_owned();
    let idle = format!("{HELLO}{}", "NOOP\r\n".repeat(3));
    let guesses = format!("{HELLO}{MAIL}{}", "RCPT TO:<bob@c.test>\r\n".repeat(3));
    let cases = [
        (format!("{message}QUIT\r\n"), End::Eof, "\"quit\""),
        (format!("{HELLO}QUIT\r\n"), End::Reset, "\"quit\""),
        (HELLO.into(), End::Eof, "\"closed\""),
        (message.clone(), End::Eof, "\"closed\""),
        (HELLO.into(), End::Reset, "\"lost\""),
        (format!("{HELLO}{MAIL}"), End::Eof, "\"lost\""),
        (in_data.clone(), End::Eof, "\"lost\""),
        (in_data.clone(), End::Reset, "\"lost\""),
        (HELLO.into(), End::Silence, "\"timeout\" reply=421 4.4.2 "),
        (String::new(), End::Silence, "\"timeout\" reply=421 4.4.2 "),
        (in_data, End::Silence, "\"timeout\" reply=421 4.4.2 "),
        (too_many, End::Eof, "\"too-many-errors\" reply=421 4.7.0 "),
        (
            "GET / HTTP/1.1\r\n".into(),
            End::Eof,
            "\"refused\" reply=554 5.7.0 ",
        ),
        (
            idle,
            End::Eof,
            "\"refused\" reply=421 4.7.0 Too many commands without ",
        ),
        // Refused by an answer, not by the dialogue.
        (
            guesses,
            End::Eof,
            "\"refused\" reply=421 4.7.0 Too many commands without ",
        ),
        (message, End::Shutdown, "\"shutdown\" reply=421 4.3.2 "),
        (HELLO.into(), End::Shutdown, "\"shutdown\" reply=421 4.3.2 "),
    ];
    for (sent, end, word) in cases {
        let events = logged(true, &sent, end);
        let line = connection(&events);
        assert!(line.starts_with("INFO "), "{sent:?} {end:?}: {line}");
        let result = line.split_once(" result=").map(|(_, result)| result);
        let is_it = result.is_some_and(|it| match word.ends_with(' ') {
            true => it.starts_with(word),
            false => it == word,
        });
        assert!(is_it, "{sent:?} {end:?}: {line}");
    }
}

#[test]
fn who_leaves_without_a_command_is_told_at_debug() {
    for end in [End::Eof, End::Reset] {
        let events = logged(true, "", end);
        assert_eq!(events.len(), 1);
        assert!(connection(&events).starts_with("DEBUG "), "{events:?}");
    }
    let [refused, connection] = &*logged(false, "", End::Eof) else {
        panic!("two lines");
    };
    let line = "INFO message=refused peer=192.0.2.1:1024 what=\"connect\" reply=550 5.7.1 not you";
    assert_eq!(refused, line);
    assert!(connection.starts_with("DEBUG "), "{connection}");
}

#[test]
fn each_refusal_is_one_line_with_what_is_known() {
    let known = " helo=client.test what=";
    let cases = [
        ("X", "\"command\" reply=500 5.5.1 "),
        ("EXPN list", "\"command\" command=\"EXPN\" reply=502 5.5.1 "),
        (
            "AUTH PLAIN AGEAYg==",
            "\"command\" command=\"AUTH\" reply=502 5.5.1 ",
        ),
        ("DATA", "\"command\" command=\"DATA\" reply=503 5.5.1 "),
        (
            "MAIL FROM:<bare@>",
            "\"mail\" command=\"MAIL\" from=<bare@> reply=501 5.1.7 ",
        ),
        (
            "MAIL FROM:<a@b.test> HOLDFOR=9",
            "\"mail\" command=\"MAIL\" from=<a@b.test> HOLDFOR=9 reply=555 5.5.4 ",
        ),
        (
            "MAIL FROM:<a@b.test> SIZE=1001",
            "\"mail\" command=\"MAIL\" from=<a@b.test> SIZE=1001 reply=552 5.3.4 ",
        ),
        (
            "MAIL FROM:\u{202e}\u{7}",
            "\"mail\" command=\"MAIL\" from=\u{202e}\u{7} reply=501 ",
        ),
    ];
    for (command, line) in cases {
        let events = logged(true, &format!("{HELLO}{command}\r\n"), End::Eof);
        refused_once(command, &events, &format!("{known}{line}"));
    }
    let cases = [
        (
            "RCPT TO:<bob@c.test>",
            "\"rcpt\" from=ann@a.test to=bob@c.test reply=550 5.7.1 ",
        ),
        (
            "RCPT TO:<bob@>",
            "\"rcpt\" command=\"RCPT\" from=ann@a.test to=<bob@> reply=501 5.1.3 ",
        ),
        (
            "RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>",
            "\"rcpt\" command=\"RCPT\" from=ann@a.test to=<c@b.test> reply=452 4.5.3 ",
        ),
        (
            "RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nMAIL FROM:<>",
            "\"mail\" command=\"MAIL\" from=<> to=a@b.test,b@b.test reply=503 5.5.1 ",
        ),
        (
            "RCPT TO:<a@b.test>\r\nBDAT 1001\r\n",
            "\"message\" command=\"BDAT\" from=ann@a.test to=a@b.test reply=552 5.3.4 ",
        ),
    ];
    for (command, line) in cases {
        let events = logged(true, &format!("{HELLO}{MAIL}{command}\r\n"), End::Eof);
        refused_once(command, &events, &format!("{known}{line}"));
    }
    // Its octets have come, and then its reply: that is not told again.
    let chunk = format!(
        "{HELLO}{MAIL}{RCPT}BDAT 1001\r\n{}NOOP\r\n",
        "x".repeat(1001)
    );
    refused_once(&chunk, &logged(true, &chunk, End::Eof), " reply=552 5.3.4 ");
}

fn refused_once(sent: &str, events: &[String], part: &str) {
    let lines: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("INFO message=refused peer=192.0.2.1:1024 "))
        .collect();
    assert_eq!(lines.len(), 1, "{sent:?}: {events:#?}");
    assert!(
        lines[0].contains(part),
        "{sent:?}: {lines:?} lacks {part:?}"
    );
}

#[test]
fn a_message_that_failed_says_the_reply_itself() {
    let cases = [
        ("full", BODY, End::Eof, "refused: 451 4.3.0 no room"),
        (
            "ann",
            "DATA\r\na\nb\r\n.\r\n",
            End::Eof,
            "refused: 550 5.5.2 ",
        ),
        (
            "ann",
            "BDAT 10\r\n0123456789BDAT 1000\r\n",
            End::Eof,
            "refused: 552 5.3.4 ",
        ),
        ("ann", "DATA\r\nhello", End::Silence, "refused: 421 4.4.2 "),
        ("ann", "DATA\r\nhello", End::Eof, "cut off"),
        (
            "ann",
            "BDAT 1\r\nxRSET\r\n",
            End::Eof,
            "given up by the client",
        ),
        (
            "ann",
            "BDAT 1\r\nxQUIT\r\n",
            End::Eof,
            "given up by the client",
        ),
    ];
    for (sender, rest, end, result) in cases {
        let sent = format!("{HELLO}MAIL FROM:<{sender}@a.test>\r\n{RCPT}{rest}");
        let events = logged(true, &sent, end);
        let line = format!(" from={sender}@a.test recipients=bob@b.test ");
        let of_message = |event: &&String| event.starts_with("INFO message=message id=");
        let lines: Vec<_> = events.iter().filter(of_message).collect();
        assert_eq!(lines.len(), 1, "{sent:?}: {events:#?}");
        let is_it = lines[0].contains(&line) && lines[0].contains(&format!(" result={result}"));
        assert!(is_it, "{sent:?}: {lines:?}");
        assert!(
            !events.iter().any(|event| event.contains("=refused ")),
            "{events:#?}"
        );
    }
}

#[test]
fn mail_that_is_accepted_has_all_its_lines_in_every_flood() {
    let service = service(Strict { connect: true }, 100);
    let bad = format!(
        "{HELLO}{}QUIT\r\n",
        format!("{MAIL}{RCPT}BDAT 0\r\nRSET\r\n").repeat(50)
    );
    let good = format!(
        "{HELLO}{MAIL}{RCPT}{BODY}{MAIL}{RCPT}BDAT 0\r\nRSET\r\n{MAIL}{RCPT}{BODY}QUIT\r\n"
    );
    let events = Events::of(|| {
        play(&service, &bad, End::Eof);
        for _ in 0..30 {
            play(&service, &good, End::Eof);
        }
    });
    let count = |part: &str| {
        let is_it = |event: &&String| event.starts_with("INFO ") && event.contains(part);
        events.iter().filter(is_it).count()
    };
    assert_eq!(count(" result=accepted"), 60);
    assert_eq!(count(" accepted=2 "), 30);
    assert_eq!(count(" result=given up by the client"), 20);
    assert_eq!(count(""), 60 + 30 + 20);
}
