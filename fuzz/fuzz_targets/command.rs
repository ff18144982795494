//! Invariant: an address that is accepted reads back as itself, sent again between brackets too, a
//! name has no control character, and whatever line comes, one well-formed reply or one question
//! comes of it.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use prixfixe_core::{Answer, Config, Connection, Event, ForwardPath, ReversePath};
use prixfixe_fuzz::assert_well_formed;

/// What becomes of a command in a session after EHLO, as text.
fn told(command: &str, now: Instant) -> Option<String> {
    let mut output = Vec::new();
    let mut connection = Connection::new(Arc::new(Config::default()), now);
    connection.answer(now, Answer::Accept, &mut output);
    let before = match command.starts_with("RCPT") {
        true => "EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n",
        false => "EHLO c\r\n",
    };
    let dialogue = format!("{before}{command}\r\n");
    let mut input = dialogue.as_bytes();
    let mut last = None;
    while let Some(event) = connection.poll_event(now, &mut input, &mut output) {
        last = match event {
            Event::Mail { reverse_path, .. } => Some(reverse_path.to_string()),
            Event::Rcpt { forward_path, .. } => Some(forward_path.to_string()),
            _ => None,
        };
        connection.answer(now, Answer::Accept, &mut output);
    }
    last
}

/// It stands in headers, and perhaps in other people's dialogues.
fn assert_can_be_sent_on(address: &str, command: &str, now: Instant) {
    assert!(!address.contains(char::is_control));
    assert_eq!(told(command, now).as_deref(), Some(address));
}

fuzz_target!(|line: &[u8]| {
    if line.contains(&b'\r') || line.contains(&b'\n') || line.len() > 2046 {
        return;
    }
    let line = [line, b"\r\n"].concat();
    // In a fresh session, after EHLO, and in a transaction that takes any address.
    for before in ["", "EHLO c\r\n", "EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n"] {
        let now = Instant::now();
        let mut output = Vec::new();
        let mut connection = Connection::new(Arc::new(Config::default()), now);
        connection.answer(now, Answer::Accept, &mut output);
        let mut input = before.as_bytes();
        while connection
            .poll_event(now, &mut input, &mut output)
            .is_some()
        {
            connection.answer(now, Answer::Accept, &mut output);
        }
        output.clear();

        let mut input = line.as_slice();
        let event = connection.poll_event(now, &mut input, &mut output);
        match &event {
            Some(Event::Hello { name, .. }) => {
                assert!(!name.is_empty() && name.len() <= 255 && !name.contains(char::is_control));
            }
            Some(Event::Mail { reverse_path, .. }) => {
                assert_eq!(
                    reverse_path.to_string().parse::<ReversePath>(),
                    Ok(reverse_path.to_owned())
                );
                let address = reverse_path.to_string();
                assert_can_be_sent_on(&address, &format!("MAIL FROM:<{address}> SMTPUTF8"), now);
                if let Some(mailbox) = reverse_path.mailbox() {
                    assert!(!mailbox.domain().as_str().ends_with('.'));
                    assert_eq!(mailbox.domain(), *mailbox.domain().to_ascii());
                }
            }
            Some(Event::Rcpt { forward_path, .. }) => {
                assert_eq!(
                    forward_path.to_string().parse::<ForwardPath>(),
                    Ok(forward_path.to_owned())
                );
                let address = forward_path.to_string();
                assert_can_be_sent_on(&address, &format!("RCPT TO:<{address}>"), now);
            }
            _ => {}
        }
        assert!(input.is_empty(), "the line was taken");
        assert_well_formed(&output);
        let replies = output
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.get(3) == Some(&b' '))
            .count();
        let waits_for_chunk =
            replies == 0 && line.len() > 5 && line[..4].eq_ignore_ascii_case(b"BDAT");
        assert_eq!(
            usize::from(connection.question().is_none() && !waits_for_chunk),
            replies
        );
    }
});
