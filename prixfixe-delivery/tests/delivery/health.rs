//! Trouble is seen, and so is its end.

use std::time::Duration;

use bytes::Bytes;
use prixfixe_delivery::{Maildir, MaildirOptions};

use crate::messages::{ROOT, one_worker, open, store};
use crate::simulated::{Plan, Simulated, errno::EROFS};

/// A Maildir that probes its disk all the time.
fn open_probing(disk: &Simulated) -> Maildir<Simulated> {
    let options = MaildirOptions {
        probe_interval: Duration::from_millis(1),
        ..one_worker()
    };
    Maildir::open_on(disk.clone(), ROOT, options).unwrap()
}

#[tokio::test]
async fn a_fault_is_named_and_ends_with_the_next_message() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    let mut health = maildir.health();
    assert!(health.fault().is_none());

    disk.plan(Plan::FailFrom(0, EROFS));
    store(&maildir, [Bytes::from("x")]).await.unwrap_err();
    health.changed().await;
    let fault = health.fault().unwrap();
    assert!(fault.subject().starts_with("/srv/mail/tmp/"), "{fault}");
    assert!(
        fault.to_string().contains("Read-only file system"),
        "{fault}"
    );

    disk.plan(Plan::Sound);
    store(&maildir, [Bytes::from("x")]).await.unwrap();
    health.changed().await;
    assert!(health.fault().is_none());
}

#[tokio::test]
async fn a_fault_is_found_without_any_traffic() {
    let disk = Simulated::default();
    let maildir = open_probing(&disk);
    let mut health = maildir.health();
    assert!(health.fault().is_none());

    disk.plan(Plan::FailFrom(0, EROFS));
    health.changed().await;
    assert!(health.fault().is_some());
}

#[tokio::test]
async fn a_fault_ends_without_any_traffic() {
    let disk = Simulated::default();
    let maildir = open_probing(&disk);
    let mut health = maildir.health();

    disk.plan(Plan::FailFrom(0, EROFS));
    store(&maildir, [Bytes::from("x")]).await.unwrap_err();
    health.changed().await;
    // A probe that fails changes the fault to its own.
    health.changed().await;
    assert!(health.fault().is_some());

    disk.plan(Plan::Sound);
    while health.fault().is_some() {
        health.changed().await;
    }
    assert_eq!(
        disk.files_in("/srv/mail/tmp".as_ref()).len(),
        0,
        "a probe has left its file"
    );
}
