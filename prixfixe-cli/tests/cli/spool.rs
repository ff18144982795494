//! Mail that waits in a spool, and what its operator sees and does: while the server runs, and
//! while it does not.

use std::fs;

use prixfixe_test_support::wait_until;
use rustix::process::Signal;

use crate::harness::{Client, Serve, prixfixe, run};
use crate::spooled::{Spooled, get, queue};

/// A spool in a directory.
fn spooling(transport: &str, more: &str) -> Spooled {
    Spooled::new(transport, more, "path = 'spool'\nretry = ['1h']")
}

fn send(serve: &Serve, recipients: &[&str], subject: &str) {
    let mut client = Client::greeted(serve);
    client.ask("EHLO client.example", "250");
    client.ask("MAIL FROM:<ann@example.com>", "250");
    for recipient in recipients {
        client.ask(&format!("RCPT TO:<{recipient}>"), "250");
    }
    client.ask("DATA", "354");
    client.send(&format!(
        "Date: now\r\nSubject: {subject}\r\n\r\nHi\r\n.\r\n"
    ));
    let reply = client.reply();
    assert!(reply.starts_with("250"), "{reply}");
}

fn an_operator_sees_what_waits_and_acts_on_it(transport: &str) {
    let spooling = spooling(transport, "");
    let serve = spooling.start();
    assert_eq!(spooling.done(&["list"]), "The spool is empty.\n");
    // Recipients of two routes go in one message, and one of them to two targets.
    send(&serve, &["bob@example.org", "cyd@example.com"], "first");
    wait_until("both had an attempt", || spooling.waits(1));
    wait_until("the other target has it", || spooling.kept().len() == 1);
    let list = spooling.list();
    let id = list[0]["id"].as_str().unwrap();
    let next = &list[0]["deliveries"].as_array().unwrap().iter();
    let next = next.clone().find(|it| it["target"] == "next").unwrap();
    assert_eq!(next["recipients"], serde_json::json!(["bob@example.org"]));
    assert_eq!(next["attempts"], 1);
    assert!(
        next["error"].as_str().unwrap().contains("refused"),
        "{next}"
    );

    let text = spooling.done(&["list"]);
    assert!(text.contains("ann@example.com"), "{text}");
    assert!(
        text.contains("    next: bob@example.org (waiting, 1 attempt, next in "),
        "{text}"
    );
    assert!(text.contains("\n1 message, "), "{text}");
    let text = spooling.done(&["show", id]);
    assert!(text.contains("sender    ann@example.com\n"), "{text}");
    let exported = spooling.done(&["export", id]);
    assert!(
        exported.ends_with("Subject: first\r\n\r\nHi\r\n"),
        "{exported}"
    );

    assert_eq!(spooling.done(&["hold", id]), "1 message\n");
    assert_eq!(spooling.list()[0]["state"], "held");
    let is_held = format!(": {id} is held: release it, and it is tried at once\n");
    let (status, _, stderr) = spooling.spool(&["retry", id]);
    assert!(status == 1 && stderr.ends_with(&is_held), "{stderr}");

    // Stopped, it is the same.
    serve.signal(Signal::TERM);
    assert!(serve.wait().0.success());
    assert!(!spooling.directory.join("spool/control").exists());
    assert_eq!(spooling.list()[0]["state"], "held");
    let (status, _, stderr) = spooling.spool(&["retry", id]);
    assert!(status == 1 && stderr.ends_with(&is_held), "{stderr}");
    assert_eq!(spooling.list()[0]["state"], "held");
    assert_eq!(spooling.done(&["show", id, "--json"]).lines().count(), 1);
    assert!(spooling.done(&["export", id]).ends_with("\r\n\r\nHi\r\n"));
    assert_eq!(spooling.done(&["release", id]), "1 message\n");
    assert_ne!(spooling.list()[0]["state"], "held");

    let receiver = spooling.next_hop(&[]);
    let serve = spooling.start();
    spooling.done(&["retry", "--all", "--target", "next"]);
    wait_until("the next hop has it", || receiver.messages().len() == 1);
    wait_until("nothing is left", || spooling.list().is_empty());
    assert_eq!(spooling.kept().len(), 1);
    drop(serve);
}

#[test]
fn an_operator_sees_what_waits_and_acts_on_it_over_tokio() {
    an_operator_sees_what_waits_and_acts_on_it("tokio");
}

#[test]
fn an_operator_sees_what_waits_and_acts_on_it_over_raw() {
    an_operator_sees_what_waits_and_acts_on_it("raw");
}

#[test]
fn messages_are_removed_for_good_and_mistakes_are_named() {
    let spooling = spooling("tokio", "");
    let serve = spooling.start();
    for subject in ["first", "second"] {
        send(&serve, &["bob@example.org"], subject);
    }
    wait_until("both wait", || spooling.waits(2));
    let list = spooling.list();
    let ids: Vec<&str> = list.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(spooling.done(&["remove", ids[0]]), "1 message\n");
    assert_eq!(spooling.list().len(), 1);
    for arguments in [
        ["show", ids[0]],
        ["remove", ids[0]],
        ["export", "../x"],
        ["hold", "99999-1"],
    ] {
        let (status, stdout, stderr) = spooling.spool(&arguments);
        assert_eq!(status, 1, "{arguments:?}: {stdout}");
        assert!(stderr.starts_with("prixfixe: spool "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    drop(serve);
    assert_eq!(spooling.done(&["remove", ids[1]]), "1 message\n");
    assert_eq!(spooling.done(&["list"]), "The spool is empty.\n");
    let _again = spooling.start();
    assert_eq!(spooling.done(&["list"]), "The spool is empty.\n");
}

#[test]
fn without_a_spool_there_is_nothing_to_look_into() {
    let (status, _, stderr) = run(&mut prixfixe(&["spool", "list"]));
    assert_eq!(status, 2, "{stderr}");
    let expected = "prixfixe: no spool is known; give that of the server with --spool, SMTP_SPOOL or --config\n";
    assert_eq!(stderr, expected);
}

/// Everything that a page, an alert and a probe is told.
#[test]
fn the_spool_is_in_metrics_status_and_readiness() {
    let spooling = spooling("tokio", "");
    let serve = spooling.start();
    send(&serve, &["bob@example.org"], "first");
    wait_until("it waits", || {
        spooling.list().iter().any(|it| it["state"] == "waiting")
    });
    let metrics = get(&serve, "/metrics");
    for line in [
        "smtp_spool_messages{state=\"ready\"} 0\n",
        "smtp_spool_messages{state=\"waiting\"} 1\n",
        "smtp_spool_messages{state=\"failed\"} 0\n",
        "smtp_spool_shared 0\n",
        "smtp_spool_target_messages{target=\"next\",state=\"waiting\"} 1\n",
        "smtp_spool_target_messages{target=\"keep\",state=\"ready\"} 0\n",
        "smtp_spool_target_oldest_age_seconds{target=\"keep\"} 0\n",
        "smtp_spool_given_up_total{target=\"next\"} 0\n",
        "smtp_bounces_total{result=\"sent\"} 0\n",
        "smtp_target_up{target=\"next\"} 0\n",
        "smtp_target_up{target=\"keep\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // A target that is down is no reason to refuse mail.
    let ready = get(&serve, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    let next = queue(&serve, "next");
    assert_eq!(next["waiting"], 1, "{next}");
    assert!(
        next["next_seconds"].as_u64().is_some_and(|it| it > 1800),
        "{next}"
    );
    assert!(next["error"].is_string(), "{next}");
}

#[test]
fn a_sender_that_logged_in_hears_that_its_mail_was_refused() {
    let spooling = spooling("tokio", "auth.mode = 'any'");
    let _receiver = spooling.next_hop(&["--accept-domain", "elsewhere.example"]);
    let serve = spooling.start();
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250");
    client.ask("AUTH PLAIN AGFubgBzZWNyZXQ=", "235");
    client.ask("MAIL FROM:<ann@example.com> RET=HDRS ENVID=QQ1", "250");
    client.ask(
        "RCPT TO:<bob@example.org> NOTIFY=FAILURE ORCPT=rfc822;bob@example.net",
        "250",
    );
    client.ask("DATA", "354");
    client.send("Subject: Lunch\r\n\r\nAt noon?\r\n.\r\n");
    assert!(client.reply().starts_with("250"));
    let report = || {
        let files = spooling.kept().into_iter();
        let mut texts = files.map(|path| fs::read_to_string(path).unwrap());
        texts.find(|text| text.contains("multipart/report"))
    };
    wait_until("the report is in her mailbox", || report().is_some());
    let text = report().unwrap();
    for part in [
        "Return-Path: <>\r\n",
        "Delivered-To: ann@example.com\r\n",
        "Original-Envelope-Id: QQ1\r\n",
        "Original-Recipient: rfc822; bob@example.net\r\n",
        "Final-Recipient: rfc822; bob@example.org\r\n",
        "Diagnostic-Code: smtp; 550 5.7.1 ",
        "\r\nSubject: Lunch\r\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("At noon?"), "{text}");
    wait_until("nothing is left", || spooling.list().is_empty());

    // A stranger's message is kept, and nobody hears of it.
    send(&serve, &["bob@example.org"], "forged");
    wait_until("it has failed", || {
        spooling.list().iter().any(|it| it["state"] == "failed")
    });
    assert_eq!(spooling.kept().len(), 3);
}
