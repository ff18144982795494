//! Milters that are away, silent, broken, or that lie.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use prixfixe_policy::{Milter, OnFailure};
use prixfixe_server::{Server, Transport};

use crate::on_both_transports;
use crate::served::Served;

on_both_transports!(
    a_milter_that_breaks_the_protocol_has_failed,
    a_milter_that_is_away_has_failed_until_it_is_back,
    a_client_without_a_message_hears_nothing_of_a_failure,
    a_milter_that_owes_an_answer_has_failed,
    a_client_that_is_refused_stays_refused,
    all_that_mail_waits_for_has_one_time,
);

const NO_ANSWER: &str = "451 4.7.1 A filter does not answer, try again later";
const CONTINUE: &[u8] = b"\0\0\0\x01c";
/// Version 6, no action, and neither connections, HELO, headers nor bodies.
const OPTIONS: &[u8] = b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\x33";

/// What a milter does when a command has come: it says something, or `None`: it closes the
/// connection.
type Script = fn(command: u8) -> Option<&'static [u8]>;

/// Serves connections by a script until the test's process ends.
fn scripted(script: Script) -> Milter {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("inet:{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.unwrap(), script));
        }
    });
    Milter::new(address.parse().unwrap())
}

fn serve(mut stream: TcpStream, script: Script) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        if stream.read_exact(&mut packet).is_err() {
            return;
        }
        match script(packet[0]) {
            Some(answer) => drop(stream.write_all(answer)),
            None => return,
        }
    }
}

/// One that goes on until the end of the message, and says this then.
macro_rules! at_the_end {
    ($answer:expr) => {
        |command| match command {
            b'O' => Some(OPTIONS),
            b'E' => $answer,
            b'D' | b'A' | b'Q' => Some(b""),
            _ => Some(CONTINUE),
        }
    };
}

async fn a_milter_that_breaks_the_protocol_has_failed(transport: Transport) {
    let silent: Script = at_the_end!(Some(b""));
    let scripts: [(&str, Script); 13] = [
        ("silent at once", |_| Some(b"")),
        ("closed at once", |_| None),
        ("silent at the end", silent),
        ("half a packet", at_the_end!(Some(b"\0\0\0\x09hX-A\0"))),
        ("a length of 4 GB", at_the_end!(Some(b"\xff\xff\xff\xffc"))),
        ("no command", at_the_end!(Some(b"\0\0\0\0"))),
        (
            "a change that was not agreed on",
            at_the_end!(Some(b"\0\0\0\x06hA\0b\0c\0\0\0\x01c")),
        ),
        ("an unknown answer", at_the_end!(Some(b"\0\0\0\x01X"))),
        (
            "a reply that is none",
            at_the_end!(Some(b"\0\0\0\x08y250 ok\0")),
        ),
        ("gone at the end", at_the_end!(None)),
        ("failing", at_the_end!(Some(b"\0\0\0\x01f"))),
        ("an old version", |_| {
            Some(b"\0\0\0\x0dO\0\0\0\x01\0\0\0\0\0\0\0\0")
        }),
        ("more than was offered", |_| {
            Some(b"\0\0\0\x0dO\0\0\0\x06\0\0\xff\xff\0\0\0\0")
        }),
    ];
    for (what, script) in scripts {
        let check = || scripted(script).timeout(Duration::from_millis(300));
        let served = Served::with(transport, check());
        let reply = served.gets("ann@sender.test", "Subject: a\r\n\r\nb").await;
        // MAIL was refused where it had failed before, and the last line is then no command.
        let replies = served.says(&["MAIL FROM:<ann@sender.test>"]).await;
        assert!(
            reply == NO_ANSWER || replies[0] == NO_ANSWER,
            "{what}: {reply} {replies:?}"
        );
        let mut served = Served::with(transport, check().on_failure(OnFailure::Accept));
        let kept = served.keeps("ann@sender.test", "Subject: a\r\n\r\nb").await;
        assert_eq!(kept, "Subject: a\r\n\r\nb\r\n", "{what}");
    }
}

static IS_BACK: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

async fn a_milter_that_is_away_has_failed_until_it_is_back(transport: Transport) {
    let script: Script = match transport {
        Transport::Raw => |it| behind(&IS_BACK[0], it),
        _ => |it| behind(&IS_BACK[1], it),
    };
    let is_back = match transport {
        Transport::Raw => &IS_BACK[0],
        _ => &IS_BACK[1],
    };
    let mut served = Served::with(transport, scripted(script));
    let replies = served.says(&["MAIL FROM:<ann@sender.test>"]).await;
    assert_eq!(replies, [NO_ANSWER]);
    is_back.store(true, Ordering::Relaxed);
    let kept = served.keeps("ann@sender.test", "Subject: a\r\n\r\nb").await;
    assert_eq!(kept, "Subject: a\r\n\r\nb\r\n");
}

fn behind(is_back: &AtomicBool, command: u8) -> Option<&'static [u8]> {
    let script: Script = at_the_end!(Some(CONTINUE));
    is_back.load(Ordering::Relaxed).then(|| script(command))?
}

async fn a_client_without_a_message_hears_nothing_of_a_failure(transport: Transport) {
    let check = scripted(|_| None);
    let served = Served::with(transport, check);
    let lines = [
        "NOOP",
        "XYZ",
        "MAIL FROM:<ann@sender.test>",
        "RCPT TO:<bob@receiver.test>",
        "QUIT",
    ];
    let replies = served.says(&lines).await;
    let codes: Vec<_> = replies.iter().map(|it| &it[..3]).collect();
    assert_eq!(codes, ["250", "500", "451", "503", "221"], "{replies:?}");
}

/// The server gives up a hook, and the milter has not answered yet.
async fn a_milter_that_owes_an_answer_has_failed(transport: Transport) {
    let check = || {
        let check = scripted(|command| match command {
            b'O' => Some(OPTIONS),
            b'R' | b'D' | b'A' | b'Q' => Some(b""),
            _ => Some(CONTINUE),
        });
        check.timeout(Duration::from_secs(60))
    };
    let lines = [
        "MAIL FROM:<ann@sender.test>",
        "RCPT TO:<bob@receiver.test>",
        "RCPT TO:<bob@receiver.test>",
        "DATA",
        "Subject: a\r\n\r\nb\r\n.",
    ];
    let served = |check| {
        let builder = Server::builder().transport(transport).check(check);
        Served::of(builder.handler_timeout(Duration::from_millis(300)))
    };
    let replies = served(check()).says(&lines[..3]).await;
    assert!(replies[1].starts_with("451 4.3.0"), "{replies:?}");
    assert_eq!(replies[2], NO_ANSWER);
    let replies = served(check().on_failure(OnFailure::Accept))
        .says(&lines)
        .await;
    let codes: Vec<_> = replies.iter().map(|it| &it[..3]).collect();
    assert_eq!(codes, ["250", "451", "250", "354", "250"], "{replies:?}");
}

static CONNECTIONS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// It is away at first, and refuses every client when it is back.
async fn a_client_that_is_refused_stays_refused(transport: Transport) {
    let script: Script = match transport {
        Transport::Raw => |it| refusing(&CONNECTIONS[0], it),
        _ => |it| refusing(&CONNECTIONS[1], it),
    };
    let served = Served::with(transport, scripted(script));
    let replies = served.says(&["MAIL FROM:<ann@sender.test>"; 3]).await;
    assert_eq!(replies, ["554 5.7.1 Refused by a filter"; 3]);
}

fn refusing(connections: &AtomicUsize, command: u8) -> Option<&'static [u8]> {
    match command {
        b'O' if connections.fetch_add(1, Ordering::Relaxed) == 0 => None,
        // It asks for connections.
        b'O' => Some(b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\x32"),
        b'C' => Some(b"\0\0\0\x01r"),
        b'D' | b'A' | b'Q' => Some(b""),
        _ => Some(CONTINUE),
    }
}

static SLOW: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Each answer is in time, and there are four: to the options, the connection, HELO and MAIL.
async fn all_that_mail_waits_for_has_one_time(transport: Transport) {
    let script: Script = match transport {
        Transport::Raw => |it| slow(&SLOW[0], it),
        _ => |it| slow(&SLOW[1], it),
    };
    let check = scripted(script).timeout(Duration::from_secs(1));
    let served = Served::with(transport, check);
    let replies = served.says(&["MAIL FROM:<ann@sender.test>"]).await;
    assert_eq!(replies, [NO_ANSWER]);
}

/// It is away when the client connects, and takes its time when it is back.
fn slow(connections: &AtomicUsize, command: u8) -> Option<&'static [u8]> {
    if command == b'O' && connections.fetch_add(1, Ordering::Relaxed) == 0 {
        return None;
    }
    if matches!(command, b'D' | b'A' | b'Q') {
        return Some(b"");
    }
    std::thread::sleep(Duration::from_millis(850));
    match command {
        b'O' => Some(b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\x30"),
        _ => Some(CONTINUE),
    }
}
