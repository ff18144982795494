//! What a spool asks for, and what comes of it.

use std::sync::Arc;

use prixfixe_delivery::bounce::{ReportedTarget, Reports};
use prixfixe_delivery::{
    Bouncer, Discard, Ended, Ending, Notice, Report, StoredEnvelope, StoredTarget,
};
use prixfixe_server::{Client, Finding, Identity, Message, ReversePath, Verdict};

use crate::read::{DOMAIN, GONE, HELLO, envelope, get, recipient, then};

fn reports() -> Reports {
    let reports = Reports::default();
    let target =
        |host: &str, is_final| ReportedTarget::new(host, is_final, Arc::new(Discard::new()));
    let targets = [
        ("relay".to_owned(), target("relay.example.org", false)),
        ("boxes".to_owned(), target("boxes.example.org", true)),
    ];
    reports.set(DOMAIN, targets);
    reports
}

async fn stored(client: Client, verdict: Verdict, notify: &str) -> StoredEnvelope {
    let to = [recipient("bob@example.org", notify, "")];
    let mut message = Message::builder(client, envelope(None, None, false, &to))
        .verdict(verdict)
        .pieces([HELLO])
        .build();
    let digest = message.digest().await.expect("a digest");
    let targets = vec![StoredTarget::new("relay", vec![0])];
    StoredEnvelope::new(&message, digest, HELLO.len() as u64, targets)
}

fn ask(
    reports: &Reports,
    stored: &StoredEnvelope,
    target: &str,
    ending: Ending,
) -> Option<Message> {
    let mut ended = Ended::new(stored.recipients[0].clone(), 3, then());
    ended.reply = Some(GONE);
    let ended = [ended];
    let report = Report::new(stored, target, ending, &ended).with_content(HELLO, true);
    reports.report(&report).map(Notice::into_message)
}

fn ann() -> Client {
    Client::builder().identity(Identity::new("ann")).build()
}

#[tokio::test]
async fn a_sender_that_logged_in_hears_of_a_failure_at_a_mail_server_and_at_no_other() {
    let reports = reports();
    let stored = stored(ann(), Verdict::default(), "").await;
    for ending in [Ending::Refused, Ending::GivenUp] {
        let message = ask(&reports, &stored, "relay", ending).expect("a report");
        assert!(matches!(
            message.envelope().reverse_path(),
            ReversePath::Null
        ));
        let content = message.collect().await.unwrap().into_content();
        let text = String::from_utf8(content.to_vec()).unwrap();
        for part in [
            "Remote-MTA: dns; relay.example.org\r\n",
            "\r\nSubject: Hello\r\n",
            stored.id.as_str(),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(ask(&reports, &stored, "hook", Ending::Refused).is_none());
    assert_eq!((reports.sent(), reports.withheld()), (2, 1));
}

#[tokio::test]
async fn nobody_else_hears_and_a_report_is_never_answered() {
    let reports = reports();
    let stranger = Client::builder().build();
    let forged = Verdict::default()
        .found(Finding::new("dmarc", "fail").property("header.from", "example.com"));
    let unknown = stored(stranger.clone(), forged, "").await;
    assert!(ask(&reports, &unknown, "relay", Ending::Refused).is_none());
    let passed = Verdict::default()
        .found(Finding::new("dmarc", "pass").property("header.from", "example.com"));
    let known = stored(stranger, passed, "").await;
    assert!(ask(&reports, &known, "relay", Ending::Refused).is_some());

    // What becomes of a report: its envelope as the spool stores it.
    let mut report = ask(&reports, &known, "relay", Ending::Refused).unwrap();
    let digest = report.digest().await.unwrap();
    let targets = vec![StoredTarget::new("relay", vec![0])];
    let of_report = StoredEnvelope::new(&report, digest, 0, targets);
    assert!(ask(&reports, &of_report, "relay", Ending::Refused).is_none());
    assert!(ask(&reports, &of_report, "relay", Ending::GivenUp).is_none());
}

#[tokio::test]
async fn success_is_told_where_it_was_asked_for() {
    let reports = reports();
    let silent = stored(ann(), Verdict::default(), "").await;
    assert!(ask(&reports, &silent, "relay", Ending::Delivered).is_none());
    // That is no failure that was withheld.
    assert_eq!(reports.withheld(), 0);
    let asked = stored(ann(), Verdict::default(), "SUCCESS").await;
    for (target, action) in [
        ("relay", "Action: relayed\r\n"),
        ("boxes", "Action: delivered\r\n"),
    ] {
        let message = ask(&reports, &asked, target, Ending::Delivered).expect("a report");
        let content = message.collect().await.unwrap().into_content();
        let text = String::from_utf8(content.to_vec()).unwrap();
        assert!(text.contains(action), "{text}");
    }
    assert!(ask(&reports, &asked, "relay", Ending::Refused).is_none());
}

#[tokio::test]
async fn what_nobody_has_said_is_told_as_a_delivery_that_took_too_long() {
    let reports = reports();
    let stored = stored(ann(), Verdict::default(), "").await;
    let ended = [Ended::new(stored.recipients[0].clone(), 3, then())];
    let report = Report::new(&stored, "relay", Ending::GivenUp, &ended).with_content(HELLO, true);
    let notice = reports.report(&report).expect("a report");
    let message = notice.into_message();
    let envelope = message.envelope().clone();
    let content = message.collect().await.unwrap().into_content();
    let bounce = crate::read::parse_content(&content);
    let groups = bounce.groups();
    assert_eq!(get(&groups[1], "Status"), "4.4.7");
    assert_eq!(crate::read::find(&groups[1], "Remote-MTA"), None);
    assert_eq!(envelope.recipients()[0].to_string(), "ann@example.com");
}
