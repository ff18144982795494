//! RFC 3461, 3464 and 6533, section by section.

use prixfixe_delivery::bounce::{Fate, Original};
use prixfixe_server::{BodyType, Ret, ReversePath, reply};

use crate::read::{
    DOMAIN, GONE, HELLO, RECEIVED, envelope, find, get, parse, recipient, report, whole,
};

#[test]
fn rfc_3464_section_2_a_report_is_a_multipart_report_from_a_person() {
    let envelope = envelope(None, None, false, &[recipient("bob@example.org", "", "")]);
    let bounce = report(&envelope, Fate::Failed, &GONE, whole(HELLO)).unwrap();
    let parsed = parse(&bounce);
    let kind = get(&parsed.headers, "Content-Type");
    assert!(
        kind.starts_with("multipart/report; report-type=delivery-status;"),
        "{kind}"
    );
    assert!(get(&parsed.headers, "From").contains("<postmaster@mx.example.net>"));
    assert_eq!(get(&parsed.headers, "To"), "<ann@example.com>");
    assert_eq!(get(&parsed.headers, "Auto-Submitted"), "auto-replied");
    assert_eq!(
        get(&parsed.headers, "Date"),
        "Sat, 28 Nov 2026 00:45:27 +0000"
    );
    let kinds = [0, 1, 2].map(|part| parsed.kind(part).to_owned());
    assert_eq!(
        kinds,
        [
            "text/plain; charset=utf-8",
            "message/delivery-status",
            "message/rfc822"
        ]
    );
    let text = parsed.text();
    for words in [
        "could not be delivered",
        "bob@example.org",
        "relay.example.org said",
        "No such user",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn rfc_3461_section_5_1_a_report_is_from_nobody_to_the_sender() {
    let envelope = envelope(None, None, false, &[recipient("bob@example.org", "", "")]);
    let bounce = report(&envelope, Fate::Failed, &GONE, whole(HELLO)).unwrap();
    assert!(matches!(bounce.envelope.reverse_path(), ReversePath::Null));
    let recipients = bounce.envelope.recipients();
    assert_eq!(recipients.len(), 1);
    assert_eq!(recipients[0].to_string(), "ann@example.com");
    // And nobody hears of what became of a report.
    assert!(report(&bounce.envelope, Fate::Failed, &GONE, whole(HELLO)).is_none());
}

#[test]
fn rfc_3464_sections_2_2_and_2_3_fields_are_those_of_the_message_and_of_each_recipient() {
    let recipients = [
        recipient(
            "bob@example.org",
            "FAILURE",
            "rfc822;bob+2Bnews@example.net",
        ),
        recipient("\"a  b\"@example.org", "", ""),
    ];
    let envelope = envelope(None, Some("QQ314159  x"), false, &recipients);
    let bounce = report(&envelope, Fate::Failed, &GONE, whole(HELLO)).unwrap();
    let groups = parse(&bounce).groups();
    assert_eq!(groups.len(), 3);
    let expected = [
        ("Reporting-MTA", "dns; mx.example.net"),
        ("Original-Envelope-Id", "QQ314159  x"),
        ("Arrival-Date", "Sat, 28 Nov 2026 00:45:27 +0000"),
    ];
    let pairs = |group: &crate::read::Headers| group.clone();
    assert_eq!(
        pairs(&groups[0]),
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let expected = [
        ("Original-Recipient", "rfc822; bob+news@example.net"),
        ("Final-Recipient", "rfc822; bob@example.org"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; relay.example.org"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such user"),
    ];
    assert_eq!(
        pairs(&groups[1]),
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    assert_eq!(
        get(&groups[2], "Final-Recipient"),
        "rfc822; \"a  b\"@example.org"
    );
    assert_eq!(find(&groups[2], "Original-Recipient"), None);
}

#[test]
fn rfc_3461_section_4_1_notify_says_who_hears_of_what() {
    let cases = [
        // NOTIFY, then whether a report follows a failure, a delivery, a relay.
        ("", [true, false, false]),
        ("NEVER", [false, false, false]),
        ("FAILURE", [true, false, false]),
        ("SUCCESS", [false, true, true]),
        ("SUCCESS,FAILURE", [true, true, true]),
        ("DELAY", [false, false, false]),
        ("DELAY,FAILURE", [true, false, false]),
    ];
    let fates = [Fate::Failed, Fate::Delivered, Fate::Relayed];
    for (notify, expected) in cases {
        let envelope = envelope(
            None,
            None,
            false,
            &[recipient("bob@example.org", notify, "")],
        );
        for (fate, is_expected) in fates.into_iter().zip(expected) {
            let bounce = report(&envelope, fate, &GONE, whole(HELLO));
            assert_eq!(bounce.is_some(), is_expected, "{notify:?} {fate:?}");
        }
    }
}

#[test]
fn rfc_3464_section_2_3_3_actions_say_what_became_of_it() {
    let taken = reply!(250 2.0.0 "Queued as 4711");
    let envelope = envelope(
        None,
        None,
        false,
        &[recipient("bob@example.org", "SUCCESS,FAILURE", "")],
    );
    let cases = [
        (Fate::Failed, &GONE, "failed", "5.1.1"),
        (Fate::Delivered, &taken, "delivered", "2.0.0"),
        (Fate::Relayed, &taken, "relayed", "2.0.0"),
    ];
    for (fate, reply, action, status) in cases {
        let parsed = parse(&report(&envelope, fate, reply, whole(HELLO)).unwrap());
        let groups = parsed.groups();
        assert_eq!(get(&groups[1], "Action"), action);
        assert_eq!(get(&groups[1], "Status"), status);
        let subject = get(&parsed.headers, "Subject");
        assert_eq!(subject.contains("Undelivered"), fate == Fate::Failed);
        assert_eq!(parsed.text().contains("could not"), fate == Fate::Failed);
    }
}

#[test]
fn rfc_3461_section_4_3_ret_says_how_much_comes_back() {
    let to = [recipient("bob@example.org", "SUCCESS,FAILURE", "")];
    let cases = [
        (None, Fate::Failed, true),
        (Some(Ret::Full), Fate::Failed, true),
        (Some(Ret::Headers), Fate::Failed, false),
        // Without a failure the headers alone, whatever was asked for.
        (Some(Ret::Full), Fate::Relayed, false),
    ];
    for (ret, fate, is_whole) in cases {
        let envelope = envelope(ret, None, false, &to);
        let parsed = parse(&report(&envelope, fate, &GONE, whole(HELLO)).unwrap());
        let expected = if is_whole {
            "message/rfc822"
        } else {
            "text/rfc822-headers"
        };
        assert_eq!(parsed.kind(2), expected, "{ret:?} {fate:?}");
        let returned = &parsed.parts[2].1;
        let text = String::from_utf8(returned.clone()).unwrap();
        assert!(
            text.starts_with("Received: from mail.example.com"),
            "{text}"
        );
        assert!(text.contains("Subject: Hello\r\n"), "{text}");
        assert_eq!(text.contains("How are you"), is_whole, "{text}");
        assert_eq!(parsed.text().contains("Your message is attached"), is_whole);
    }
}

#[test]
fn what_cannot_come_back_whole_comes_back_as_its_headers() {
    let envelope = envelope(
        Some(Ret::Full),
        None,
        false,
        &[recipient("bob@example.org", "", "")],
    );
    let long = [b"Subject: long\r\n\r\n", &[b'x'; 300 << 10][..], b"\r\n"].concat();
    let line = [b"Subject: line\r\n\r\n", &[b'x'; 999][..], b"\r\n"].concat();
    let part = Original {
        headers: RECEIVED,
        content: HELLO,
        is_whole: false,
    };
    let cases = [
        whole(&long),
        whole(&line),
        whole(b"Subject: nul\r\n\r\na\0b\r\n"),
        whole(b"Subject: bare\r\n\r\na\nb\r\n"),
        part,
    ];
    for original in cases {
        let parsed = parse(&report(&envelope, Fate::Failed, &GONE, original).unwrap());
        assert_eq!(parsed.kind(2), "text/rfc822-headers");
        let returned = String::from_utf8_lossy(&parsed.parts[2].1);
        assert!(returned.contains("\r\nSubject: ") || returned.contains("\r\nFrom: "));
        assert!(!returned.contains("\r\n\r\n"), "{returned}");
    }
}

#[test]
fn a_message_without_headers_continues_none_of_ours() {
    let envelope = envelope(
        Some(Ret::Headers),
        None,
        false,
        &[recipient("bob@example.org", "", "")],
    );
    for content in [&b" by me.example.com\r\n\r\nHi\r\n"[..], b"\r\nHi\r\n"] {
        let parsed = parse(&report(&envelope, Fate::Failed, &GONE, whole(content)).unwrap());
        assert_eq!(parsed.parts[2].1, RECEIVED);
    }
}

#[test]
fn rfc_6533_internationalised_addresses_are_said_where_the_sender_can_read_them() {
    let to = [recipient(
        "jörg@bücher.example",
        "",
        "utf-8;j\u{f6}rg@b\u{fc}cher.example",
    )];
    let with = envelope(None, None, true, &to);
    let bounce = report(&with, Fate::Failed, &GONE, whole(HELLO)).unwrap();
    assert!(bounce.envelope.parameters().smtputf8);
    assert_eq!(bounce.envelope.parameters().body, BodyType::EightBitMime);
    let parsed = parse(&bounce);
    assert_eq!(parsed.kind(1), "message/global-delivery-status");
    assert_eq!(parsed.kind(2), "message/global");
    let groups = parsed.groups();
    assert_eq!(
        get(&groups[1], "Final-Recipient"),
        "utf-8; jörg@bücher.example"
    );
    assert_eq!(
        get(&groups[1], "Original-Recipient"),
        "utf-8; jörg@bücher.example"
    );

    // Others have such an address in ORCPT alone, and hear of it in ASCII.
    let to = [recipient(
        "bob@example.org",
        "",
        "utf-8;j\u{f6}rg@example.org",
    )];
    let without = envelope(None, None, false, &to);
    let bounce = report(&without, Fate::Failed, &GONE, whole(HELLO)).unwrap();
    assert!(!bounce.envelope.parameters().smtputf8);
    let parsed = parse(&bounce);
    assert_eq!(parsed.kind(1), "message/delivery-status");
    let groups = parsed.groups();
    assert_eq!(
        get(&groups[1], "Original-Recipient"),
        "utf-8; j\\x{F6}rg@example.org"
    );
}

#[test]
fn a_bare_postmaster_is_that_of_the_server() {
    let envelope = envelope(None, None, false, &[recipient("postmaster", "", "")]);
    let groups = parse(&report(&envelope, Fate::Failed, &GONE, whole(HELLO)).unwrap()).groups();
    assert_eq!(
        get(&groups[1], "Final-Recipient"),
        format!("rfc822; postmaster@{DOMAIN}")
    );
}
