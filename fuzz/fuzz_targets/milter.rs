//! Invariant: whatever a milter says, the client does not panic, holds no more than its bounds, and
//! learns the same however the input is cut.
//!
//! The first two bytes say what the milter negotiates. Then a byte is a question, and one behind it
//! the length of what the milter says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prixfixe_milter::{Address, Answer, Event, Macros, MilterClient, Offer};

/// What a server learns, in words.
fn run(script: &[u8], length: usize) -> Vec<String> {
    let mut client = MilterClient::new(Offer::default().max_body(1 << 10));
    let mut told = Vec::new();
    let (options, mut script) = script.split_at_checked(2).unwrap_or((&[0, 0], &[]));
    let mut negotiation = *b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\0";
    negotiation[12] = options[0];
    negotiation[15] = options[1] & 0xF7;
    let mut macros = Macros::default();
    macros.set("i", "1");
    client.receive(&negotiation);
    match client.next_event() {
        Ok(Some(Event::Negotiated)) => {}
        other => return vec![format!("{other:?}")],
    }
    drop(client.take_output());
    while let Some((question, said, rest)) = split(script) {
        script = rest;
        if !client.is_waiting() {
            let asked = match question % 12 {
                0 => client.connect("host", &Address::Unix, &macros),
                1 => client.hello("host", &macros),
                2 => client.mail("a@b.test", &["SIZE=1"], &macros),
                3 => client.rcpt("a@b.test", &[], &macros),
                4 => client.data(&macros),
                5 => client.header(b"Subject", b" a"),
                6 => client.end_of_header(&macros),
                7 => client.body(b"body"),
                8 => client.end_of_message(&macros),
                9 => client.unknown("XYZ"),
                10 => client.abort().map(|()| prixfixe_milter::Sent::Nothing),
                _ => client
                    .next_client()
                    .map(|()| prixfixe_milter::Sent::Nothing),
            };
            told.push(format!("{asked:?}"));
        }
        assert!(client.take_output().len() < 200);
        for piece in said.chunks(length) {
            client.receive(piece);
            loop {
                match client.next_event() {
                    Ok(Some(event)) => {
                        check(&event);
                        told.push(format!("{event:?}"));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert!(!client.is_waiting());
                        told.push(format!("{error:?}"));
                        return told;
                    }
                }
            }
        }
    }
    told
}

/// A question, and what the milter says to it.
fn split(script: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[question, length], rest) = script.split_first_chunk()?;
    let (said, rest) = rest.split_at(rest.len().min(length.into()));
    Some((question, said, rest))
}

fn check(event: &Event) {
    if let Event::Answer(Answer::Reply(reply)) = event {
        assert!((400..600).contains(&reply.code()));
        assert_eq!(u16::from(reply.enhanced().0), reply.code() / 100);
        let is_bad = |c: char| c.is_control() && c != '\n';
        assert!(!reply.text().contains(is_bad));
    }
}

fuzz_target!(|script: &[u8]| {
    let at_once = run(script, usize::MAX);
    for length in [1, 3] {
        assert_eq!(run(script, length), at_once);
    }
});
