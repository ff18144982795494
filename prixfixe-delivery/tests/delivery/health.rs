//! Trouble is seen, and so is its end.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use prixfixe_delivery::Maildir;
use prixfixe_server::Server;

use crate::messages::{ROOT, one_worker, open, store};
use crate::simulated::{Plan, Simulated, errno::EROFS};

/// While the one worker hangs in a sync, the other messages wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_is_a_fault_and_ends_with_its_answer() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    let mut health = maildir.health();
    disk.plan(Plan::Sound);
    disk.state().hold_syncs = true;
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let maildir = maildir.clone();
            tokio::spawn(async move { store(&maildir, [Bytes::from("x")]).await })
        })
        .collect();
    // 10 s of the real clock: the watch has no other here. `Monitor` is tested with a clock of its
    // own.
    health.changed().await;
    let fault = health.fault().unwrap();
    assert!(
        fault
            .to_string()
            .starts_with("cannot write to /srv/mail: no answer for 1"),
        "{fault}"
    );
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .handler(maildir.clone())
        .start()
        .unwrap();
    let reply = mail_reply(&server);
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");

    disk.release_syncs();
    while health.fault().is_some() {
        health.changed().await;
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let reply = mail_reply(&server);
    assert!(reply.starts_with("250 2.1.0 "), "{reply}");
}

/// What MAIL gets.
fn mail_reply(server: &Server) -> String {
    let mut stream = BufReader::new(TcpStream::connect(server.local_address()).unwrap());
    let mut reply = String::new();
    stream.read_line(&mut reply).unwrap();
    for command in ["HELO client.example\r\n", "MAIL FROM:<>\r\n"] {
        stream.get_mut().write_all(command.as_bytes()).unwrap();
        reply.clear();
        stream.read_line(&mut reply).unwrap();
    }
    reply
}

/// Its event loop would hang with the disk.
#[tokio::test]
async fn whoever_gives_up_a_message_never_waits_for_the_disk() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    let large = Bytes::from(vec![b'x'; 128 * 1024]);
    let mut written = Vec::new();
    // More than the queue has room for, each with a file.
    for _ in 0..1100 {
        let mut message = maildir.begin(b"x".to_vec());
        message.write(large.clone()).await.unwrap();
        written.push(message);
    }
    // The one worker takes things in order.
    store(&maildir, [large.clone()]).await.unwrap();
    assert_eq!(disk.files_in("/srv/mail/tmp".as_ref()).len(), 1100);
    disk.plan(Plan::Sound);
    disk.state().hold_syncs = true;
    let held = tokio::spawn({
        let maildir = maildir.clone();
        async move { store(&maildir, [large]).await }
    });
    tokio::task::yield_now().await;
    disk.wait_for_sync();
    // The simulated disk would be asked by this thread if anybody here removed a file.
    let before = disk.operations().len();
    drop(written);
    assert_eq!(disk.operations().len(), before);

    disk.release_syncs();
    held.await.unwrap().unwrap();
    for _ in 0..3 {
        store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    }
    assert_eq!(disk.files_in("/srv/mail/tmp".as_ref()).len(), 0);
}

/// A Maildir that probes its disk all the time.
fn open_probing(disk: &Simulated) -> Maildir<Simulated> {
    let mut options = one_worker();
    options.probe_interval = Duration::from_millis(1);
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
