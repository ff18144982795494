//! What is said to a next hop, and what becomes of each recipient.

use prixfixe_delivery::{NextHop, Target};
use prixfixe_server::{
    BodyType, Envelope, Mail, MailParameters, Message, Notify, RcptParameters, Recipient, Ret,
};

use crate::scripted::{
    Do, HELLO, Scripted, client, content, envelope, envelope_to, hear, hello, is_down, open,
    options, relay, say, send,
};

/// What was heard, the `Received` header's changing parts left out.
fn without_trace(heard: &str) -> String {
    let mut lines = Vec::new();
    let mut in_trace = false;
    for line in heard.split_inclusive("\r\n") {
        in_trace = line.starts_with("Received: ") || in_trace && line.starts_with('\t');
        if line.starts_with("Received: from client.example ([192.0.2.1])") {
            lines.push("Received…\r\n");
        }
        if !in_trace {
            lines.push(line);
        }
    }
    lines.concat()
}

#[tokio::test]
async fn a_message_goes_on_with_received_before_it_and_its_dots_stuffed() {
    let script = [hello(&["PIPELINING"]), vec![hear("MAIL"), hear("RCPT")]].concat();
    let replies = [say("250 ok"), say("250 ok")];
    let script = [script, replies.to_vec(), content("250 2.0.0 queued as 4F1")].concat();
    let server = Scripted::new(vec![script]).await;
    assert_eq!(
        send(&server.hop("smtp")).await,
        ["ok: 250 2.0.0 queued as 4F1"]
    );
    let heard = server.heard().await;
    assert_eq!(
        without_trace(&heard[0]),
        "EHLO mx.example.com\r\n\
         MAIL FROM:<ann@example.com>\r\n\
         RCPT TO:<bob@example.org>\r\n\
         DATA\r\n\
         Received…\r\n\
         Subject: hello\r\n\r\n..\r\nHow are you?\r\n.\r\n"
    );
    assert!(!heard[0].contains("Return-Path"), "{heard:?}");
}

#[tokio::test]
async fn a_message_goes_in_chunks_where_they_are_offered() {
    let script = [
        hello(&["CHUNKING"]),
        envelope(),
        vec![
            hear("BDAT "),
            hear("Received"),
            hear("\tby"),
            hear("\tfor"),
            hear("\t"),
        ],
        vec![Do::HearBytes(HELLO.len()), say("250 2.0.0 queued")],
    ]
    .concat();
    let server = Scripted::new(vec![script]).await;
    assert_eq!(send(&server.hop("smtp")).await, ["ok: 250 2.0.0 queued"]);
    let heard = server.heard().await;
    let (_, rest) = heard[0].split_once("BDAT ").unwrap();
    let (length, content) = rest.split_once(" LAST\r\n").unwrap();
    assert_eq!(length.parse(), Ok(content.len()));
    assert!(content.ends_with(HELLO), "{content}");
}

#[tokio::test]
async fn a_content_that_begins_like_a_continuation_stays_apart_from_our_header() {
    let script = [hello(&[]), envelope(), content("250 ok")].concat();
    let server = Scripted::new(vec![script]).await;
    let told = relay(
        &server.hop("smtp"),
        envelope_to(&["bob@example.org"]),
        &[" x\r\n"],
    )
    .await;
    assert_eq!(told, ["ok: 250 ok"]);
    let heard = without_trace(&server.heard().await[0]);
    assert!(heard.ends_with("Received…\r\n\r\n x\r\n.\r\n"), "{heard}");
}

#[tokio::test]
async fn each_recipient_of_lmtp_has_its_own_outcome() {
    let script = vec![
        say("220 lmtp"),
        hear("LHLO mx.example.com"),
        say("250-lmtp\r\n250 PIPELINING"),
        hear("MAIL"),
        hear("RCPT TO:<a@x.example>"),
        say("250 ok"),
        say("250 ok"),
        hear("RCPT TO:<nobody@x.example>"),
        say("550 5.1.1 no such user"),
        hear("RCPT TO:<full@x.example>"),
        say("250 ok"),
        hear("RCPT TO:<gone@x.example>"),
        say("250 ok"),
        hear("DATA"),
        say("354 go on"),
        Do::HearContent,
        say("250 2.0.0 saved"),
        say("452 4.2.2 over quota"),
        say("550 5.2.1 gone"),
    ];
    let server = Scripted::new(vec![script]).await;
    let hop = server.hop("lmtp");
    let to = [
        "a@x.example",
        "nobody@x.example",
        "full@x.example",
        "gone@x.example",
    ];
    assert_eq!(
        relay(&hop, envelope_to(&to), &[HELLO]).await,
        [
            "rcpt: 550 5.1.1 no such user | the server said 550 5.1.1 no such user",
            "ok: 250 2.0.0 saved",
            "end: 452 4.2.2 over quota | the server said 452 4.2.2 over quota",
            "end: 550 5.2.1 gone | the server said 550 5.2.1 gone",
        ]
    );
    assert!(!is_down(&hop));
}

#[tokio::test]
async fn a_connection_that_is_lost_among_the_answers_leaves_the_rest_unknown() {
    let script = vec![
        say("220 lmtp"),
        hear("LHLO"),
        say("250 lmtp"),
        hear("MAIL"),
        say("250 ok"),
        hear("RCPT"),
        say("250 ok"),
        hear("RCPT"),
        say("250 ok"),
        hear("DATA"),
        say("354 go on"),
        Do::HearContent,
        say("250 2.0.0 saved"),
    ];
    let server = Scripted::new(vec![script]).await;
    let hop = server.hop("lmtp");
    let told = relay(&hop, envelope_to(&["a@x.example", "b@x.example"]), &[HELLO]).await;
    assert_eq!(told[0], "ok: 250 2.0.0 saved");
    assert!(told[1].starts_with("end: 451 4.4.1"), "{told:?}");
    assert!(told[1].contains("(unknown)"), "{told:?}");
    assert!(is_down(&hop));
}

fn full_envelope() -> Envelope {
    let mut parameters = MailParameters::default();
    parameters.size = Some(1000);
    parameters.body = BodyType::EightBitMime;
    parameters.ret = Some(Ret::Headers);
    parameters.envid = Some("a+b".into());
    let mut wanted = RcptParameters::default();
    wanted.notify = Some(Notify::NEVER);
    wanted.orcpt = "rfc822;first@example.org".parse().ok();
    let bob = Recipient::new("bob@example.org".parse().unwrap()).with_parameters(wanted);
    let builder = Envelope::builder().from("ann@example.com").unwrap();
    builder.parameters(parameters).recipient(bob).build()
}

#[tokio::test]
async fn parameters_go_on_where_they_are_offered() {
    for (extensions, mail, rcpt) in [
        (
            &["SIZE", "8BITMIME", "DSN"][..],
            "MAIL FROM:<ann@example.com> BODY=8BITMIME SIZE=1512 RET=HDRS ENVID=a+2Bb\r\n",
            "RCPT TO:<bob@example.org> NOTIFY=NEVER",
        ),
        (
            &[],
            "MAIL FROM:<ann@example.com>\r\n",
            "RCPT TO:<bob@example.org>\r\n",
        ),
    ] {
        let script = [hello(extensions), envelope(), content("250 ok")].concat();
        let server = Scripted::new(vec![script]).await;
        let told = relay(&server.hop("smtp"), full_envelope(), &[HELLO]).await;
        assert_eq!(told, ["ok: 250 ok"]);
        let heard = server.heard().await;
        assert!(heard[0].contains(mail), "{heard:?}");
        assert!(heard[0].contains(rcpt), "{heard:?}");
    }
}

fn utf8_envelope(from: &str, to: &str) -> Envelope {
    let mut parameters = MailParameters::default();
    parameters.smtputf8 = true;
    let builder = Envelope::builder().from(from).unwrap();
    builder.parameters(parameters).to(to).unwrap().build()
}

#[tokio::test]
async fn an_address_that_needs_smtputf8_goes_where_it_is_offered() {
    let (ann, bob) = ("ann@example.com", "bob@example.org");
    let (joerg, juergen) = ("j\u{f6}rg@example.com", "j\u{fc}rgen@example.org");
    for (from, to) in [(joerg, bob), (ann, juergen)] {
        let server = Scripted::new(vec![[hello(&[]), vec![Do::Hang]].concat()]).await;
        let hop = server.hop("smtp");
        let told = relay(&hop, utf8_envelope(from, to), &[HELLO]).await;
        assert!(told[0].starts_with("rcpt: 553 5.6.7 "), "{told:?}");
        assert!(!is_down(&hop));
        drop(hop);
        assert!(!server.heard().await[0].contains("MAIL"));
    }
    for (extensions, from, to, mail) in [
        (
            &["SMTPUTF8"][..],
            joerg,
            bob,
            "MAIL FROM:<j\u{f6}rg@example.com> SMTPUTF8\r\n",
        ),
        (
            &["SMTPUTF8"],
            ann,
            juergen,
            "MAIL FROM:<ann@example.com> SMTPUTF8\r\n",
        ),
        (&[], ann, bob, "MAIL FROM:<ann@example.com>\r\n"),
    ] {
        let steps = [hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok")];
        let script = [hello(extensions), steps.to_vec(), content("250 ok")].concat();
        let server = Scripted::new(vec![script]).await;
        let told = relay(&server.hop("smtp"), utf8_envelope(from, to), &[HELLO]).await;
        assert_eq!(told, ["ok: 250 ok"]);
        let heard = server.heard().await;
        assert!(heard[0].contains(mail), "{heard:?}");
    }
}

#[tokio::test]
async fn eight_bit_content_goes_as_it_is_unless_that_is_refused() {
    let eight_bit = ["Subject: x\r\n\r\nf\u{fc}r\r\n"];
    let bob = || envelope_to(&["bob@example.org"]);
    for (extensions, strict, is_sent) in [
        (&[][..], false, true),
        (&["8BITMIME"], true, true),
        (&[], true, false),
    ] {
        let rest = match is_sent {
            true => content("250 ok"),
            false => vec![Do::Hang],
        };
        let script = [hello(extensions), envelope(), rest].concat();
        let server = Scripted::new(vec![script]).await;
        let mut options = options();
        options.strict_8bit = strict;
        let hop = open(&server.url("smtp"), options);
        let told = relay(&hop, bob(), &eight_bit).await;
        match is_sent {
            true => assert_eq!(told, ["ok: 250 ok"]),
            false => assert!(told[0].starts_with("end: 554 5.6.3 "), "{told:?}"),
        }
        assert!(!is_down(&hop));
        drop(hop);
        assert!(!server.heard().await[0].contains("BODY="));
    }
}

#[tokio::test]
async fn bare_line_ends_do_not_go_on() {
    let script = [
        hello(&[]),
        envelope(),
        vec![hear("DATA"), say("354 go on"), Do::Hang],
    ]
    .concat();
    let server = Scripted::new(vec![script]).await;
    let hop = server.hop("smtp");
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &["a\n.\nb\r\n"]).await;
    assert!(told[0].starts_with("end: 550 5.5.2 "), "{told:?}");
    assert!(!is_down(&hop));
}

#[tokio::test]
async fn a_content_that_breaks_off_is_not_handed_over() {
    let script = [hello(&[]), envelope(), vec![Do::Hang]].concat();
    let server = Scripted::new(vec![script]).await;
    let hop: NextHop = server.hop("smtp");
    let (client, envelope) = (client(), envelope_to(&["bob@example.org"]));
    let begun = hop.begin(Mail::new(&client, &envelope)).answer().await;
    let mut transaction = begun.unwrap();
    transaction
        .rcpt(&envelope.recipients()[0])
        .answer()
        .await
        .unwrap();
    let error = prixfixe_server::BodyError::Incomplete;
    let message = Message::broken(client, envelope, [HELLO], error);
    let outcomes = format!("{:?}", transaction.deliver(message).await);
    assert!(outcomes.contains("message incomplete"), "{outcomes}");
    assert!(!is_down(&hop));
    drop(hop);
    assert!(!server.heard().await[0].contains("DATA"));
}

/// RFC 9422: a client that goes beyond what was announced is refused, or worse.
#[tokio::test]
async fn more_recipients_than_the_next_hop_announces_are_for_another_transaction() {
    let named = |recipient: &str| vec![hear(&format!("RCPT TO:<{recipient}>")), say("250 ok")];
    let later = "rcpt: 452 4.5.3 Send this recipient in another transaction | ";
    for (limits, recipients, taken) in [
        (
            "LIMITS RCPTMAX=2",
            &["a@x.example", "b@x.example", "c@x.example"][..],
            &["a@x.example", "b@x.example"][..],
        ),
        (
            "LIMITS MAILMAX=5 RCPTDOMAINMAX=2",
            &["a@x.example", "b@y.example", "c@z.example", "d@X.example"],
            &["a@x.example", "b@y.example", "d@X.example"],
        ),
        (
            "LIMITS RCPTMAX=1 RCPTDOMAINMAX=0",
            &["a@x.example", "b@x.example"],
            &["a@x.example"],
        ),
    ] {
        let mut script = hello(&[limits]);
        script.extend([hear("MAIL"), say("250 ok")]);
        script.extend(taken.iter().flat_map(|recipient| named(recipient)));
        script.extend(content("250 taken"));
        let server = Scripted::new(vec![script]).await;
        let hop = server.hop("smtp");
        let told = relay(&hop, envelope_to(recipients), &[HELLO]).await;
        assert_eq!(told, [later, "ok: 250 taken"], "{limits}");
        assert!(!is_down(&hop));
        server.heard().await;
    }
}

/// An original address is for reports alone, and anybody may write what he likes into it.
#[tokio::test]
async fn an_original_recipient_goes_on_in_ascii_or_is_left_out() {
    let long = format!("utf-8;{}", "\u{e9}".repeat(100));
    for (original, said) in [
        (
            "rfc822;b+2Bob@example.org",
            " ORCPT=rfc822;b+2Bob@example.org\r\n",
        ),
        (
            "utf-8;b\u{fc}cher@example.org",
            " ORCPT=utf-8;b\\x{FC}cher@example.org\r\n",
        ),
        (&*long, "\r\n"),
    ] {
        let mut script = hello(&["DSN"]);
        script.extend(envelope());
        script.extend(content("250 ok"));
        let server = Scripted::new(vec![script]).await;
        let mut parameters = RcptParameters::default();
        parameters.orcpt = Some(original.parse().unwrap());
        let bob = Recipient::new("bob@example.org".parse().unwrap());
        let mail = Envelope::builder().from("ann@example.com").unwrap();
        let mail = mail.recipient(bob.with_parameters(parameters)).build();
        let told = relay(&server.hop("smtp"), mail, &[HELLO]).await;
        assert_eq!(told, ["ok: 250 ok"], "{original}");
        let heard = server.heard().await.concat();
        let expected = format!("RCPT TO:<bob@example.org>{said}");
        assert!(heard.contains(&expected), "{heard}\n{expected}");
    }
}
