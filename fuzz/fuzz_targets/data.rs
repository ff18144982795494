//! Invariant: whatever follows DATA, in whatever pieces, is delivered, repaired or refused as the
//! oracle says, small pieces put together or not, and what stands behind its end is untouched.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use prixfixe_core::{Abort, Answer, BareLineEnds, Config, Connection, Event, replies};
use prixfixe_test_support::meaning;

fuzz_target!(|bytes: &[u8]| {
    // The first octet says how long the pieces are, and in its highest bits how they are read.
    let Some((&first, text)) = bytes.split_first() else {
        return;
    };
    let (length, repairs, gathers) = (first & 0x3F, first & 0x80 != 0, first & 0x40 != 0);
    let mut room = [0; 1000];
    let room = &mut room[..if gathers { 1000 } else { 0 }];
    let expected = meaning(text, repairs);
    let now = Instant::now();
    let mut output = Vec::new();
    let mut config = Config::default();
    if repairs {
        config.bare_line_ends = BareLineEnds::Repair;
    }
    let mut connection = Connection::new(Arc::new(config), now);
    connection.answer(now, Answer::Accept, &mut output);
    let mut input = &b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n"[..];
    while connection
        .poll_event(now, &mut input, &mut output)
        .is_some()
    {
        connection.answer(now, Answer::Accept, &mut output);
    }
    output.clear();

    let mut content = Vec::new();
    let mut refused = false;
    let mut taken = 0;
    // No piece at all stands for one with everything.
    let length = match length {
        0 => text.len().max(1),
        length => length.into(),
    };
    for piece in text.chunks(length) {
        let mut input = piece;
        loop {
            match connection.poll_event_with_room(now, &mut input, &mut output, room) {
                Some(Event::Body(body)) => content.extend_from_slice(body),
                Some(Event::MessageEnd { size }) => {
                    assert_eq!(size, content.len() as u64);
                    assert!(expected.ended);
                    assert_eq!(expected.content, Some(content));
                    let rest = &text[taken + piece.len() - input.len()..];
                    assert_eq!(expected.rest, rest);
                    return;
                }
                Some(Event::MessageAborted(Abort::Refused(reply))) => {
                    // The other reason for which a small message is refused, too many Received
                    // headers, is not in the oracle.
                    if reply != replies::BARE_CR_OR_LF_IN_BODY {
                        return;
                    }
                    refused = true;
                }
                // What stands behind the end is run like anything else.
                Some(_) if refused && !output.is_empty() => break,
                Some(event) => panic!("{event:?}"),
                None => break,
            }
        }
        taken += piece.len();
        if !output.is_empty() {
            assert!(expected.ended && expected.content.is_none());
            assert!(refused && output.starts_with(b"550 5.5.2 "));
            return;
        }
    }
    assert!(!expected.ended);
});
