//! Deadlines, pauses and ends, with a clock that is moved by hand.

use std::time::Duration;

use prixfixe_core::{Abort, Answer, Connection, Question, replies};
use prixfixe_dialogue::Settings;

use crate::server::{Server, Told};

const SECOND: Duration = Duration::from_secs(1);
/// The default.
const TIMEOUT: Duration = Duration::from_secs(300);

const TO_DATA: &str = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n";
const TO_CHUNKS: &str = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 1\r\nx";

fn server_after(octets: &str) -> Server {
    let mut server = Server::new(&Settings::default());
    server.receive(octets.as_bytes());
    server.output.clear();
    server
}

fn time_out(server: &mut Server) {
    server.now = server
        .connection
        .deadline()
        .expect("the client is waited for");
    server
        .connection
        .handle_timeout(server.now, &mut server.output);
    server.receive(b"");
}

#[test]
fn a_timeout_ends_the_session_and_the_message_under_way() {
    for (octets, aborted) in [
        ("", false),
        ("EHLO c\r\n", false),
        ("MAIL", false),
        (TO_DATA, true),
        (TO_CHUNKS, true),
        ("BDAT 9\r\n", false),
    ] {
        let mut server = server_after(octets);
        time_out(&mut server);
        assert!(server.lines()[0].starts_with("421 4.4.2"));
        assert!(server.connection.is_closed());
        assert_eq!(
            server.told.last() == Some(&Told::Aborted(Abort::Timeout)),
            aborted,
            "{octets:?}"
        );
        assert_eq!(server.connection.deadline(), None);
    }
}

#[test]
fn a_timeout_that_comes_early_does_nothing() {
    let mut server = server_after("EHLO c\r\n");
    server.now += TIMEOUT - SECOND;
    server
        .connection
        .handle_timeout(server.now, &mut server.output);
    assert!(server.output.is_empty() && !server.connection.is_closed());
}

#[test]
fn a_refused_message_is_aborted_once() {
    let mut server = server_after(&format!("{TO_DATA}a\nb"));
    assert_eq!(
        server.told.last(),
        Some(&Told::Aborted(Abort::Refused(
            replies::BARE_CR_OR_LF_IN_BODY
        )))
    );
    let told = server.told.len();
    time_out(&mut server);
    assert_eq!(server.told.len(), told);
}

#[test]
fn every_command_has_its_time() {
    let mut server = Server::new(&Settings {
        idle_timeout: Some(100 * TIMEOUT),
        ..Settings::default()
    });
    server.receive(b"EHLO c\r\n");
    server.output.clear();
    for _ in 0..10 {
        server.now += TIMEOUT - SECOND;
        assert_eq!(server.code("NOOP\r\n"), "250");
        assert_eq!(server.connection.deadline(), Some(server.now + TIMEOUT));
    }
}

#[test]
fn a_command_may_not_be_dragged_out() {
    let mut server = server_after("EHLO c\r\n");
    let start = server.now;
    for _ in 0..100 {
        server.now += SECOND;
        server.receive(b"x");
    }
    assert_eq!(
        server.connection.deadline(),
        Some(start + TIMEOUT + SECOND / 5)
    );
}

#[test]
fn a_line_that_was_refused_has_no_part_in_the_next_one() {
    let mut server = server_after("EHLO c\r\n");
    server.receive(b"a\nb");
    server.now += 200 * SECOND;
    server.receive(b"\r\n");
    assert_eq!(server.connection.deadline(), Some(server.now + TIMEOUT));
}

#[test]
fn octets_of_a_body_buy_time() {
    let mut server = server_after(TO_DATA);
    let start = server.now;
    server.now += 10 * SECOND;
    server.receive(&b"x".repeat(1000));
    assert_eq!(
        server.connection.deadline(),
        Some(start + TIMEOUT + 2 * SECOND)
    );
}

#[test]
fn a_client_is_not_timed_while_it_waits_for_an_answer() {
    let mut server = Server::new(&Settings::default());
    let mut asked = Connection::new(std::sync::Arc::default(), server.now);
    assert_eq!(
        (asked.question(), asked.deadline()),
        (Some(Question::Connect), None)
    );
    asked.handle_timeout(server.now + 10 * TIMEOUT, &mut server.output);
    assert!(!asked.is_closed());
    let later = server.now + 20 * TIMEOUT;
    asked.answer(later, Answer::Accept, &mut server.output);
    assert_eq!(
        (asked.question(), asked.deadline()),
        (None, Some(later + TIMEOUT))
    );
    asked.answer(
        later,
        Answer::Refuse(replies::LOCAL_ERROR),
        &mut server.output,
    );
    assert!(!asked.is_closed(), "there is no question to answer");
}

#[test]
fn a_client_is_not_timed_while_the_server_does_not_read() {
    let mut server = server_after(TO_DATA);
    let deadline = server.connection.deadline().unwrap();
    server.connection.pause(server.now);
    assert_eq!(server.connection.deadline(), None);
    server.connection.resume(server.now + 77 * SECOND);
    assert_eq!(server.connection.deadline(), Some(deadline + 77 * SECOND));
}

#[test]
fn nothing_is_said_in_a_handshake_that_takes_too_long() {
    let mut server = Server::new(&Settings {
        starttls: true,
        ..Settings::default()
    });
    server.receive(b"EHLO c\r\nSTARTTLS\r\n");
    server.output.clear();
    server.now += TIMEOUT;
    server
        .connection
        .handle_timeout(server.now, &mut server.output);
    assert!(server.connection.is_closed() && server.output.is_empty());
}

#[test]
fn the_end_of_input_aborts_a_message_and_waits_for_an_answer() {
    for octets in [TO_DATA, TO_CHUNKS] {
        let mut server = server_after(octets);
        server.connection.receive_eof(server.now);
        server.receive(b"");
        assert_eq!(server.told.last(), Some(&Told::Aborted(Abort::Eof)));
        assert!(server.connection.is_closed() && server.output.is_empty());
    }
    let mut asked = Connection::new(std::sync::Arc::default(), std::time::Instant::now());
    let (now, mut output) = (std::time::Instant::now(), Vec::new());
    asked.receive_eof(now);
    assert_eq!(
        asked.poll_event(now, &mut &b"QUIT\r\n"[..], &mut output),
        None
    );
    assert!(!asked.is_closed());
    asked.answer(now, Answer::Accept, &mut output);
    assert_eq!(
        asked.poll_event(now, &mut &b"NOOP\r\nNO"[..], &mut output),
        None
    );
    assert!(asked.is_closed());
    assert!(output.ends_with(b"250 2.0.0 OK\r\n"));
}

#[test]
fn a_shutdown_waits_for_what_is_under_way() {
    let mut asked = Connection::new(std::sync::Arc::default(), std::time::Instant::now());
    let (now, mut output) = (std::time::Instant::now(), Vec::new());
    asked.shutdown(now, &mut output);
    assert!(output.is_empty());
    asked.answer(now, Answer::Accept, &mut output);
    assert!(
        output.starts_with(b"421 4.3.2") && asked.is_closed(),
        "in place of a greeting"
    );

    for (octets, rest) in [
        (TO_DATA, ".\r\n"),
        (TO_CHUNKS, "BDAT 0 LAST\r\n"),
        (TO_CHUNKS, "RSET\r\n"),
        ("BDAT 9\r\n", "123456789"),
    ] {
        let mut server = server_after(octets);
        server.connection.shutdown(server.now, &mut server.output);
        assert!(server.output.is_empty() && !server.connection.is_closed());
        server.receive(rest.as_bytes());
        assert!(
            server.lines().last().unwrap().starts_with("421 4.3.2"),
            "{octets:?}"
        );
        assert!(server.connection.is_closed());
    }
}

#[test]
fn quit_between_chunks_tells_that_the_message_is_gone() {
    let mut server = server_after(TO_CHUNKS);
    assert_eq!(server.code("QUIT\r\n"), "221");
    assert_eq!(server.told.last(), Some(&Told::Aborted(Abort::Closed)));
}

#[test]
fn too_many_errors_between_chunks_tell_that_the_message_is_gone() {
    let mut server = Server::new(&Settings {
        max_errors: Some(1),
        ..Settings::default()
    });
    server.receive(TO_CHUNKS.as_bytes());
    server.output.clear();
    assert_eq!(server.code("DATA\r\n"), "503");
    assert_eq!(server.code("DATA\r\n"), "421");
    assert_eq!(server.told.last(), Some(&Told::Aborted(Abort::Closed)));
}
