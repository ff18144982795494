//! Dialogues with milters, byte by byte and in all splittings.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use prixfixe_milter::{
    Actions, Address, Answer, Event, Macros, MaxData, MilterClient, MilterError, Modification,
    Offer, Sent, Steps,
};
use proptest::prelude::*;

type Asked = Result<Sent, MilterError>;

/// A packet.
fn packet(command: u8, fields: &[u8]) -> Vec<u8> {
    let length = u32::try_from(fields.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[command], fields].concat()
}

/// A milter's side of the negotiation.
fn negotiation(actions: Actions, steps: Steps) -> Vec<u8> {
    let numbers = [6, actions.bits(), steps.bits()].map(u32::to_be_bytes);
    packet(b'O', numbers.as_flattened())
}

/// The commands that wait to be sent, with NUL as `|`.
fn output(client: &mut MilterClient) -> Vec<String> {
    let bytes = client.take_output();
    let (mut rest, mut packets) = (&*bytes, Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (packet, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        let text: String = packet.iter().map(|byte| char::from(*byte)).collect();
        packets.push(text.replace('\0', "|"));
        rest = behind;
    }
    packets
}

fn agreed(actions: Actions, steps: Steps) -> MilterClient {
    let mut client = MilterClient::new(Offer::default());
    drop(client.take_output());
    let event = receives(&mut client, &negotiation(actions, steps));
    assert_eq!(event, Ok(Some(Event::Negotiated)));
    client
}

fn receives(client: &mut MilterClient, bytes: &[u8]) -> Result<Option<Event>, MilterError> {
    client.receive(bytes);
    client.next_event()
}

fn says(
    client: &mut MilterClient,
    command: u8,
    fields: &[u8],
) -> Result<Option<Event>, MilterError> {
    receives(client, &packet(command, fields))
}

fn answers(client: &mut MilterClient, command: u8, answer: Answer) {
    assert_eq!(says(client, command, b""), Ok(Some(Event::Answer(answer))));
}

fn goes_on(client: &mut MilterClient) {
    answers(client, b'c', Answer::Continue);
}

fn none() -> Macros {
    Macros::default()
}

fn mail(client: &mut MilterClient, sender: &str) -> Asked {
    client.mail(sender, &[], &none())
}

/// As far as the end of the message, which waits for its answer.
fn at_the_end(actions: Actions) -> MilterClient {
    let mut client = agreed(actions, Steps::SKIP);
    assert_eq!(mail(&mut client, "a@b.test"), Ok(Sent::Answered));
    goes_on(&mut client);
    assert_eq!(client.end_of_message(&none()), Ok(Sent::Answered));
    client
}

#[test]
fn a_whole_dialogue_is_as_sendmail_has_it() {
    let mut client = MilterClient::new(Offer::default());
    let offer = client.take_output();
    assert_eq!(offer, b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xf7\xff");
    let event = receives(&mut client, &negotiation(Actions::ALL, Steps::NONE));
    assert_eq!(event, Ok(Some(Event::Negotiated)));
    let mut macros = none();
    for (name, value) in [
        ("j", "mx.test"),
        ("_", "c.test [192.0.2.1]"),
        ("{tls_version}", "TLSv1.3"),
        ("{mail_addr}", "a@b.test"),
        ("{rcpt_addr}", "c@d.test"),
        ("i", "id1"),
    ] {
        macros.set(name, value);
    }
    let peer = Address::Ip(([192, 0, 2, 1], 0x4142).into());
    type Ask<'a> = Box<dyn Fn(&mut MilterClient) -> Asked + 'a>;
    let steps: [(Ask<'_>, &[&str]); 10] = [
        (
            Box::new(|it| it.connect("c.test", &peer, &macros)),
            &["DCj|mx.test|_|c.test [192.0.2.1]|", "Cc.test|4AB192.0.2.1|"],
        ),
        (
            Box::new(|it| it.hello("c.test", &macros)),
            &["DH{tls_version}|TLSv1.3|", "Hc.test|"],
        ),
        (Box::new(|it| it.unknown("XYZ a")), &["UXYZ a|"]),
        (
            Box::new(|it| it.mail("a@b.test", &["SIZE=1", "SMTPUTF8"], &macros)),
            &["DM{mail_addr}|a@b.test|", "M<a@b.test>|SIZE=1|SMTPUTF8|"],
        ),
        (
            Box::new(|it| it.rcpt("c@d.test", &[], &macros)),
            &["DR{rcpt_addr}|c@d.test|", "R<c@d.test>|"],
        ),
        (Box::new(|it| it.data(&macros)), &["DTi|id1|", "T"]),
        (
            Box::new(|it| it.header(b"Subject", b" a\n\tb")),
            &["LSubject| a\n\tb|"],
        ),
        (Box::new(|it| it.end_of_header(&macros)), &["DNi|id1|", "N"]),
        (Box::new(|it| it.body(b"hello\r\n")), &["Bhello\r\n"]),
        (
            Box::new(|it| it.end_of_message(&macros)),
            &["DEi|id1|", "E"],
        ),
    ];
    for (ask, expected) in steps {
        assert_eq!(ask(&mut client), Ok(Sent::Answered));
        assert_eq!(output(&mut client), expected);
        assert!(client.is_waiting());
        assert_eq!(client.data(&macros), Err(MilterError::WrongTime));
        assert_eq!(says(&mut client, b'p', b""), Ok(Some(Event::Progress)));
        goes_on(&mut client);
    }
    client.next_client().unwrap();
    assert_eq!(output(&mut client), ["K"]);
    client.quit();
    assert_eq!(output(&mut client), ["Q"]);
    assert_eq!(client.hello("a", &macros), Err(MilterError::WrongTime));
}

#[test]
fn addresses_have_their_families() {
    let ip = |text: &str| Address::Ip(text.parse().unwrap());
    for (address, expected) in [
        (ip("[2001:db8::1]:16705"), "Ch|6AA2001:db8::1|"),
        (ip("[::ffff:192.0.2.1]:16705"), "Ch|4AA192.0.2.1|"),
        (Address::Unix, "Ch|L||localhost|"),
        (Address::Unknown, "Ch|U"),
    ] {
        let mut client = agreed(Actions::NONE, Steps::NONE);
        assert_eq!(client.connect("h", &address, &none()), Ok(Sent::Answered));
        assert_eq!(output(&mut client), [expected]);
    }
}

#[test]
fn steps_are_left_out_or_unanswered_as_was_agreed_on() {
    type Ask = fn(&mut MilterClient) -> Asked;
    let connect: Ask = |it| it.connect("a", &Address::Unix, &none());
    let cases: [(Steps, Steps, Ask, bool); 9] = [
        (Steps::NO_CONNECT, Steps::SILENT_CONNECT, connect, false),
        (
            Steps::NO_HELO,
            Steps::SILENT_HELO,
            |it| it.hello("a", &none()),
            false,
        ),
        (
            Steps::NO_MAIL,
            Steps::SILENT_MAIL,
            |it| mail(it, "a"),
            false,
        ),
        (
            Steps::NO_RCPT,
            Steps::SILENT_RCPT,
            |it| it.rcpt("a", &[], &none()),
            true,
        ),
        (
            Steps::NO_DATA,
            Steps::SILENT_DATA,
            |it| it.data(&none()),
            true,
        ),
        (
            Steps::NO_HEADERS,
            Steps::SILENT_HEADER,
            |it| it.header(b"a", b"b"),
            true,
        ),
        (
            Steps::NO_END_OF_HEADER,
            Steps::SILENT_END_OF_HEADER,
            |it| it.end_of_header(&none()),
            true,
        ),
        (Steps::NO_BODY, Steps::SILENT_BODY, |it| it.body(b"a"), true),
        (
            Steps::NO_UNKNOWN,
            Steps::SILENT_UNKNOWN,
            |it| it.unknown("a"),
            false,
        ),
    ];
    for (absent, silent, ask, in_message) in cases {
        for (steps, sent) in [
            (absent, Sent::Nothing),
            (silent, Sent::Unanswered),
            (Steps::NONE, Sent::Answered),
        ] {
            let mut client = agreed(Actions::NONE, steps);
            if in_message {
                assert_eq!(mail(&mut client, "a"), Ok(Sent::Answered));
                goes_on(&mut client);
                drop(client.take_output());
            }
            assert_eq!(ask(&mut client), Ok(sent), "{steps:?}");
            assert_eq!(output(&mut client).is_empty(), sent == Sent::Nothing);
            assert_eq!(client.is_waiting(), sent == Sent::Answered);
        }
    }
}

#[test]
fn content_has_no_place_outside_of_a_message() {
    let mut client = agreed(Actions::ALL, Steps::NONE);
    for result in [
        client.rcpt("a", &[], &none()),
        client.data(&none()),
        client.header(b"a", b"b"),
        client.end_of_header(&none()),
        client.body(b"a"),
        client.end_of_message(&none()),
    ] {
        assert_eq!(result, Err(MilterError::WrongTime));
    }
    assert!(output(&mut client).is_empty());
}

#[test]
fn what_is_accepted_is_not_asked_about_any_more() {
    let mut client = agreed(Actions::ALL, Steps::NONE);
    assert_eq!(mail(&mut client, "a"), Ok(Sent::Answered));
    answers(&mut client, b'a', Answer::Accept);
    drop(client.take_output());
    assert!(!client.is_open());
    assert_eq!(client.rcpt("b", &[], &none()), Ok(Sent::Nothing));
    assert_eq!(client.end_of_message(&none()), Ok(Sent::Nothing));
    // The next message is another one. The milter hears that the first is over.
    assert_eq!(mail(&mut client, "c"), Ok(Sent::Answered));
    assert_eq!(output(&mut client), ["A", "M<c>|"]);
    goes_on(&mut client);
    // A recipient that is refused leaves the message as it is.
    assert_eq!(client.rcpt("d", &[], &none()), Ok(Sent::Answered));
    answers(&mut client, b'r', Answer::Reject);
    assert!(client.is_open());
    client.abort().unwrap();
    // A client that is accepted is not asked about until the next one comes.
    assert_eq!(client.hello("h", &none()), Ok(Sent::Answered));
    answers(&mut client, b'a', Answer::Accept);
    assert_eq!(mail(&mut client, "e"), Ok(Sent::Nothing));
    client.next_client().unwrap();
    assert_eq!(client.hello("h", &none()), Ok(Sent::Answered));
}

#[test]
fn the_rest_of_a_kind_is_skipped_where_that_was_agreed_on() {
    for steps in [Steps::SKIP, Steps::NONE] {
        let mut client = agreed(Actions::ALL, steps);
        assert_eq!(mail(&mut client, "a"), Ok(Sent::Answered));
        goes_on(&mut client);
        assert_eq!(client.body(b"1"), Ok(Sent::Answered));
        if steps == Steps::SKIP {
            answers(&mut client, b's', Answer::Skip);
            assert_eq!(client.body(b"2"), Ok(Sent::Nothing));
            assert_eq!(client.end_of_message(&none()), Ok(Sent::Answered));
        } else {
            let error = MilterError::NotNegotiated(b's');
            assert_eq!(says(&mut client, b's', b""), Err(error));
            assert_eq!(client.body(b"2"), Err(MilterError::WrongTime));
        }
    }
}

#[test]
fn a_milter_gets_the_macros_that_it_asks_for() {
    let mut fields = [6, Actions::SET_MACROS.bits(), 0]
        .map(u32::to_be_bytes)
        .concat();
    // Of MAIL and of the end of the message, and of a stage that is none.
    for (stage, names) in [(2_u32, "client_addr i"), (5, "{mail_addr}"), (9, "x")] {
        fields.extend_from_slice(&stage.to_be_bytes());
        fields.extend_from_slice(names.as_bytes());
        fields.push(0);
    }
    let mut client = MilterClient::new(Offer::default());
    drop(client.take_output());
    assert_eq!(
        says(&mut client, b'O', &fields),
        Ok(Some(Event::Negotiated))
    );
    let mut macros = none();
    for (name, value) in [
        ("{client_addr}", "192.0.2.1"),
        ("i", "1"),
        ("i", "\x002"),
        ("{mail_addr}", "a"),
    ] {
        macros.set(name, value);
    }
    assert_eq!(macros.get("i"), Some("2"));
    assert_eq!(client.mail("a", &[], &macros), Ok(Sent::Answered));
    assert_eq!(
        output(&mut client),
        ["DM{client_addr}|192.0.2.1|i|2|", "M<a>|"]
    );
    goes_on(&mut client);
    macros.unset("{mail_addr}");
    assert_eq!(client.end_of_message(&macros), Ok(Sent::Answered));
    assert_eq!(output(&mut client), ["E"]);
}

#[test]
fn a_negotiation_that_takes_more_than_was_offered_is_an_error() {
    let bits = |version: u32, actions: u32, steps: u32| {
        [version, actions, steps].map(u32::to_be_bytes).concat()
    };
    let malformed = || Err(MilterError::Malformed(b'O'));
    for (fields, expected) in [
        (bits(6, 1, 0x10), Ok(Some(Event::Negotiated))),
        (bits(2, 0, 0), Ok(Some(Event::Negotiated))),
        (bits(7, 0, 0), Err(MilterError::Version(7))),
        (bits(1, 0, 0), Err(MilterError::Version(1))),
        (bits(6, 3, 0), Err(MilterError::NotOffered)),
        (bits(6, 0, 0x11), Err(MilterError::NotOffered)),
        (bits(6, 0, 0x1000_0000), Err(MilterError::NotOffered)),
        (bits(6, 0, 0x8000_0000), Err(MilterError::NotOffered)),
        (bits(6, 0, 0)[..11].to_vec(), malformed()),
        ([bits(6, 0, 0), vec![0; 3]].concat(), malformed()),
        ([bits(6, 0, 0), vec![0; 4]].concat(), malformed()),
    ] {
        let offer = Offer::default()
            .actions(Actions::ADD_HEADERS)
            .steps(Steps::NO_BODY);
        let mut client = MilterClient::new(offer);
        assert_eq!(says(&mut client, b'O', &fields), expected, "{fields:?}");
    }
    let mut client = MilterClient::new(Offer::default());
    assert_eq!(
        says(&mut client, b'c', b""),
        Err(MilterError::Unexpected(b'c'))
    );
}

#[test]
fn packets_are_as_large_as_was_agreed_on() {
    for (max, bits, expected) in [
        (MaxData::Kib64, 0, 65_535),
        (MaxData::Kib256, 0x1000_0000, 262_143),
        (MaxData::Mib1, 0x2000_0000, 1_048_575),
        (MaxData::Mib1, 0, 65_535),
    ] {
        let mut client = MilterClient::new(Offer::default().max_data(max));
        let fields = [6, 0, bits].map(u32::to_be_bytes).concat();
        assert_eq!(
            says(&mut client, b'O', &fields),
            Ok(Some(Event::Negotiated))
        );
        assert_eq!(client.max_data(), expected);
        assert_eq!(mail(&mut client, "a"), Ok(Sent::Answered));
        goes_on(&mut client);
        let large = vec![b'a'; expected + 1];
        assert_eq!(client.body(&large), Err(MilterError::WrongTime));
        assert_eq!(client.body(&large[1..]), Ok(Sent::Answered));
        goes_on(&mut client);
        drop(client.take_output());
        assert_eq!(client.header(b"a", &large), Ok(Sent::Answered));
        assert_eq!(client.take_output().len(), 5 + expected);
    }
}

#[test]
fn changes_are_read_where_they_were_negotiated() {
    use Modification as M;
    fn text(text: &str) -> String {
        text.to_owned()
    }
    let (name, value, parameters) = (text("A"), text("b"), String::new());
    let (address, reason) = (text("<a@b>"), text("why"));
    let (sized, size) = (text("<a@b>"), text("SIZE=1"));
    let cases: [(u8, &[u8], Actions, M); 10] = [
        (
            b'h',
            b"A\0b\0",
            Actions::ADD_HEADERS,
            M::AddHeader {
                name: name.clone(),
                value: value.clone(),
            },
        ),
        (
            b'i',
            b"\0\0\0\x02A\0b\0",
            Actions::ADD_HEADERS,
            M::InsertHeader {
                at: 2,
                name: name.clone(),
                value: value.clone(),
            },
        ),
        (
            b'm',
            b"\0\0\0\x02A\0b\0",
            Actions::CHANGE_HEADERS,
            M::ChangeHeader {
                name: name.clone(),
                occurrence: 2,
                value,
            },
        ),
        (
            b'm',
            b"\0\0\0\0A\0\0",
            Actions::CHANGE_HEADERS,
            M::ChangeHeader {
                name,
                occurrence: 1,
                value: String::new(),
            },
        ),
        (
            b'e',
            b"<a@b>\0SIZE=1\0",
            Actions::CHANGE_SENDER,
            M::ChangeSender {
                address: sized.clone(),
                parameters: size.clone(),
            },
        ),
        (
            b'+',
            b"<a@b>\0",
            Actions::ADD_RECIPIENT,
            M::AddRecipient {
                address: address.clone(),
                parameters,
            },
        ),
        (
            b'2',
            b"<a@b>\0SIZE=1\0",
            Actions::ADD_RECIPIENT_WITH_PARAMETERS,
            M::AddRecipient {
                address: sized,
                parameters: size,
            },
        ),
        (
            b'-',
            b"<a@b>\0",
            Actions::DELETE_RECIPIENT,
            M::RemoveRecipient { address },
        ),
        (
            b'b',
            b"new\0body",
            Actions::CHANGE_BODY,
            M::ReplaceBody(b"new\0body".to_vec()),
        ),
        (
            b'q',
            b"why\0",
            Actions::QUARANTINE,
            M::Quarantine { reason },
        ),
    ];
    for (command, fields, action, expected) in cases {
        let mut client = at_the_end(action);
        assert_eq!(
            says(&mut client, command, fields),
            Ok(Some(Event::Change(expected)))
        );
        goes_on(&mut client);
        let others = Actions::from_bits(Actions::ALL.bits() & !action.bits());
        let error = MilterError::NotNegotiated(command);
        assert_eq!(says(&mut at_the_end(others), command, fields), Err(error));
        // Nothing is changed before the end of the message.
        let mut client = agreed(Actions::ALL, Steps::NONE);
        assert_eq!(mail(&mut client, "a"), Ok(Sent::Answered));
        let error = MilterError::Unexpected(command);
        assert_eq!(says(&mut client, command, fields), Err(error));
    }
}

#[test]
fn what_makes_no_sense_ends_the_connection() {
    for (command, fields, expected) in [
        (b'x', &b""[..], MilterError::Unexpected(b'x')),
        (
            b'O',
            b"\0\0\0\x06\0\0\0\0\0\0\0\0",
            MilterError::Unexpected(b'O'),
        ),
        (b'f', b"", MilterError::Closing),
        (b'h', b"", MilterError::Malformed(b'h')),
        (b'i', b"\0\0\0", MilterError::Malformed(b'i')),
        (b'm', b"\0\0\0\x01", MilterError::Malformed(b'm')),
        (b'+', b"", MilterError::Malformed(b'+')),
        (b's', b"", MilterError::Unexpected(b's')),
        (b'y', b"250 2.0.0 fine\0", MilterError::BadReply),
    ] {
        let mut client = at_the_end(Actions::ALL);
        assert_eq!(says(&mut client, command, fields), Err(expected));
        assert!(!client.is_waiting());
    }
    // There is no message that could be thrown away.
    let mut client = agreed(Actions::ALL, Steps::NONE);
    assert_eq!(client.hello("a", &none()), Ok(Sent::Answered));
    assert_eq!(
        says(&mut client, b'd', b""),
        Err(MilterError::Unexpected(b'd'))
    );
    // Nobody has asked.
    let mut client = agreed(Actions::ALL, Steps::NONE);
    client.receive(&packet(b'c', b""));
    assert_eq!(client.hello("a", &none()), Err(MilterError::WrongTime));
    assert_eq!(client.next_event(), Err(MilterError::Unexpected(b'c')));
}

#[test]
fn lengths_are_refused_before_their_packets_come() {
    for length in [0, (1 << 20) + 1, u32::MAX] {
        let mut client = MilterClient::new(Offer::default());
        let error = MilterError::PacketSize(length);
        assert_eq!(receives(&mut client, &length.to_be_bytes()), Err(error));
    }
}

#[test]
fn what_a_milter_may_change_in_a_message_is_bounded() {
    let half = vec![b'a'; 1 << 19];
    let header = [b"A\0", &*half].concat();
    for (command, fields, count) in [
        (b'b', &*half, 128),
        (b'b', b"", 10_000),
        (b'h', b"A\0b\0", 10_000),
        (b'h', &*header, 1),
    ] {
        let mut client = at_the_end(Actions::ALL);
        for _ in 0..count {
            let event = says(&mut client, command, fields);
            assert!(matches!(event, Ok(Some(Event::Change(_)))));
        }
        let event = says(&mut client, command, fields);
        assert_eq!(event, Err(MilterError::TooManyChanges));
    }
}

/// What comes of a milter's bytes at the end of a message.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Event, MilterError>> {
    let mut client = at_the_end(Actions::ALL);
    let mut events = Vec::new();
    for piece in pieces {
        client.receive(piece);
        while let Some(event) = client.next_event().transpose() {
            let is_over = event.is_err();
            events.push(event);
            if is_over {
                return events;
            }
        }
    }
    events
}

#[test]
fn however_it_is_split_a_milter_says_the_same() {
    let bytes = [
        packet(b'p', b""),
        packet(b'h', b"X-A\0b\0"),
        packet(b'm', b"\0\0\0\x01Subject\0new\0"),
        packet(b'b', b"a new body\r\n"),
        packet(b'+', b"<c@d.test>\0"),
        packet(b'p', b""),
        packet(b'y', b"550-5.7.1 one\r\n550 5.7.1 two\0"),
    ]
    .concat();
    let whole = events([&*bytes]);
    assert_eq!(whole.len(), 7);
    assert!(matches!(
        whole.last(),
        Some(Ok(Event::Answer(Answer::Reply(_))))
    ));
    assert_eq!(events(bytes.chunks(1)), whole);
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(events(pieces), whole, "{first} {second}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm_and_their_splitting_changes_nothing(
        packets in prop::collection::vec(
            (prop::sample::select(b"cadrtysphimeb+-2qfO4l".to_vec()), prop::collection::vec(any::<u8>(), 0..40)),
            0..8,
        ),
        rest in prop::collection::vec(any::<u8>(), 0..20),
        size in 1_usize..9,
    ) {
        let packets = packets.iter().map(|(command, fields)| packet(*command, fields));
        let bytes = [packets.collect::<Vec<_>>().concat(), rest].concat();
        prop_assert_eq!(events(bytes.chunks(size)), events([&*bytes]));
    }

    #[test]
    fn no_negotiation_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut client = MilterClient::new(Offer::default());
        let whole = receives(&mut client, &packet(b'O', &bytes));
        let mut client = MilterClient::new(Offer::default());
        for byte in packet(b'O', &bytes) {
            client.receive(&[byte]);
        }
        prop_assert_eq!(client.next_event(), whole);
    }
}
