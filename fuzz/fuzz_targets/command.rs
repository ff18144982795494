//! Invariant: an address that is accepted reads back as itself, a name has no control character, and
//! whatever line comes, one well-formed reply or one question comes of it.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use prixfixe_core::{Answer, Config, Connection, Event, ForwardPath, ReversePath};
use prixfixe_fuzz::assert_well_formed;

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
                assert!(!reverse_path.to_string().contains(char::is_control));
            }
            Some(Event::Rcpt { forward_path }) => {
                assert_eq!(
                    forward_path.to_string().parse::<ForwardPath>(),
                    Ok(forward_path.to_owned())
                );
                assert!(!forward_path.to_string().contains(char::is_control));
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
