//! The power goes before every operation in turn.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prixfixe_delivery::{Maildir, MaildirOptions};

use crate::messages::{ROOT, one_worker, open, runtime, store};
use crate::simulated::{Plan, Simulated, errno::EIO};

/// A machine that is off does nothing more and answers nothing: all operations from the n-th on
/// fail, and what the messages' senders heard before is held against what is durable. All of them
/// that are said to be stored must be, and whatever was given a name in `new/` must have been
/// whole.
fn crash_at_every_operation(messages: usize, options: &MaildirOptions) {
    let content = |number: usize| {
        format!("message {number}\r\n")
            .repeat(1 + number % 3 * 8_000)
            .into_bytes()
    };
    let new = Path::new(ROOT).join("new");
    for number in 0.. {
        let disk = Simulated::default();
        disk.plan(Plan::FailFrom(number, EIO));
        let mut acknowledged = BTreeMap::new();
        if let Ok(maildir) = Maildir::open_on(disk.clone(), ROOT, options.clone()) {
            runtime().block_on(async {
                let tasks: Vec<_> = (0..messages)
                    .map(|number| {
                        let maildir = maildir.clone();
                        tokio::spawn(async move {
                            let halves: Vec<_> = content(number)
                                .chunks(70_000)
                                .map(Bytes::copy_from_slice)
                                .collect();
                            (number, store(&maildir, halves).await)
                        })
                    })
                    .collect();
                for task in tasks {
                    if let (number, Ok(path)) = task.await.unwrap() {
                        acknowledged.insert(path, content(number));
                    }
                }
            });
        }
        let durable = disk.durable_files_in(&new);
        for (path, content) in &acknowledged {
            assert!(
                durable.get(path) == Some(content),
                "lost after operation {number}: {}",
                path.display()
            );
        }
        let whole: Vec<Vec<u8>> = (0..messages).map(content).collect();
        for published in &disk.state().published {
            assert!(
                whole.contains(published),
                "a part of a message was visible after operation {number}"
            );
        }
        if acknowledged.len() == messages {
            assert!(number > 6 * messages.min(2), "the crash never came");
            return;
        }
    }
}

#[test]
fn one_message_at_a_time() {
    crash_at_every_operation(3, &one_worker());
}

#[test]
fn many_messages_at_once() {
    let mut six_workers = one_worker();
    six_workers.workers = 6.try_into().unwrap();
    crash_at_every_operation(12, &six_workers);
}

#[test]
fn directories_that_another_process_made_and_never_synced() {
    let disk = Simulated::default();
    let mut careless = one_worker();
    careless.fsync = false;
    Maildir::open_on(disk.clone(), ROOT, careless).unwrap();
    let new = Path::new(ROOT).join("new");
    let stored = runtime()
        .block_on(store(&open(&disk), [Bytes::from("text\r\n")]))
        .unwrap();
    assert_eq!(
        disk.durable_files_in(&new),
        BTreeMap::from([(stored, b"text\r\n".to_vec())])
    );
}

/// The table in the crate's documentation, row by row.
#[test]
fn after_a_crash_between_two_operations_the_documented_files_are_there() {
    // Operation after which the power goes, durable files in new/, files that may be left in tmp/
    // and in new/.
    let rows = [
        ("create", 0, 1, 0),
        ("write", 0, 1, 0),
        ("sync", 0, 1, 0),
        ("close", 0, 1, 0),
        ("rename", 0, 0, 1),
        ("sync the directory", 1, 0, 1),
    ];
    for (number, (operation, durable, tmp, new)) in rows.into_iter().enumerate() {
        let disk = Simulated::default();
        let maildir = open(&disk);
        disk.plan(Plan::FailFrom(number + 1, EIO));
        let result = runtime().block_on(store(&maildir, [Bytes::from("text\r\n")]));
        let root = Path::new(ROOT);
        assert_eq!(result.is_ok(), durable == 1, "{operation}");
        assert_eq!(
            disk.durable_files_in(&root.join("new")).len(),
            durable,
            "{operation}"
        );
        assert_eq!(disk.files_in(&root.join("tmp")).len(), tmp, "{operation}");
        assert_eq!(disk.files_in(&root.join("new")).len(), new, "{operation}");
    }
}
