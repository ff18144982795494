//! Deliveries that follow at once, and threads that must not wait.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use prixfixe_delivery::Delivered;
use prixfixe_server::{BodyError, Client, Envelope, Message, reply};
use tempfile::tempdir;

use crate::scripted::*;

#[tokio::test(start_paused = true)]
async fn what_has_just_come_in_is_not_read_from_the_disk() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let mut options = options();
    options.concurrency = 1;
    let spool = start(directory.path(), to(&[("hook", &target)]), options);
    until(|| spool.status().is_delivering).await;
    for text in ["one", "two", "three"] {
        send(&spool, &["bob@example.org"], text).await;
    }
    for segment in fs::read_dir(directory.path().join("log")).unwrap() {
        fs::remove_file(segment.unwrap().path()).unwrap();
    }
    target.let_through(3);
    let got = target.wait_for(3).await;
    assert!(got[2].content.ends_with(b"three\r\n"));
    until(|| spool.status().ready == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_put_off_is_read_from_the_disk() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, attempts| match attempts {
        0 => Err(not_now()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    until(|| spool.status().is_delivering).await;
    send(&spool, &["bob@example.org"], "one").await;
    let got = target.wait_for(1).await;
    assert!(got[0].content.ends_with(b"one\r\n"));
    let attempts = target.attempts();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].content, attempts[1].content);
    assert_eq!(attempts[0].digest, attempts[1].digest);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_panics_ends_its_attempt_alone() {
    let directory = tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let target = Scripted::new(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => panic!("this is part of the test"),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    until(|| spool.status().is_delivering).await;
    send(&spool, &["bob@example.org"], "one").await;
    until(|| asked.load(Ordering::SeqCst) == 1).await;
    send(&spool, &["bob@example.org"], "two").await;
    assert_eq!(target.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn a_long_content_is_begun_and_given_up_on_a_thread_that_may_wait() {
    let directory = tempdir().unwrap();
    let spool = start(
        directory.path(),
        to(&[("hook", &Scripted::good())]),
        options(),
    );
    let envelope = Envelope::builder().from("ann@example.com").unwrap();
    let envelope = envelope.to("bob@example.org").unwrap().build();
    let error = BodyError::Refused(reply!(451 4.3.0 "Not now"));
    let pieces = vec![vec![b'x'; 100 << 10]; 5];
    let message = Message::broken(Client::builder().build(), envelope, pieces, error);
    assert!(spool.submit(message).await.is_err());
    let large = directory.path().join("large");
    until(|| fs::read_dir(&large).unwrap().count() == 0).await;
    let all = MADE_OR_REMOVED.lock().unwrap().clone();
    let by = all.iter().filter(|(path, _)| path.starts_with(&large));
    let by: Vec<_> = by.map(|(_, by)| *by).collect();
    assert_eq!(by.len(), 2);
    assert!(by.iter().all(|it| *it != thread::current().id()));
}
