//! How a delivery ends without having got there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use prixfixe_delivery::{
    Bouncer, Delivered, Ending, FailedMessage, Notice, OperationError, Report,
};
use prixfixe_server::{Client, Envelope, ForwardPath, Message, RcptParameters, Recipient};
use tempfile::tempdir;

use crate::scripted::*;

fn described(path: &std::path::Path, name: &str) -> FailedMessage {
    let json = std::fs::read(path.join("failed").join(name)).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_ends_a_recipient_at_once() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, attempts| match (to, attempts) {
        ("gone@example.org", _) => Err(never()),
        (_, 0) => Err(not_now()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["gone@example.org", "bob@example.org"], "one").await;
    target.wait_for(1).await;
    assert_eq!(target.attempts()[1].to, ["bob@example.org"]);
    let names = failed(directory.path());
    assert_eq!(names, [format!("{id}.hook.eml"), format!("{id}.hook.json")]);

    let described = described(directory.path(), &names[1]);
    assert_eq!(
        (&*described.ending, &*described.target),
        ("refused", "hook")
    );
    assert_eq!(described.recipients.len(), 1);
    assert_eq!(described.recipients[0].to, "gone@example.org");
    assert_eq!(
        described.recipients[0].reply.as_deref(),
        Some("550 5.1.1 No such user")
    );
    assert_eq!(described.envelope.digest, target.attempts()[0].digest);
    let eml = std::fs::read(directory.path().join("failed").join(&names[0])).unwrap();
    let content = &eml[usize::try_from(described.trace).unwrap()..];
    assert_eq!(content, target.attempts()[0].content);
    let text = String::from_utf8(eml).unwrap();
    assert!(
        text.starts_with("Return-Path: <ann@example.com>\r\nDelivered-To: gone@example.org\r\n")
    );
    assert!(!text.contains("Delivered-To: bob"));
}

#[tokio::test(start_paused = true)]
async fn what_was_tried_for_too_long_is_given_up_and_lies_in_failed() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, _| Err(not_now()));
    let mut options = options();
    options.give_up_after = Duration::from_secs(1000);
    let spool = start(directory.path(), to(&[("hook", &target)]), options);
    send(&spool, &["bob@example.org"], "one").await;
    until(|| !failed(directory.path()).is_empty() && spool.status().waiting == 0).await;
    // At once, after a minute, after five more, and when its time was over.
    let attempts = target.attempts();
    assert_eq!(attempts.len(), 4, "{attempts:?}");
    let last = attempts[3].after.as_secs();
    assert!((999..1010).contains(&last), "{last}");
    let described = described(directory.path(), &failed(directory.path())[1]);
    assert_eq!(
        (&*described.ending, described.recipients[0].attempts),
        ("given up", 4)
    );
    let status = spool.status();
    assert_eq!((status.failed, status.targets["hook"].given_up), (1, 1));
    assert!(
        spool
            .list(None, 9)
            .unwrap()
            .iter()
            .all(|it| it.state.to_string() == "failed")
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_dead_target_is_given_up_without_a_turn_of_its_own() {
    let directory = tempdir().unwrap();
    let target = Scripted::dead();
    let mut options = options();
    options.give_up_after = Duration::from_secs(600);
    let spool = start(directory.path(), to(&[("hook", &target)]), options);
    for number in 0..300 {
        send(&spool, &["bob@example.org"], &number.to_string()).await;
    }
    until(|| failed(directory.path()).len() == 600).await;
    assert!(target.attempts().len() < 100);
    until(|| spool.status().targets["hook"].given_up == 300).await;
    let described = described(directory.path(), &failed(directory.path())[1]);
    assert_eq!(
        described.recipients[0].detail.as_deref(),
        Some("connection refused")
    );
}

type Told = (Ending, Vec<String>, Option<String>, bool);

/// Tells each sender that has a name.
#[derive(Default)]
struct Told2(Mutex<Vec<Told>>);

impl Bouncer for Told2 {
    fn report(&self, report: &Report<'_>) -> Option<Notice> {
        self.0.lock().unwrap().push((
            report.ending,
            report
                .recipients
                .iter()
                .map(|it| it.recipient.to.clone())
                .collect(),
            report.recipients[0].reply.as_ref().map(ToString::to_string),
            report.is_whole && report.content.ends_with(b"one\r\n"),
        ));
        if report.envelope.from.is_empty() {
            return None;
        }
        let envelope = Envelope::builder()
            .to(&report.envelope.from)
            .unwrap()
            .build();
        let text = "Message-ID: <bounce@example.org>\r\n\r\nIt was not delivered.\r\n";
        let message = Message::new(Client::builder().build(), envelope, [text]);
        let told = report.recipients.iter().enumerate();
        let told = told.filter(|(_, it)| !it.recipient.to.starts_with("forgotten"));
        Some(Notice::of_some(message, told.map(|(place, _)| place)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_by_a_message_of_the_spool_and_nothing_lies_in_failed() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, _| match to {
        "gone@example.org" => Err(never()),
        _ => Ok(Delivered::default()),
    });
    let bouncer = Arc::new(Told2::default());
    let mut options = options();
    options.bouncer = bouncer.clone();
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    send(&spool, &["gone@example.org"], "one").await;
    let got = target.wait_for(1).await;
    assert_eq!(got[0].to, ["ann@example.com"]);
    until(|| spool.status().ready == 0).await;
    assert_eq!(failed(directory.path()), [""; 0]);
    let told = bouncer.0.lock().unwrap().clone();
    let reply = Some("550 5.1.1 No such user".to_owned());
    assert_eq!(
        told,
        [(
            Ending::Refused,
            vec!["gone@example.org".to_owned()],
            reply,
            true
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn a_bounce_that_is_refused_is_no_reason_for_another_one() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, _| Err(never()));
    let mut options = options();
    options.bouncer = Arc::new(Told2::default());
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    send(&spool, &["gone@example.org"], "one").await;
    until(|| failed(directory.path()).len() == 2 && spool.status().ready == 0).await;
    assert_eq!(target.attempts().len(), 2);
    let described = described(directory.path(), &failed(directory.path())[1]);
    assert_eq!(described.envelope.from, "");
}

/// A message whose recipients have these NOTIFY parameters.
fn asking(to: &[(&str, &str)]) -> Message {
    let mut envelope = Envelope::builder().from("ann@example.com").unwrap();
    for (to, notify) in to {
        let path: ForwardPath = to.parse().unwrap();
        let mut parameters = RcptParameters::default();
        parameters.notify = (!notify.is_empty()).then(|| notify.parse().unwrap());
        envelope = envelope.recipient(Recipient::new(path).with_parameters(parameters));
    }
    let client = Client::builder().build();
    let content = "Subject: one\r\n\r\none\r\n";
    Message::new(client, envelope.build(), [content])
}

#[tokio::test(start_paused = true)]
async fn a_recipient_nobody_asks_a_report_of_lies_in_failed_beside_a_report() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, _| match to {
        "ann@example.com" => Ok(Delivered::default()),
        _ => Err(never()),
    });
    let bouncer = Arc::new(Told2::default());
    let mut options = options();
    options.bouncer = bouncer.clone();
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    let message = asking(&[
        ("a@example.org", ""),
        ("b@example.org", "NEVER"),
        ("c@example.org", "SUCCESS"),
        ("d@example.org", "FAILURE"),
    ]);
    spool.submit(message).await.unwrap();
    let got = target.wait_for(1).await;
    assert_eq!(got[0].to, ["ann@example.com"]);
    until(|| spool.status().ready == 0).await;
    let told = bouncer.0.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1, ["a@example.org", "d@example.org"]);
    let names = failed(directory.path());
    assert_eq!(names.len(), 2, "{names:?}");
    let described = described(directory.path(), &names[1]);
    let kept: Vec<_> = described.recipients.iter().map(|it| &*it.to).collect();
    assert_eq!(kept, ["b@example.org", "c@example.org"]);
}

#[tokio::test(start_paused = true)]
async fn a_recipient_whom_a_report_leaves_out_lies_in_failed() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, _| match to {
        "ann@example.com" => Ok(Delivered::default()),
        _ => Err(never()),
    });
    let mut options = options();
    options.bouncer = Arc::new(Told2::default());
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    let to = ["a@example.org", "forgotten@example.org", "b@example.org"];
    send(&spool, &to, "one").await;
    let got = target.wait_for(1).await;
    assert_eq!(got[0].to, ["ann@example.com"]);
    until(|| spool.status().ready == 0).await;
    let names = failed(directory.path());
    assert_eq!(names.len(), 2, "{names:?}");
    let described = described(directory.path(), &names[1]);
    let kept: Vec<_> = described.recipients.iter().map(|it| &*it.to).collect();
    assert_eq!(kept, ["forgotten@example.org"]);
}

/// Changes a text wherever it stands in the files of a directory.
fn damage(directory: &std::path::Path, text: &[u8]) {
    for found in std::fs::read_dir(directory).unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() {
            damage(&path, text);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let place = bytes.windows(text.len()).position(|it| it == text);
        if let Some(place) = place {
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_cannot_be_reported_is_not_repeated() {
    let directory = tempdir().unwrap();
    let path = directory.path().to_owned();
    let target = Scripted::new(move |_, _| {
        damage(&path, b"\r\n\r\none\r\n");
        Ok(Delivered::default())
    });
    let bouncer = Arc::new(Told2::default());
    let mut options = options();
    options.bouncer = bouncer.clone();
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    let message = asking(&[("bob@example.org", "SUCCESS")]);
    spool.submit(message).await.unwrap();
    target.wait_for(1).await;
    until(|| spool.status().ready == 0).await;
    assert!(bouncer.0.lock().unwrap().is_empty(), "it was damaged");
    assert_eq!(spool.status().waiting, 0);
    assert_eq!(target.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_to_failed_leaves_no_parts_there_and_is_tried_again() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, attempts| match attempts {
        0 => Err(not_now()),
        _ => Err(never()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    let (eml, json) = (format!("{id}.hook.eml"), format!("{id}.hook.json"));
    let in_the_way = directory.path().join("failed").join(&json);
    std::fs::create_dir_all(&in_the_way).unwrap();
    target.wait_for_attempts(2).await;
    until(|| spool.status().ready == 0).await;
    assert_eq!(failed(directory.path()), [&*json]);
    std::fs::remove_dir(&in_the_way).unwrap();
    until(|| failed(directory.path()) == [&*eml, &*json]).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_without_an_attempt_while_its_target_works() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let mut options = options();
    options.concurrency = 1;
    options.give_up_after = Duration::from_secs(5);
    let spool = start(directory.path(), to(&[("hook", &target)]), options);
    for text in ["one", "two"] {
        send(&spool, &["bob@example.org"], text).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(failed(directory.path()), [""; 0]);
    target.let_through(2);
    target.wait_for(2).await;
}

/// One whose damage is seen at its end alone, one whose target refuses it before that, and one that
/// is gone.
#[tokio::test(start_paused = true)]
async fn a_damaged_large_content_is_set_aside_and_the_rest_goes_on() {
    let text = "0123456789abcde\n".repeat(40_000);
    for (answer, is_gone) in [(None, false), (Some(never()), false), (None, true)] {
        let directory = tempdir().unwrap();
        let target = Scripted::stuck();
        let good = to(&[("hook", &target)]);
        let spool = start(directory.path(), good, options());
        let damaged = send(&spool, &["bob@example.org"], &text).await;
        let large = directory.path().join("large");
        let file = std::fs::read_dir(&large).unwrap().next().unwrap();
        let file = file.unwrap().path();
        let whole = send(&spool, &["bob@example.org"], &format!("{text}whole")).await;
        spool.stop(Duration::ZERO).await;
        match is_gone {
            true => std::fs::remove_file(&file).unwrap(),
            false => damage_file(&file),
        }
        let target =
            Scripted::new(move |_, _| answer.clone().map_or(Ok(Delivered::default()), Err));
        let spool = start(directory.path(), to(&[("hook", &target)]), options());
        until(|| {
            let status = spool.status();
            status.is_delivering && status.ready + status.waiting + status.held == 0
        })
        .await;
        let unknown = |id| matches!(spool.show(id), Err(OperationError::Unknown(_)));
        assert!(unknown(&damaged) && unknown(&whole));
        let attempts = target.attempts();
        assert!(attempts.len() <= 2, "{}", attempts.len());
        let aside = directory
            .path()
            .join("damaged")
            .join(file.file_name().unwrap());
        assert_eq!(aside.exists(), !is_gone);
        assert_eq!(std::fs::read_dir(&large).unwrap().count(), 0);
        let given_up = spool.status().targets["hook"].given_up;
        assert!(given_up >= 1, "{given_up}");
    }
}

/// Changes a byte in its middle.
fn damage_file(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
