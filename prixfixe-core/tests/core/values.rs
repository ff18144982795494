//! Values that a program keeps, shows, and reads again: addresses, paths, replies, events.

use std::collections::HashSet;
use std::str::FromStr;

use prixfixe_core::reply;
use prixfixe_core::{
    Abort, EnhancedCode, Event, ForwardPath, InvalidMailbox, MailParameters, Mailbox,
    RcptParameters, Reply, ReversePath,
};
use prixfixe_dialogue::Settings;
use proptest::prelude::*;

use crate::server::{Server, Told};

const MAILBOXES: &[(&str, &str, &str)] = &[
    ("a@b", "a", "b"),
    ("\"a@b c\"@example.com", "\"a@b c\"", "example.com"),
    ("a.b+c@[192.0.2.1]", "a.b+c", "[192.0.2.1]"),
    ("j\u{f6}rg@\u{e4}.example", "j\u{f6}rg", "\u{e4}.example"),
    (".a..b.@Example.com", ".a..b.", "Example.com"),
];
const NO_MAILBOXES: &[&str] = &[
    "@", "a@", "@b", "a", "a@b ", " a@b", "<a@b>", "a@b\r\n", "a b@c", "a@b@c", "a@[1]",
];

#[test]
fn a_mailbox_is_read_taken_apart_and_shown() {
    for &(address, local_part, domain) in MAILBOXES {
        let borrowed = Mailbox::<&str>::try_from(address).unwrap();
        let owned: Mailbox = address.parse().unwrap();
        assert_eq!(owned, borrowed.to_owned());
        assert_eq!(owned.as_str(), address);
        assert_eq!(owned, borrowed);
        for mailbox in [owned.clone(), borrowed.to_owned()] {
            assert_eq!(mailbox.local_part(), local_part);
            assert_eq!(mailbox.domain().as_str(), domain);
        }
        assert_eq!(owned.to_string(), address);
    }
    for address in NO_MAILBOXES.iter().chain(&[""]) {
        assert_eq!(Mailbox::<&str>::try_from(*address), Err(InvalidMailbox));
        assert_eq!(
            Mailbox::from_str(address),
            Err(InvalidMailbox),
            "{address:?}"
        );
    }
    assert_eq!(InvalidMailbox.to_string(), "not a mail address");
}

#[test]
fn mailboxes_are_equal_if_their_domains_are_and_their_local_parts_are_the_same() {
    let parse = |address: &str| Mailbox::from_str(address).unwrap();
    let seen: HashSet<Mailbox> = ["a@Example.com", "j\u{f6}rg@b\u{fc}cher.example"]
        .map(parse)
        .into();
    for same in [
        "a@example.COM",
        "a@example.com.",
        "j\u{f6}rg@xn--bcher-kva.example",
        "j\u{f6}rg@bu\u{308}cher.example",
    ] {
        assert!(seen.contains(&parse(same)), "{same}");
    }
    for other in [
        "A@example.com",
        "\"a\"@example.com",
        "jo\u{308}rg@b\u{fc}cher.example",
        "a@example.org",
    ] {
        assert!(!seen.contains(&parse(other)), "{other}");
    }
    assert_eq!(parse("a@b.").as_str(), "a@b");
    let path = |address: &str| ForwardPath::from_str(address).unwrap();
    assert_eq!(path("a@B"), path("a@b"));
    assert_ne!(path("postmaster"), path("postmaster@b"));
    let sender = |address: &str| ReversePath::from_str(address).unwrap();
    assert_eq!(sender("a@B"), sender("a@b"));
    assert_ne!(sender(""), sender("a@b"));
}

#[test]
fn a_path_is_what_it_shows() {
    for &(address, ..) in MAILBOXES {
        let sender: ReversePath = address.parse().unwrap();
        let recipient: ForwardPath = address.parse().unwrap();
        assert_eq!(sender.mailbox().unwrap().as_str(), address);
        assert_eq!(recipient.mailbox().unwrap().as_str(), address);
        assert_eq!(
            (sender.to_string(), recipient.to_string()),
            (address.into(), address.into())
        );
        let borrowed = Mailbox::<&str>::try_from(address).unwrap();
        assert_eq!(ReversePath::Mailbox(borrowed).to_owned(), sender);
        assert_eq!(ForwardPath::Mailbox(borrowed).to_owned(), recipient);
    }
    for path in NO_MAILBOXES {
        assert_eq!(ReversePath::from_str(path), Err(InvalidMailbox), "{path:?}");
        assert_eq!(ForwardPath::from_str(path), Err(InvalidMailbox), "{path:?}");
    }
}

#[test]
fn the_paths_without_a_mailbox() {
    let null: ReversePath = "".parse().unwrap();
    assert_eq!(null, ReversePath::<&str>::Null.to_owned());
    assert_eq!((null.mailbox(), null.to_string()), (None, String::new()));
    assert_eq!(ForwardPath::from_str(""), Err(InvalidMailbox));
    for postmaster in ["postmaster", "PostMaster"] {
        let path: ForwardPath = postmaster.parse().unwrap();
        assert_eq!(path, ForwardPath::<&str>::Postmaster.to_owned());
        assert_eq!(
            (path.mailbox(), path.to_string()),
            (None, "postmaster".into())
        );
    }
    assert_eq!(ReversePath::from_str("postmaster"), Err(InvalidMailbox));
}

#[test]
fn a_reply_gives_back_what_it_was_made_of() {
    let classes = |reply: &Reply| {
        [
            reply.is_positive(),
            reply.is_transient(),
            reply.is_permanent(),
        ]
    };
    for (code, class, expected) in [
        (250, 2, [true, false, false]),
        (421, 4, [false, true, false]),
        (554, 5, [false, false, true]),
    ] {
        let enhanced = EnhancedCode(class, 7, 1);
        let reply = Reply::new(code, enhanced, "one\ntwo").unwrap();
        assert_eq!((reply.code(), reply.enhanced()), (code, enhanced));
        assert_eq!(reply.text(), "one\ntwo");
        assert_eq!(reply.to_string(), format!("{code} {class}.7.1 one two"));
        assert_eq!(classes(&reply), expected);
    }
    assert_eq!(
        Reply::new(250, EnhancedCode(5, 0, 0), "")
            .unwrap_err()
            .to_string(),
        "the enhanced status code 5.0.0 does not go with the code 250"
    );
    assert_eq!(
        Reply::new(354, EnhancedCode(3, 0, 0), "")
            .unwrap_err()
            .to_string(),
        "354 is not a reply code: use 200 to 299 or 400 to 599"
    );
}

#[test]
fn the_macro_makes_the_reply_that_it_shows() {
    assert_eq!(
        reply!(550 5.7.26 "DMARC"),
        Reply::new(550, EnhancedCode(5, 7, 26), "DMARC").unwrap()
    );
    // Neither number is rounded as the decimal fraction that it looks like.
    assert_eq!(
        reply!(250 2.10.100 "x").enhanced(),
        EnhancedCode(2, 10, 100)
    );
}

#[test]
fn a_code_that_contradicts_itself_does_not_become_a_constant() {
    for (code, enhanced) in [
        (0, EnhancedCode(0, 0, 0)),
        (354, EnhancedCode(3, 0, 0)),
        (450, EnhancedCode(5, 1, 1)),
        (550, EnhancedCode(5, 1000, 0)),
    ] {
        let made = std::panic::catch_unwind(|| Reply::from_static(code, enhanced, "x"));
        assert!(made.is_err(), "{code} {enhanced}");
    }
    for text in [
        "", "5", "5.1", "5.1.", ".1.1", "5..1", "5.1.1.1", "5.1.1234", "10.0.0", "5.x.1",
    ] {
        let made = std::panic::catch_unwind(|| EnhancedCode::from_static(text));
        assert!(made.is_err(), "{text}");
    }
}

#[test]
fn every_event_shows_what_it_tells_and_nothing_of_the_content() {
    let mailbox = Mailbox::<&str>::try_from("a@b").unwrap();
    let reply = Reply::permanent("No");
    let cases = [
        (
            Event::Hello {
                name: "c",
                extended: false,
            },
            r#"Hello { name: "c", extended: false }"#.to_owned(),
        ),
        (
            Event::Mail {
                reverse_path: ReversePath::Null,
                parameters: MailParameters::default(),
            },
            "Mail { reverse_path: Null, parameters: MailParameters { size: None, body: SevenBit, smtputf8: false, ret: None, envid: None, requiretls: false, mt_priority: None } }"
                .to_owned(),
        ),
        (
            Event::Rcpt {
                forward_path: ForwardPath::Mailbox(mailbox),
                parameters: RcptParameters::default(),
            },
            r#"Rcpt { forward_path: Mailbox(Mailbox { address: "a@b", at: 1 }), parameters: RcptParameters { notify: None, orcpt: None } }"#
                .to_owned(),
        ),
        (Event::Data, "Data".to_owned()),
        (
            Event::Command {
                verb: "XYZZY",
                argument: "1",
            },
            r#"Command { verb: "XYZZY", argument: "1" }"#.to_owned(),
        ),
        (Event::Body(b"secret"), "Body(6 octets)".to_owned()),
        (Event::MessageEnd { size: 6 }, "MessageEnd { size: 6 }".to_owned()),
        (
            Event::MessageAborted(Abort::Timeout),
            "MessageAborted(Timeout)".to_owned(),
        ),
        (Event::Reset, "Reset".to_owned()),
        (
            Event::CommandRefused {
                line: b"secret",
                reply: reply.clone(),
            },
            format!("CommandRefused {{ line: 6 octets, reply: {reply:?} }}"),
        ),
        (Event::StartTls, "StartTls".to_owned()),
    ];
    for (event, shown) in cases {
        assert_eq!(format!("{event:?}"), shown);
    }
}

proptest! {
    /// What is taken, however lenient that is, stands in headers and in other servers' dialogues.
    #[test]
    fn an_address_reads_back_as_itself_and_can_be_sent_on(
        local_part in "[a-c.+]{1,9}|\"[a-c \\\\\\\\.@<>]{0,9}\"|[a-c\u{e4}.]{250,256}|\\PC{1,5}",
        domain in "[a-cA-C]{1,5}(\\.[a-c-]{1,5}){0,2}\\.?|\\[[0-9.:a-fIPv]{1,15}\\]|\\PC{1,5}",
    ) {
        let written = format!("{local_part}@{domain}");
        let Ok(mailbox) = written.parse::<Mailbox>() else {
            return Ok(());
        };
        let printed = mailbox.to_string();
        let again: Mailbox = printed.parse().unwrap();
        prop_assert_eq!(&again, &mailbox);
        prop_assert_eq!(again.as_str(), printed.as_str());
        prop_assert!(!printed.contains(char::is_control) && !printed.ends_with('.'));

        let mut server = Server::new(&Settings::default());
        let dialogue = format!("EHLO c\r\nMAIL FROM:<{printed}> SMTPUTF8\r\nRCPT TO:<{printed}>\r\n");
        server.receive(dialogue.as_bytes());
        let expected = [Told::Mail(printed.clone()), Told::Rcpt(printed)];
        prop_assert_eq!(server.told.get(1..), Some(&expected[..]));
    }
}
