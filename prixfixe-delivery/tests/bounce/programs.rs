//! Programs of others that read bounces: Python's email package, flufl.bounce and sisimai. Skipped
//! where they are not installed (`.ci/packages`).

use std::io::Write;
use std::process::{Command, Stdio};

use prixfixe_delivery::bounce::Fate;
use prixfixe_server::{Envelope, Ret, reply};
use prixfixe_test_support::has;
use serde_json::{Value, json};

use crate::read::{GONE, HELLO, envelope, recipient, report, whole};

/// A Python that has flufl.bounce.
const PYTHON: &str = "prixfixe-report-python";

fn ask(program: &str, script: &str, content: &[u8]) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bounce");
    let mut child = Command::new(program)
        .arg(format!("{folder}/{script}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(content).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{script}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn two_refused(ret: Option<Ret>) -> Envelope {
    let recipients = [
        recipient("bob@example.org", "", "rfc822;bob@example.net"),
        recipient("carol@example.org", "", ""),
    ];
    envelope(ret, Some("QQ314159"), false, &recipients)
}

#[test]
fn python_reads_the_fields_and_knows_who_has_bounced() {
    if !has(PYTHON) {
        return;
    }
    for (ret, returned) in [
        (None, "message/rfc822"),
        (Some(Ret::Headers), "text/rfc822-headers"),
    ] {
        let bounce = report(&two_refused(ret), Fate::Failed, &GONE, whole(HELLO)).unwrap();
        let read = ask(PYTHON, "python_reads.py", &bounce.content);
        let expected = json!({
            "kinds": ["text/plain", "message/delivery-status", returned],
            "groups": [
                {"Reporting-MTA": "dns; mx.example.net", "Original-Envelope-Id": "QQ314159",
                 "Arrival-Date": "Sat, 28 Nov 2026 00:45:27 +0000"},
                {"Original-Recipient": "rfc822; bob@example.net", "Final-Recipient": "rfc822; bob@example.org",
                 "Action": "failed", "Status": "5.1.1", "Remote-MTA": "dns; relay.example.org",
                 "Diagnostic-Code": "smtp; 550 5.1.1 No such user"},
                {"Final-Recipient": "rfc822; carol@example.org", "Action": "failed", "Status": "5.1.1",
                 "Remote-MTA": "dns; relay.example.org", "Diagnostic-Code": "smtp; 550 5.1.1 No such user"},
            ],
            "subject": "Hello",
            "bounced": ["bob@example.net", "carol@example.org"],
            "defects": [],
        });
        assert_eq!(read, expected);
    }
}

#[test]
fn sisimai_knows_who_has_bounced_and_why() {
    if !has("perl") {
        return;
    }
    let module = Command::new("perl").args(["-MSisimai", "-e", "1"]).output();
    if !module.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
            "perl has no Sisimai"
        );
        eprintln!("skipped: perl has no Sisimai");
        return;
    }
    let cases = [
        (GONE, "userunknown", "5.1.1"),
        (reply!(552 5.2.2 "Mailbox is full"), "mailboxfull", "5.2.2"),
        (reply!(451 4.4.1 "Connection timed out"), "expired", "4.4.1"),
    ];
    for (reply, reason, status) in cases {
        let bounce = report(&two_refused(None), Fate::Failed, &reply, whole(HELLO)).unwrap();
        let read = ask("perl", "sisimai_reads.pl", &bounce.content);
        let recipients: Vec<&Value> = read.as_array().unwrap().iter().collect();
        assert_eq!(recipients.len(), 2, "{read}");
        for (it, address) in recipients
            .iter()
            .zip(["bob@example.org", "carol@example.org"])
        {
            assert_eq!(it["recipient"], address, "{read}");
            assert_eq!(it["reason"], reason, "{read}");
            assert_eq!(it["deliverystatus"], status, "{read}");
            assert_eq!(it["action"], "failed", "{read}");
            assert_eq!(it["addresser"], "ann@example.com", "{read}");
        }
    }
}
