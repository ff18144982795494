//! What the answers to questions lead to that the dialogue files cannot ask for.

use prixfixe_core::{Answer, EnhancedCode, Event, Question, Reply, reply};
use prixfixe_dialogue::Settings;

use crate::server::{Server, Told};

/// Takes the input up to the question, gives it this answer, and goes on with what is left.
fn answer(server: &mut Server, sent: &[u8], question: Question, answer: Answer) {
    let mut input = sent;
    loop {
        let mut output = Vec::new();
        let event = server
            .connection
            .poll_event(server.now, &mut input, &mut output);
        server.output.append(&mut output);
        if event.is_none() || server.connection.question() == Some(question) {
            break;
        }
        let accept = Answer::Accept;
        server
            .connection
            .answer(server.now, accept, &mut server.output);
    }
    assert_eq!(server.connection.question(), Some(question), "{sent:?}");
    server
        .connection
        .answer(server.now, answer, &mut server.output);
    server.receive(input);
}

fn refuse(reply: Reply) -> Answer {
    Answer::Refuse(reply)
}

const LATER: Reply = reply!(452 4.3.1 "Later");

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    // RFC 5321 section 4.1.1.1.
    let mut server = Server::new(&Settings::default());
    server.receive(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    server.lines();
    answer(
        &mut server,
        b"HELO d\r\nDATA\r\n",
        Question::Hello,
        refuse(reply!(550 5.7.1 "Not under that name")),
    );
    let lines = server.lines();
    assert_eq!(lines[0], "550 5.7.1 Not under that name");
    assert!(
        lines[1].starts_with("354 "),
        "the transaction goes on: {lines:?}"
    );
    assert!(server.connection.in_transaction());

    let mut server = Server::new(&Settings::default());
    answer(&mut server, b"EHLO c\r\n", Question::Hello, refuse(LATER));
    server.lines();
    assert_eq!(server.code("MAIL FROM:<>\r\n"), "503");
}

#[test]
fn data_that_is_refused_ends_the_transaction() {
    let mut server = Server::new(&Settings::default());
    server.receive(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    server.lines();
    let sent = b"DATA\r\nMAIL FROM:<>\r\n";
    answer(&mut server, sent, Question::Data, refuse(LATER));
    assert_eq!(server.lines(), ["452 4.3.1 Later", "250 2.1.0 Sender OK"]);
}

#[test]
fn a_first_chunk_that_is_refused_is_skipped_and_those_behind_it_too() {
    for (sent, replies) in [
        (
            &b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"[..],
            &[
                "452 4.3.1 Later",
                "503 5.5.1 Command out of order",
                "250 2.0.0 OK",
            ][..],
        ),
        (
            b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
            &["452 4.3.1 Later", "250 2.0.0 OK"],
        ),
    ] {
        let mut server = Server::new(&Settings::default());
        server.receive(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        server.lines();
        answer(&mut server, sent, Question::Data, refuse(LATER));
        assert_eq!(server.lines(), replies);
        assert!(server.delivered.is_empty());
        assert!(!server.told.contains(&Told::MessageStart));
    }
}

#[test]
fn a_command_of_the_callers_own_gets_the_callers_reply() {
    let mut server = Server::new(&Settings::default());
    server.receive(b"EHLO c\r\nMAIL FROM:<a@b>\r\n");
    server.lines();
    let mut input: &[u8] = b"x-OURS and more \r\n";
    let event = server
        .connection
        .poll_event(server.now, &mut input, &mut Vec::new());
    let expected = Event::Command {
        verb: "x-OURS",
        argument: "and more",
    };
    assert_eq!(event, Some(expected));
    let done = Answer::AcceptWith(Reply::ok("Done"));
    server
        .connection
        .answer(server.now, done, &mut server.output);
    server.receive(b"RCPT TO:<c@d>\r\n");
    assert_eq!(server.lines(), ["250 2.0.0 Done", "250 2.1.5 Recipient OK"]);
}

#[test]
fn a_reply_that_closes_ends_the_session() {
    let closing = Reply::new(550, EnhancedCode(5, 7, 1), "Away")
        .unwrap()
        .and_close();
    for (sent, question) in [
        (&b"EHLO c\r\n"[..], Question::Hello),
        (b"EHLO c\r\nMAIL FROM:<>\r\n", Question::Mail),
        (b"EHLO c\r\nXYZZY\r\n", Question::Command),
        (
            b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
            Question::Data,
        ),
        (
            b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 9\r\n",
            Question::Data,
        ),
    ] {
        let mut server = Server::new(&Settings::default());
        answer(&mut server, sent, question, refuse(closing.clone()));
        assert_eq!(server.lines().last().unwrap(), "550 5.7.1 Away");
        assert!(server.connection.is_closed(), "{question:?}");
    }
}

#[test]
fn a_session_is_closed_in_the_middle_of_a_body() {
    let mut server = Server::new(&Settings::default());
    server.receive(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nhello\r\n");
    server.lines();
    for _ in 0..2 {
        server.connection.close(&LATER, &mut server.output);
    }
    assert_eq!(server.lines(), ["452 4.3.1 Later"], "once only");
    server.receive(b"more\r\n.\r\nNOOP\r\n");
    let last = server.told.last();
    assert_eq!(last, Some(&Told::Aborted(prixfixe_core::Abort::Closed)));
    assert!(server.lines().is_empty() && server.delivered.is_empty());
}
