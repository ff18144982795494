//! What an operator does.

use std::time::Duration;

use prixfixe_delivery::{Delivered, EntryState, OperationError, Routes};
use tempfile::tempdir;

use crate::scripted::*;

#[tokio::test(start_paused = true)]
async fn a_held_message_waits_until_it_is_released() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, attempts| match attempts {
        0 => Err(not_now()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    until(|| spool.status().waiting == 1).await;
    assert_eq!(spool.show(&id).unwrap().targets[0].attempts, 1);
    spool.hold(&id).unwrap();
    assert_eq!(spool.show(&id).unwrap().state, EntryState::Held);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(target.attempts().len(), 1);
    assert_eq!((spool.status().held, spool.status().waiting), (1, 0));
    // Held is held, and whoever asks is told so.
    let retried = spool.retry(&id);
    assert!(
        matches!(retried, Err(OperationError::IsHeld(_))),
        "{retried:?}"
    );
    assert_eq!(spool.retry_all(None), 0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(target.attempts().len(), 1);
    spool.release(&id).unwrap();
    target.wait_for(1).await;
    until(|| matches!(spool.hold(&id), Err(OperationError::Unknown(_)))).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_is_tried_at_once_where_an_operator_asks_for_it() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, attempts| match attempts {
        0..3 => Err(not_now()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let first = send(&spool, &["bob@example.org"], "one").await;
    send(&spool, &["bob@example.org"], "two").await;
    until(|| spool.status().waiting == 2).await;
    spool.retry(&first).unwrap();
    target.wait_for_attempts(3).await;
    until(|| spool.status().waiting == 2).await;
    assert_eq!(spool.retry_all(Some("other")), 0);
    assert_eq!(spool.retry_all(None), 2);
    let got = target.wait_for(2).await;
    assert!(got[1].after < Duration::from_secs(10), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_message_is_gone() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, _| Err(not_now()));
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    until(|| spool.status().waiting == 1).await;
    spool.remove(&id).unwrap();
    assert!(matches!(spool.show(&id), Err(OperationError::Unknown(_))));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(target.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_exported_with_the_headers_of_a_mailbox() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    until(|| spool.status().is_delivering).await;
    let mut exported = Vec::new();
    spool
        .export(&id, |piece| {
            exported.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
    let text = String::from_utf8(exported).unwrap();
    assert!(
        text.starts_with("Return-Path: <ann@example.com>\r\nDelivered-To: bob@example.org\r\n")
    );
    assert!(text.ends_with("\r\n\r\none\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_goes_back_to_those_who_did_not_get_it() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, attempts| match (to, attempts) {
        ("bob@example.org", 0) => Err(never()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    send(&spool, &["ann@example.org", "bob@example.org"], "one").await;
    until(|| failed(directory.path()).len() == 2).await;
    let entry = spool.list(None, 10).unwrap().pop().unwrap();
    assert_eq!(
        (entry.state, &*entry.targets[0].recipients),
        (EntryState::Failed, &["bob@example.org".to_owned()][..])
    );
    spool.retry(&entry.id).unwrap();
    let got = target.wait_for(2).await;
    assert_eq!(got[1].to, ["bob@example.org"]);
    assert_eq!(
        (&got[0].digest, &got[0].content),
        (&got[1].digest, &got[1].content)
    );
    assert_eq!(failed(directory.path()), [""; 0]);
    assert_eq!(spool.status().failed, 0);
}

#[tokio::test(start_paused = true)]
async fn mail_of_an_unknown_target_is_kept_until_there_is_one() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let spool = start(directory.path(), to(&[("old", &target)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    let other = Scripted::good();
    spool.stop(Duration::ZERO).await;
    drop(spool);
    let spool = start(directory.path(), to(&[("new", &other)]), options());
    until(|| spool.status().is_delivering).await;
    tokio::time::sleep(Duration::from_secs(7200)).await;
    let entry = spool.show(&id).unwrap();
    assert!(!entry.targets[0].is_known);
    assert_eq!(entry.targets[0].next_attempt, None);
    assert!(!spool.status().targets["old"].is_known);
    spool.set_routes(to(&[("old", &other)]));
    other.wait_for(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_recipient_without_a_route_is_refused() {
    let directory = tempdir().unwrap();
    let spool = start(directory.path(), Routes::new("mx.example.org"), options());
    let refused = spool.submit(message(&["bob@example.org"], "one")).await;
    assert_eq!(refused.unwrap_err().reply().code(), 550);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_fit_is_refused_before_it_is_sent() {
    use prixfixe_delivery::Target;
    use prixfixe_server::{Client, Envelope, Mail, MailParameters};

    let directory = tempdir().unwrap();
    let mut options = options();
    options.log.max_size = 1 << 20;
    let spool = start(
        directory.path(),
        to(&[("hook", &Scripted::stuck())]),
        options,
    );
    let client = Client::builder().build();
    let admit = |size| {
        let mut parameters = MailParameters::default();
        parameters.size = Some(size);
        let envelope = Envelope::builder().parameters(parameters).build();
        spool
            .admit(Mail::new(&client, &envelope))
            .map_err(|it| it.to_string())
    };
    assert_eq!(admit(1000), Ok(()));
    assert!(admit(2 << 20).unwrap_err().starts_with("452 4.3.1"));
    let text = "x".repeat(2 << 20);
    let refused = spool.submit(message(&["bob@example.org"], &text)).await;
    // Another size holds at once.
    let mut larger = crate::scripted::options();
    larger.log.max_size = 8 << 20;
    spool.set_options(larger);
    assert_eq!(admit(2 << 20), Ok(()));
    send(&spool, &["bob@example.org"], &text).await;
    assert_eq!(spool.status().max_bytes, 8 << 20);
    assert!(admit(5 << 20).unwrap_err().starts_with("452 4.3.1"));
    assert!(
        refused
            .unwrap_err()
            .reply()
            .to_string()
            .starts_with("452 4.3.1")
    );
}
