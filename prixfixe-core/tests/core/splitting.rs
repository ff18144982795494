//! Whatever a client sends, it does not matter how it was cut, and what comes back is SMTP.

use prixfixe_dialogue::{Refusal, Settings, Stage};
use proptest::prelude::*;

use crate::server::{Server, Told};

/// What dialogues are made of, sound and unsound.
const FRAGMENTS: &[&[u8]] = &[
    b"EHLO client.example.com\r\n",
    b"HELO client\r\n",
    b"LHLO client\r\n",
    b"RCPT TO:<full@example.net>\r\n",
    b"LHLO c\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<full@example.net>\r\nRCPT TO:<bob@example.net>\r\n",
    b"MAIL FROM:<alice@example.com>\r\n",
    b"MAIL FROM:<> BODY=BINARYMIME SMTPUTF8 SIZE=10\r\n",
    b"MAIL FROM:<alice@example.com> SIZE=1000000\r\n",
    b"RCPT TO:<bob@example.net>\r\n",
    b"RCPT TO:<bad@example.net>\r\n",
    b"RCPT TO:<b\xc3\xb6b@example.net>\r\n",
    b"EHLO c\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.net>\r\n",
    b"EHLO c\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n",
    b"EHLO c\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.net>\r\nBDAT 7\r\n",
    b"DATA\r\n",
    b"BDAT 5\r\n",
    b"BDAT 70 LAST\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 1000000\r\n",
    b"BDAT x\r\n",
    b"BDAT 5\nLAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY \x1b[2J\r\n",
    b"HELP\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"XYZZY\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
    b"EHLO c\r\nAUTH LOGIN\r\n",
    b"AUTH LOGIN\r\nYW5u\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN =\r\n",
    b"AUTH PLAIN ?\r\n",
    b"AUTH OTHER\r\n",
    b"AGFubgBzZWNyZXQ=\r\n",
    b"YW5u\r\n",
    b"*\r\n",
    b"XCLIENT ADDR=192.0.2.7 LOGIN=ann\r\n",
    b"XCLIENT ADDR=nowhere\r\n",
    b"GET / HTTP/1.1\r\n",
    b"Subject: hello\r\n\r\nA line of text, as there are many of them in a message, and it has an end.\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b"..\r\n",
    b"\r",
    b"\n",
    b"\r\n",
    b".",
    b"x",
    b"\0",
    b"\xff",
];

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        12 => proptest::sample::select(FRAGMENTS).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..100),
        1 => (0..3000_usize).prop_map(|length| vec![b'x'; length]),
        1 => (12_200..12_400_usize).prop_map(|length| vec![b'A'; length]),
        1 => (0..60_usize).prop_map(|lines| b"Received: x\r\n".repeat(lines)),
    ];
    proptest::collection::vec(fragment, 0..30).prop_map(|fragments| fragments.concat())
}

fn settings(repairs_line_ends: bool, lmtp: bool) -> Settings {
    let refusal = |stage, address: &str| Refusal {
        stage,
        address: Some(address.to_owned()),
        code: 550,
        enhanced: (5, 1, 1),
        text: "No such user".to_owned(),
    };
    Settings {
        repairs_line_ends,
        lmtp,
        xclient: repairs_line_ends,
        max_message_size: Some(2000),
        max_recipients: Some(2),
        auth: Some(prixfixe_dialogue::Auth::Any),
        refusals: vec![
            refusal(Stage::Rcpt, "bad@example.net"),
            refusal(Stage::Message, "full@example.net"),
        ],
        ..Settings::default()
    }
}

/// What all of the pieces, and then the end, came to.
fn outcome<'i>(
    pieces: impl Iterator<Item = &'i [u8]>,
    (repairs, lmtp): (bool, bool),
    room: usize,
) -> (Vec<Told>, String) {
    let mut server = Server::new(&settings(repairs, lmtp));
    server.room = vec![0; room];
    for piece in pieces {
        server.receive(piece);
    }
    server.connection.receive_eof(server.now);
    server.receive(b"");
    assert!(server.connection.is_closed());
    let lines = server.lines().join("\n");
    (server.told, lines)
}

/// RFC 5321 section 4.2: replies of one line or several, each with its code.
fn assert_well_formed(lines: &str) {
    let mut expected: Option<&str> = None;
    for line in lines.lines() {
        let (code, rest) = line.split_at(3);
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{line:?}");
        assert!(expected.is_none_or(|expected| expected == code), "{line:?}");
        assert!(rest.starts_with([' ', '-']), "{line:?}");
        assert!(
            rest.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{line:?}"
        );
        assert!(line.len() <= 510, "{line:?}");
        expected = rest.starts_with('-').then_some(code);
    }
    assert_eq!(expected, None, "a reply has an end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_cut_tells_the_same_and_replies_are_well_formed(
        octets in octets(),
        lengths in proptest::collection::vec(1..200_usize, 1..20),
        repairs in any::<(bool, bool)>(),
    ) {
        let at_once = outcome(std::iter::once(octets.as_slice()), repairs, 0);
        assert_well_formed(&at_once.1);
        // BINARYMIME aside, no line end of what is delivered is bare.
        let is_binary = octets.windows(10).any(|ten| ten == b"BINARYMIME");
        for told in at_once.0.iter().filter(|_| !is_binary) {
            if let Told::MessageEnd(content) = told {
                let pairs = content.windows(2).filter(|pair| pair == b"\r\n").count();
                let count = |wanted| content.iter().filter(|byte| **byte == wanted).count();
                prop_assert_eq!((count(b'\r'), count(b'\n')), (pairs, pairs));
            }
        }

        prop_assert_eq!(&outcome(octets.chunks(1), repairs, 0), &at_once);
        prop_assert_eq!(&outcome(std::iter::once(octets.as_slice()), repairs, 600), &at_once);

        let mut rest = octets.as_slice();
        let pieces = lengths.iter().cycle().map_while(|length| {
            let (piece, behind) = rest.split_at((*length).min(rest.len()));
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(&outcome(pieces, repairs, 600), &at_once);
    }

    /// A message is delivered as it was sent, whatever it is.
    #[test]
    fn content_comes_through_byte_by_byte(lines in proptest::collection::vec("[^\r\n]{0,40}|\\.{1,3}[^\r\n]{0,3}", 0..20), length in 1..50_usize) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let stuffed: String = lines
            .iter()
            .map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" }))
            .collect();
        let text = format!("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n{stuffed}.\r\n");
        let (told, _) = outcome(text.as_bytes().chunks(length), (false, false), 600);
        let expected = match content.len() {
            0..=2000 => Some(&Told::MessageEnd(content.into_bytes())),
            _ => None,
        };
        prop_assert_eq!(told.iter().find(|told| matches!(told, Told::MessageEnd(_))), expected);
    }
}
