//! What the client says to scripted servers, and what it makes of their answers.

mod script;

use self::script::Script;
use super::*;

const GREETING: &str = "220 mx ESMTP\r\n";
const PIPELINING: &str = "250-mx\r\n250-SIZE 1000\r\n250-CHUNKING\r\n250 PIPELINING\r\n";
const PLAIN: &str = "250-mx\r\n250 CHUNKING\r\n";

fn chunked() -> Script {
    Script {
        chunk: Some(3),
        ..Script::default()
    }
}

fn refused(stage: Stage, reply: &str) -> Failure {
    let code = reply[..3].parse().unwrap();
    Failure {
        stage,
        kind: Kind::Reply(code),
        detail: reply.to_owned(),
    }
}

#[test]
fn without_pipelining_every_command_waits() {
    let (said, events) = Script {
        recipients: 2,
        ..Script::default()
    }
    .run(&[
        GREETING,
        PLAIN,
        "250 ok\r\n",
        "250 ok\r\n",
        "251 ok\r\n",
        "354 go\r\n",
        "250 taken\r\n",
        "221 bye\r\n",
    ]);
    assert_eq!(
        said,
        [
            "EHLO client.example\r\n",
            "MAIL FROM:<a@x>\r\n",
            "RCPT TO:<b0@x>\r\n",
            "RCPT TO:<b1@x>\r\n",
            "DATA\r\n",
            "..hi\r\n.\r\n",
            "QUIT\r\n",
            "",
        ]
    );
    assert_eq!(
        events,
        [
            Event::Greeted,
            Event::Ready,
            Event::Accepted,
            Event::Ready,
            Event::Goodbye
        ]
    );
}

#[test]
fn the_envelope_leaves_at_once_where_pipelining_is_offered() {
    let (said, events) = Script::default().run(&[
        GREETING,
        PIPELINING,
        "250 ok\r\n250 ok\r\n354 go\r\n",
        "250 taken\r\n",
        "221 bye\r\n",
    ]);
    assert_eq!(
        said[1],
        "MAIL FROM:<a@x> SIZE=5\r\nRCPT TO:<b0@x>\r\nDATA\r\n"
    );
    assert_eq!(said[2], "..hi\r\n.\r\n");
    assert_eq!(said[3], "QUIT\r\n");
    assert_eq!(
        events,
        [
            Event::Greeted,
            Event::Ready,
            Event::Accepted,
            Event::Ready,
            Event::Goodbye
        ]
    );
}

#[test]
fn full_pipelining_sends_the_next_envelope_behind_the_content() {
    let (said, events) = Script {
        pipelining: Pipelining::Full,
        messages: 2,
        ..Script::default()
    }
    .run(&[
        GREETING,
        PIPELINING,
        "250 ok\r\n250 ok\r\n354 go\r\n",
        "250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        "250 taken\r\n221 bye\r\n",
    ]);
    assert_eq!(
        said[2],
        "..hi\r\n.\r\nMAIL FROM:<a@x> SIZE=5\r\nRCPT TO:<b0@x>\r\nDATA\r\n"
    );
    assert_eq!(said[3], "..hi\r\n.\r\nQUIT\r\n");
    let told = [
        Event::Greeted,
        Event::Ready,
        Event::MayFollow,
        Event::Accepted,
        Event::MayFollow,
        Event::Accepted,
        Event::Goodbye,
    ];
    assert_eq!(events, told);
}

#[test]
fn bdat_leaves_with_its_envelope_or_chunk_by_chunk() {
    let (said, events) =
        chunked().run(&[GREETING, PIPELINING, "250 a\r\n250 b\r\n250 c\r\n250 d\r\n"]);
    assert_eq!(
        said[1],
        "MAIL FROM:<a@x> SIZE=5\r\nRCPT TO:<b0@x>\r\nBDAT 3\r\n.hiBDAT 2 LAST\r\n\r\n"
    );
    assert_eq!(
        events,
        [Event::Greeted, Event::Ready, Event::Accepted, Event::Ready]
    );
    let (said, events) = chunked().run(&[
        GREETING,
        PLAIN,
        "250 a\r\n",
        "250 b\r\n",
        "250 c\r\n",
        "250 d\r\n",
    ]);
    assert_eq!(
        said[2..],
        [
            "RCPT TO:<b0@x>\r\n",
            "BDAT 3\r\n.hi",
            "BDAT 2 LAST\r\n\r\n",
            "QUIT\r\n"
        ]
    );
    assert_eq!(
        events,
        [Event::Greeted, Event::Ready, Event::Accepted, Event::Ready]
    );
}

#[test]
fn a_refusal_at_each_stage_fails_the_message_and_the_next_goes_on() {
    let no = "550 5.7.1 no";
    let two = || Script {
        messages: 2,
        ..Script::default()
    };
    let envelope = "MAIL FROM:<a@x>\r\n";
    // MAIL: nothing is open.
    let (said, events) = two().run(&[GREETING, PLAIN, "550 5.7.1 no\r\n"]);
    assert_eq!(
        (said[2].as_str(), &events[2]),
        (envelope, &Event::Failed(refused(Stage::Mail, no)))
    );
    // RCPT, DATA: the transaction is open and must be reset.
    let (said, events) = two().run(&[
        GREETING,
        PLAIN,
        "250 ok\r\n",
        "550 5.7.1 no\r\n",
        "250 reset\r\n",
    ]);
    assert_eq!((said[3].as_str(), said[4].as_str()), ("RSET\r\n", envelope));
    assert_eq!(events[2], Event::Failed(refused(Stage::Rcpt, no)));
    let (said, events) = two().run(&[
        GREETING,
        PLAIN,
        "250 ok\r\n",
        "250 ok\r\n",
        "550 5.7.1 no\r\n",
        "250 reset\r\n",
    ]);
    assert_eq!((said[4].as_str(), said[5].as_str()), ("RSET\r\n", envelope));
    assert_eq!(events[2], Event::Failed(refused(Stage::Data, no)));
    // The content: the transaction is over.
    let (said, events) = two().run(&[
        GREETING,
        PLAIN,
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
        "550 5.7.1 no\r\n",
    ]);
    assert_eq!(said[5], envelope);
    assert_eq!(events[2], Event::Failed(refused(Stage::Content, no)));
}

#[test]
fn pipelined_refusals_are_read_to_the_last_reply() {
    let replies = "550 5.7.1 no\r\n503 no mail\r\n503 no rcpt\r\n";
    let (said, events) = Script {
        messages: 2,
        ..Script::default()
    }
    .run(&[GREETING, PIPELINING, replies]);
    assert_eq!(
        events[2],
        Event::Failed(refused(Stage::Mail, "550 5.7.1 no"))
    );
    // Where MAIL was refused nothing is open; where chunks were, something may be.
    assert!(said[2].starts_with("MAIL"));
    let replies = "250 ok\r\n250 ok\r\n503 no\r\n503 no\r\n";
    let script = Script {
        messages: 2,
        ..chunked()
    };
    let (said, events) = script.run(&[GREETING, PIPELINING, replies]);
    assert_eq!(events[2], Event::Failed(refused(Stage::Content, "503 no")));
    assert!(said[2].starts_with("RSET\r\nMAIL"));
}

#[test]
fn a_354_that_nobody_was_accepted_for_gets_an_empty_message() {
    let (said, events) = Script::default().run(&[
        GREETING,
        PIPELINING,
        "250 ok\r\n550 no\r\n354 go\r\n",
        "554 no recipients\r\n",
    ]);
    assert_eq!(said[2], ".\r\n");
    assert_eq!(
        events[2..],
        [Event::Failed(refused(Stage::Rcpt, "550 no")), Event::Ready]
    );
}

#[test]
fn one_recipient_of_several_refused_is_a_failure_though_the_rest_get_it() {
    let (said, events) = Script {
        recipients: 2,
        ..Script::default()
    }
    .run(&[
        GREETING,
        PIPELINING,
        "250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n354 go\r\n",
        "250 taken\r\n",
    ]);
    assert_eq!(said[2], "..hi\r\n.\r\n");
    assert_eq!(
        events[2],
        Event::Failed(refused(Stage::Rcpt, "452 4.5.3 too many"))
    );
}

#[test]
fn starttls_forgets_what_was_offered_in_clear() {
    let script = Script {
        starttls: true,
        ..Script::default()
    };
    let (said, events) = script.run(&[
        GREETING,
        "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
        "220 go\r\n",
        "250 mx\r\n",
    ]);
    assert_eq!(
        said,
        [
            "EHLO client.example\r\n",
            "STARTTLS\r\n",
            "EHLO client.example\r\n",
            "MAIL FROM:<a@x>\r\n"
        ]
    );
    assert_eq!(events, [Event::Greeted, Event::StartTls, Event::Ready]);
    let (_, events) = script.run(&[GREETING, PIPELINING]);
    assert_eq!(
        events[1],
        Event::Broken(Failure::with_detail(
            Stage::Ehlo,
            Kind::NotOffered,
            "STARTTLS"
        ))
    );
}

#[test]
fn an_old_server_is_greeted_with_helo() {
    let (said, events) = Script::default().run(&[GREETING, "500 what\r\n", "250 mx\r\n"]);
    assert_eq!(
        said,
        [
            "EHLO client.example\r\n",
            "HELO client.example\r\n",
            "MAIL FROM:<a@x>\r\n"
        ]
    );
    assert_eq!(events, [Event::Greeted, Event::Ready]);
}

#[test]
fn what_cannot_stand_where_it_stands_breaks_the_connection() {
    let cases: [(&[&str], Stage, Kind); 9] = [
        (&["554 no\r\n"], Stage::Greeting, Kind::Reply(554)),
        (&["354 what\r\n"], Stage::Greeting, Kind::Unexpected(354)),
        (
            &["HTTP/1.1 400 Bad Request\r\n"],
            Stage::Greeting,
            Kind::Garbage,
        ),
        (
            &[GREETING, "421 4.3.2 later\r\n"],
            Stage::Ehlo,
            Kind::Reply(421),
        ),
        (
            &[GREETING, PLAIN, "354 go\r\n"],
            Stage::Mail,
            Kind::Unexpected(354),
        ),
        (
            &[GREETING, PLAIN, "250 ok\r\n", "250 ok\r\n", "250 ok\r\n"],
            Stage::Data,
            Kind::Unexpected(250),
        ),
        (
            &[GREETING, PLAIN, "421 4.3.2 later\r\n"],
            Stage::Mail,
            Kind::Reply(421),
        ),
        // Three replies to two commands; the third comes before the content was sent.
        (
            &[
                GREETING,
                PIPELINING,
                "250 ok\r\n250 ok\r\n354 go\r\n250 early\r\n",
            ],
            Stage::Content,
            Kind::Unexpected(250),
        ),
        (
            &[
                GREETING,
                PIPELINING,
                "250 ok\r\n250 ok\r\n354 go\r\n552 big\r\n",
            ],
            Stage::Content,
            Kind::Reply(552),
        ),
    ];
    for (replies, stage, kind) in cases {
        let (_, events) = Script::default().run(replies);
        let Some(Event::Broken(failure)) = events.last() else {
            panic!("{replies:?}: {events:?}")
        };
        assert_eq!((failure.stage, failure.kind), (stage, kind), "{replies:?}");
    }
}

#[test]
fn the_end_of_the_connection_is_a_failure_but_after_quit() {
    let mut dialogue = Script::default().dialogue();
    assert_eq!(
        dialogue.receive_eof(),
        Event::Broken(Failure::new(Stage::Greeting, Kind::Closed))
    );
    let mut dialogue = Script::default().dialogue();
    let now = Instant::now();
    for reply in [GREETING, PLAIN] {
        let mut bytes = reply.as_bytes();
        while dialogue.next_event(now, &mut bytes).is_some() {}
        dialogue.advance(usize::MAX);
    }
    dialogue.quit(now);
    assert_eq!(dialogue.receive_eof(), Event::Done);
}
