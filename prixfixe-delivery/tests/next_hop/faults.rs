//! A next hop that is away, slow, lying or broken.

use std::time::Duration;

use prixfixe_delivery::Target;
use tokio::task::JoinSet;

use crate::scripted::{
    Do, Scripted, content, envelope, hear, hello, is_down, open, options, say, send,
};

/// What the next hop does, what the client is told, what the log says, and whether the target is
/// down then.
struct Case {
    name: &'static str,
    script: Vec<Do>,
    told: &'static str,
    log: &'static str,
    down: bool,
}

fn ours(name: &'static str, script: Vec<Do>, at: &'static str, log: &'static str) -> Case {
    let told = match at {
        "rcpt" => "rcpt: 451 4.4.1 Delivery is not possible now, try again later |",
        "unknown" => "end: 451 4.4.1 Delivery is not possible now, try again later (unknown) |",
        _ => "end: 451 4.4.1 Delivery is not possible now, try again later |",
    };
    Case {
        name,
        script,
        told,
        log,
        down: true,
    }
}

fn theirs(name: &'static str, script: Vec<Do>, told: &'static str) -> Case {
    Case {
        name,
        script,
        told,
        log: "the server said",
        down: false,
    }
}

/// After EHLO, with PIPELINING and without.
fn after_hello(steps: &[Do]) -> Vec<Do> {
    [hello(&["PIPELINING"]), steps.to_vec()].concat()
}

fn after_envelope(steps: &[Do]) -> Vec<Do> {
    [hello(&[]), envelope(), steps.to_vec()].concat()
}

fn after_content(steps: &[Do]) -> Vec<Do> {
    let data = [hear("DATA"), say("354 go on"), Do::HearContent];
    after_envelope(&[&data, steps].concat())
}

async fn try_all(cases: Vec<Case>) {
    let mut tasks = JoinSet::new();
    for case in cases {
        tasks.spawn(async move {
            let server = Scripted::new(vec![case.script]).await;
            let hop = server.hop("smtp");
            let told = send(&hop).await;
            let name = case.name;
            assert_eq!(told.len(), 1, "{name}: {told:?}");
            assert!(told[0].starts_with(case.told), "{name}: {told:?}");
            assert!(told[0].contains(case.log), "{name}: {told:?}");
            assert_eq!(is_down(&hop), case.down, "{name}: {told:?}");
            drop(hop);
            server.heard().await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_next_hop_that_does_not_come_to_the_mail_is_down() {
    try_all(vec![
        ours(
            "never answers",
            vec![Do::Hang],
            "rcpt",
            "taken too long, waiting for the greeting",
        ),
        ours(
            "half a line",
            vec![Do::Bytes(b"220 mx".to_vec()), Do::Hang],
            "rcpt",
            "taken too long",
        ),
        ours("closes at once", vec![], "rcpt", "closed the connection"),
        ours(
            "a line without end",
            vec![Do::Flood("2")],
            "rcpt",
            "a line that is too long",
        ),
        ours(
            "a reply without end",
            vec![Do::Flood("220-again\r\n")],
            "rcpt",
            "too many lines",
        ),
        ours(
            "another protocol",
            vec![say("SSH-2.0-OpenSSH_9")],
            "rcpt",
            "SSH-2.0-OpenSSH_9",
        ),
        ours(
            "nothing",
            vec![Do::Bytes(vec![0; 64])],
            "rcpt",
            "closed the connection",
        ),
        ours(
            "554 greeting",
            vec![say("554 5.7.1 who are you")],
            "rcpt",
            "refuses this server",
        ),
        ours(
            "421 greeting",
            vec![say("421 4.3.2 too busy")],
            "rcpt",
            "421 4.3.2 too busy",
        ),
        ours(
            "421 EHLO",
            vec![say("220 x"), hear("EHLO mx.example.com"), say("421 no")],
            "rcpt",
            "421 no",
        ),
        ours(
            "550 EHLO",
            vec![
                say("220 x"),
                hear("EHLO"),
                say("550 no"),
                hear("HELO"),
                say("550 no"),
            ],
            "rcpt",
            "refuses this server",
        ),
        ours(
            "closes at EHLO",
            vec![say("220 x"), hear("EHLO")],
            "rcpt",
            "closed the connection, at EHLO",
        ),
        ours(
            "never answers EHLO",
            vec![say("220 x"), hear("EHLO"), Do::Hang],
            "rcpt",
            "taken too long, at EHLO",
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_envelope_is_judged_there_or_is_our_matter() {
    let mail = |reply: &str| {
        after_hello(&[
            hear("MAIL"),
            hear("RCPT"),
            say(reply),
            say("503 what"),
            Do::Hang,
        ])
    };
    let rcpt = |reply: &str| {
        after_hello(&[
            hear("MAIL"),
            hear("RCPT"),
            say("250 ok"),
            say(reply),
            Do::Hang,
        ])
    };
    try_all(vec![
        theirs("452 MAIL", mail("452 4.3.1 full"), "rcpt: 452 4.3.1 full |"),
        theirs(
            "550 MAIL",
            mail("550 5.7.1 no you"),
            "rcpt: 550 5.7.1 no you |",
        ),
        theirs(
            "554 MAIL",
            mail("554 no enhanced code"),
            "rcpt: 554 5.0.0 no enhanced code |",
        ),
        ours(
            "451 MAIL",
            mail("451 4.3.0 later"),
            "rcpt",
            "451 4.3.0 later",
        ),
        ours(
            "530 MAIL",
            mail("530 5.7.0 Authentication required"),
            "rcpt",
            "write username and password-file",
        ),
        ours(
            "530 MAIL for TLS",
            mail("530 5.7.0 Must issue a STARTTLS command first"),
            "rcpt",
            "write tls = ",
        ),
        ours(
            "555 MAIL",
            mail("555 5.5.4 SIZE?"),
            "rcpt",
            "does not understand",
        ),
        ours(
            "421 MAIL",
            mail("421 4.7.0 slow down"),
            "rcpt",
            "421 4.7.0 slow down",
        ),
        ours("354 MAIL", mail("354 what"), "rcpt", "makes no sense here"),
        theirs(
            "450 RCPT",
            rcpt("450 4.2.1 greylisted"),
            "rcpt: 450 4.2.1 greylisted |",
        ),
        theirs(
            "550 RCPT",
            rcpt("550 5.1.1 no such user"),
            "rcpt: 550 5.1.1 no such user |",
        ),
        theirs(
            "452 RCPT",
            rcpt("452-4.2.2 over\r\n452 4.2.2 quota"),
            "rcpt: 452 4.2.2 over quota |",
        ),
        theirs(
            "control characters",
            rcpt("550 5.1.1 \u{1b}[31mno\u{7f}\u{e4}"),
            "rcpt: 550 5.1.1 ?[31mno?? |",
        ),
        theirs("no text", rcpt("550"), "rcpt: 550 5.0.0 refused |"),
        theirs(
            "another class",
            rcpt("550 4.1.1 no"),
            "rcpt: 550 5.0.0 4.1.1 no |",
        ),
        ours(
            "454 RCPT",
            rcpt("454 4.7.1 relay access denied"),
            "rcpt",
            "454 4.7.1",
        ),
        ours("503 RCPT", rcpt("503 5.5.1 what"), "rcpt", "503 5.5.1"),
        ours("421 RCPT", rcpt("421 bye"), "rcpt", "421 bye"),
        ours(
            "closes at MAIL",
            after_hello(&[hear("MAIL"), hear("RCPT")]),
            "rcpt",
            "closed the connection, at MAIL",
        ),
        ours(
            "never answers MAIL",
            after_hello(&[hear("MAIL"), Do::Hang]),
            "rcpt",
            "taken too long, at MAIL",
        ),
        ours(
            "never answers RCPT",
            after_hello(&[hear("MAIL"), say("250 ok"), Do::Hang]),
            "rcpt",
            "at RCPT",
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_content_is_judged_there_or_is_our_matter() {
    let data = |reply: &str| after_envelope(&[hear("DATA"), say(reply), Do::Hang]);
    let end = |reply: &str| after_content(&[say(reply), Do::Hang]);
    try_all(vec![
        theirs(
            "554 DATA",
            data("554 5.7.1 not today"),
            "end: 554 5.7.1 not today |",
        ),
        theirs(
            "451 DATA",
            data("451 4.3.0 later"),
            "end: 451 4.3.0 later |",
        ),
        ours("421 DATA", data("421 bye"), "end", "421 bye"),
        ours("502 DATA", data("502 what"), "end", "does not understand"),
        ours("250 DATA", data("250 ok"), "end", "makes no sense here"),
        theirs(
            "552 end",
            end("552 5.3.4 too big"),
            "end: 552 5.3.4 too big |",
        ),
        theirs(
            "450 end",
            end("450 4.7.0 greylisted"),
            "end: 450 4.7.0 greylisted |",
        ),
        ours(
            "421 end",
            end("421 4.3.2 going down"),
            "end",
            "421 4.3.2 going down",
        ),
        ours("500 end", end("500 what"), "end", "does not understand"),
        ours("354 end", end("354 more"), "unknown", "makes no sense here"),
        ours(
            "closes after the end",
            after_content(&[]),
            "unknown",
            "closed the connection",
        ),
        ours(
            "half a verdict",
            after_content(&[Do::Bytes(b"250 2.".to_vec())]),
            "unknown",
            "closed",
        ),
        ours(
            "never a verdict",
            after_content(&[Do::Hang]),
            "unknown",
            "taken too long, at the content",
        ),
        ours(
            "a late verdict",
            after_content(&[Do::Wait(Duration::from_secs(4)), say("250 ok"), Do::Hang]),
            "unknown",
            "taken too long",
        ),
        ours(
            "closes at DATA",
            after_envelope(&[hear("DATA")]),
            "end",
            "closed the connection, at DATA",
        ),
        ours(
            "closes in the content",
            after_envelope(&[hear("DATA"), say("354 go on"), hear("Received")]),
            "unknown",
            "",
        ),
    ])
    .await;
}

#[tokio::test]
async fn tls_that_ends_in_the_middle_is_our_matter() {
    use prixfixe_delivery::TlsUse;
    let starttls = |after: &[Do]| {
        let steps = [hear("STARTTLS"), say("220 go on")];
        [hello(&["STARTTLS"]), steps.to_vec(), after.to_vec()].concat()
    };
    // A TLS record that announces more than comes.
    let half = Do::Bytes(b"\x16\x03\x03\x00\x50half".to_vec());
    for (script, log) in [
        (starttls(&[]), "TLS with smtp:127.0.0.1:"),
        (
            starttls(&[Do::HearBytes(5), half]),
            "TLS with smtp:127.0.0.1:",
        ),
        (
            starttls(&[Do::HearBytes(5), say("250 hello?")]),
            "TLS with smtp:127.0.0.1:",
        ),
        (starttls(&[Do::Hang]), "the server has taken too long"),
        (
            [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("454 no")]].concat(),
            "its TLS is broken",
        ),
        (hello(&["PIPELINING"]), "does not offer StartTls"),
    ] {
        let server = Scripted::new(vec![script]).await;
        let mut options = options();
        options.tls = Some(TlsUse::Require);
        let told = send(&open(&server.url("smtp"), options)).await;
        assert!(told[0].starts_with("rcpt: 451 4.4.1"), "{told:?}");
        assert!(told[0].contains(log), "{log}: {told:?}");
    }
}

#[tokio::test]
async fn tls_that_cannot_be_had_is_left_out_where_it_need_not_be() {
    let broken = [
        hello(&["STARTTLS"]),
        vec![hear("STARTTLS"), say("220 go on")],
    ]
    .concat();
    let plain = [hello(&["STARTTLS"]), envelope(), content("250 ok")].concat();
    let server = Scripted::new(vec![broken, plain]).await;
    assert_eq!(send(&server.hop("smtp")).await, ["ok: 250 ok"]);
    server.heard().await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_down_and_says_why() {
    let gone = prixfixe_test_support::unused_port([127, 0, 0, 1]).unwrap();
    for (url, log) in [
        (
            format!("smtp:127.0.0.1:{gone}"),
            "cannot connect to 127.0.0.1:",
        ),
        (
            "smtp:host.invalid:25".to_owned(),
            "host.invalid cannot be looked up",
        ),
        (
            "lmtp:/nonexistent/lmtp".to_owned(),
            "cannot connect to /nonexistent/lmtp",
        ),
    ] {
        let hop = open(&url, options());
        let told = send(&hop).await;
        assert!(told[0].starts_with("rcpt: 451 4.4.1"), "{told:?}");
        assert!(told[0].contains(log), "{told:?}");
        assert!(is_down(&hop));
        let fault = hop.health().fault().unwrap().to_string();
        assert!(fault.contains("cannot deliver to relay"), "{fault}");
    }
}
