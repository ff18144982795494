//! Stored bytes are sent bytes.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use prixfixe_delivery::{FileSystem, Maildir, MaildirOptions, StoreError};
use proptest::prelude::*;

use crate::simulated::{Operation, Plan, Simulated};

pub const ROOT: &str = "/srv/mail";

/// One worker and no probes but those that are asked for, so that the order of operations is always
/// the same.
pub fn one_worker() -> MaildirOptions {
    let mut options = MaildirOptions::default();
    options.workers = NonZeroUsize::MIN;
    options.probe_interval = Duration::from_hours(1);
    options
}

pub fn open(disk: &Simulated) -> Maildir<Simulated> {
    Maildir::open_on(disk.clone(), ROOT, one_worker()).unwrap()
}

/// Stores a message that comes in pieces.
pub async fn store<F: FileSystem>(
    maildir: &Maildir<F>,
    pieces: impl IntoIterator<Item = Bytes>,
) -> Result<PathBuf, StoreError> {
    let mut incoming = maildir.begin(Vec::new());
    for piece in pieces {
        incoming.write(piece).await?;
    }
    incoming.commit().await
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pieces from one octet to more than a batch, a head or none, a disk that takes everything at
    /// once or hardly anything.
    #[test]
    fn any_chunking_stores_the_bytes_that_were_sent(
        head in prop::collection::vec(any::<u8>(), 0..300),
        lengths in prop::collection::vec(prop_oneof![1..100_usize, 10_000..20_000_usize, 100_000..300_000_usize], 0..12),
        longest_write in prop_oneof![Just(0_usize), 5_000..70_000_usize],
        seed in any::<u8>(),
    ) {
        let disk = Simulated::default();
        let maildir = open(&disk);
        disk.state().longest_write = longest_write;
        let mut sent = head.clone();
        let pieces: Vec<Bytes> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| (0..*length).map(|index| (index + number) as u8 ^ seed).collect())
            .collect();
        sent.extend(pieces.iter().flatten());
        let stored = runtime().block_on(async {
            let mut incoming = maildir.begin(head);
            for piece in pieces {
                incoming.write(piece).await?;
            }
            incoming.commit().await
        }).unwrap();
        let files = disk.durable_files_in(&Path::new(ROOT).join("new"));
        prop_assert_eq!(files.len(), 1);
        prop_assert!(files[&stored] == sent, "the content differs");
    }
}

#[tokio::test]
async fn a_small_message_costs_six_operations_in_the_order_that_keeps_it() {
    use Operation::{Close, Create, Rename, Sync, SyncDirectory, Write};

    let disk = Simulated::default();
    let maildir = open(&disk);
    disk.plan(Plan::Sound);
    store(
        &maildir,
        ["Subject: x\r\n\r\n", "text\r\n"].map(Bytes::from),
    )
    .await
    .unwrap();
    assert_eq!(
        disk.operations(),
        [Create, Write, Sync, Close, Rename, SyncDirectory]
    );
}

#[tokio::test]
async fn without_fsync_nothing_is_synced() {
    let disk = Simulated::default();
    let mut options = one_worker();
    options.fsync = false;
    let maildir = Maildir::open_on(disk.clone(), ROOT, options).unwrap();
    let stored = store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    assert_eq!(
        disk.files_in(&Path::new(ROOT).join("new"))[&stored],
        b"text\r\n"
    );
    let operations = disk.operations();
    assert!(
        !operations.contains(&Operation::Sync) && !operations.contains(&Operation::SyncDirectory)
    );
}

#[tokio::test]
async fn messages_that_come_during_a_sync_of_the_directory_share_the_next() {
    const WORKERS: usize = 4;
    const MESSAGES: usize = 40;

    let disk = Simulated::default();
    let mut options = one_worker();
    options.workers = WORKERS.try_into().unwrap();
    let maildir = Maildir::open_on(disk.clone(), ROOT, options).unwrap();
    disk.plan(Plan::Sound);
    disk.state().slow_until_renames = MESSAGES;
    let tasks: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let maildir = maildir.clone();
            tokio::spawn(async move {
                let content = format!("{number}\r\n");
                (
                    store(&maildir, [Bytes::from(content.clone())])
                        .await
                        .unwrap(),
                    content,
                )
            })
        })
        .collect();
    let mut expected = BTreeMap::new();
    for task in tasks {
        let (path, content) = task.await.unwrap();
        expected.insert(path, content.into_bytes());
    }
    assert_eq!(expected.len(), MESSAGES, "two messages had one name");
    assert_eq!(
        disk.durable_files_in(&Path::new(ROOT).join("new")),
        expected
    );
    let syncs = disk
        .operations()
        .iter()
        .filter(|operation| **operation == Operation::SyncDirectory)
        .count();
    // One for the first and one for those that came meanwhile; each of the other workers may just
    // have missed that.
    assert!(syncs < 2 + WORKERS, "{syncs}");
}

#[tokio::test]
async fn a_message_that_is_given_up_leaves_nothing() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    let large = Bytes::from(vec![b'x'; 200_000]);

    let untouched = maildir.begin(b"head".to_vec());
    drop(untouched);

    // Given up with a batch on its way to the worker.
    let mut on_its_way = maildir.begin(Vec::new());
    on_its_way.write(large.clone()).await.unwrap();
    on_its_way.write(large.clone()).await.unwrap();
    drop(on_its_way);

    // Given up with a file that is written and waits for more.
    let mut written = maildir.begin(Vec::new());
    for _ in 0..3 {
        written.write(large.clone()).await.unwrap();
    }
    drop(written);

    // The one worker takes things in order: when this one is stored, all before it is done.
    let stored = store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    assert_eq!(disk.files_in(&Path::new(ROOT).join("tmp")).len(), 0);
    let files = disk.files_in(&Path::new(ROOT).join("new"));
    assert_eq!(files.keys().collect::<Vec<_>>(), [&stored]);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_is_undone_up_to_the_rename() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    disk.state().hold_syncs = true;
    let mut message = maildir.begin(Vec::new());
    message.write(Bytes::from("given up\r\n")).await.unwrap();
    disk.plan(Plan::Sound);
    let mut commit = Box::pin(message.commit());
    assert!(
        commit
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    disk.wait_for_sync();
    drop(commit);
    disk.release_syncs();
    let stored = store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    assert_eq!(disk.files_in(&Path::new(ROOT).join("tmp")).len(), 0);
    let files = disk.files_in(&Path::new(ROOT).join("new"));
    assert_eq!(files.keys().collect::<Vec<_>>(), [&stored]);
}

#[tokio::test]
async fn a_commit_that_is_dropped_at_any_moment_is_undone_or_whole() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    for round in 0..20 {
        let mut message = maildir.begin(Vec::new());
        message.write(Bytes::from("whole\r\n")).await.unwrap();
        let mut commit = Box::pin(message.commit());
        // Polled once, so that the job is on its way, and then dropped: at whatever point that is
        // for the worker.
        let _ = commit
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        drop(commit);
        store(&maildir, [Bytes::from(format!("{round}\r\n"))])
            .await
            .unwrap();
        assert_eq!(disk.files_in(&Path::new(ROOT).join("tmp")).len(), 0);
    }
    let files = disk.files_in(&Path::new(ROOT).join("new"));
    let whole = files
        .values()
        .filter(|content| **content == b"whole\r\n")
        .count();
    assert_eq!(whole + 20, files.len());
}
