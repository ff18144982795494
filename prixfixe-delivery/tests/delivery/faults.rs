//! Every operation fails once, in every way, and nothing is lost by it.

use std::path::Path;

use bytes::Bytes;
use prixfixe_delivery::{Maildir, OpenError, StoreError};
use prixfixe_server::Reply;

use crate::messages::{ROOT, one_worker, open, runtime, store};
use crate::simulated::{Operation, Plan, Simulated, errno::*};

const ERRORS: [i32; 7] = [ENOENT, EIO, EACCES, EMFILE, ENOSPC, EROFS, EDQUOT];

fn message() -> Vec<Bytes> {
    // A batch, and then some: the file goes to the worker twice.
    vec![
        Bytes::from(vec![b'x'; 120_000]),
        Bytes::from(vec![b'y'; 20_000]),
    ]
}

fn content() -> Vec<u8> {
    message().concat()
}

/// The operations of one message on a sound disk.
fn sound() -> Vec<Operation> {
    let disk = Simulated::default();
    let maildir = open(&disk);
    disk.plan(Plan::Sound);
    runtime().block_on(store(&maildir, message())).unwrap();
    disk.operations()
}

#[test]
fn whatever_operation_fails_the_message_is_refused_or_safe_and_the_next_one_is_stored() {
    let operations = sound();
    assert_eq!(operations.len(), 7, "{operations:?}");
    for (number, operation) in operations.iter().enumerate() {
        for error in ERRORS {
            let disk = Simulated::default();
            let maildir = open(&disk);
            disk.plan(Plan::Fail(number, error));
            let result = runtime().block_on(store(&maildir, message()));
            let context = format!("{operation:?} fails with {error}: {result:?}");

            let new = Path::new(ROOT).join("new");
            let vanished =
                error == ENOENT && matches!(operation, Operation::Create | Operation::Rename);
            assert_eq!(result.is_ok(), vanished, "{context}");
            assert_eq!(
                disk.files_in(&new).len(),
                usize::from(vanished),
                "{context}"
            );
            assert_eq!(
                disk.files_in(&Path::new(ROOT).join("tmp")).len(),
                0,
                "{context}"
            );
            if let Err(refused) = result {
                check_reply(&refused, error, &context);
                assert!(maildir.health().fault().is_some(), "{context}");
            }

            runtime()
                .block_on(store(&maildir, message()))
                .expect(&context);
            assert!(maildir.health().fault().is_none(), "{context}");
            assert!(
                disk.durable_files_in(&new)
                    .values()
                    .all(|file| *file == content()),
                "{context}"
            );
        }
    }
}

#[test]
fn a_disk_that_stays_broken_shows_nothing_in_new_and_recovers_by_itself() {
    for number in 0..sound().len() {
        for error in ERRORS {
            let disk = Simulated::default();
            let maildir = open(&disk);
            disk.plan(Plan::FailFrom(number, error));
            let refused = runtime().block_on(store(&maildir, message())).unwrap_err();
            let context = format!("from operation {number} on all fail with {error}: {refused:?}");
            check_reply(&refused, error, &context);
            assert!(
                disk.state().published.iter().all(|file| *file == content()),
                "{context}"
            );

            disk.plan(Plan::Sound);
            let stored = runtime()
                .block_on(store(&maildir, message()))
                .expect(&context);
            assert_eq!(
                disk.durable_files_in(&Path::new(ROOT).join("new"))[&stored],
                content(),
                "{context}"
            );
        }
    }
}

#[test]
fn a_worker_that_panics_refuses_the_message_and_stores_the_next_one() {
    for (number, operation) in sound().iter().enumerate() {
        let disk = Simulated::default();
        // One worker: were it gone, nothing would be stored any more.
        let maildir = open(&disk);
        disk.plan(Plan::Panic(number));
        let refused = runtime().block_on(store(&maildir, message())).unwrap_err();
        let context = format!("{operation:?} panics: {refused:?}");
        assert!(matches!(refused, StoreError::Stopped), "{context}");
        assert_eq!(
            disk.files_in(&Path::new(ROOT).join("tmp")).len(),
            0,
            "{context}"
        );

        let stored = runtime()
            .block_on(store(&maildir, message()))
            .expect(&context);
        assert_eq!(
            disk.durable_files_in(&Path::new(ROOT).join("new"))[&stored],
            content(),
            "{context}"
        );
    }
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let operations = sound();
    for (number, operation) in operations.iter().enumerate() {
        if !matches!(operation, Operation::Sync | Operation::SyncDirectory) {
            continue;
        }
        let disk = Simulated::default();
        let maildir = open(&disk);
        disk.plan(Plan::Fail(number, EIO));
        runtime().block_on(store(&maildir, message())).unwrap_err();
        // When the next message was stored the worker is done with this one.
        let again = disk.operations();
        assert_eq!(
            again.iter().filter(|other| *other == operation).count(),
            1,
            "{again:?}"
        );
    }
}

#[test]
fn a_rename_that_was_done_and_reported_as_failed_leaves_nothing_in_new() {
    let disk = Simulated::default();
    let maildir = open(&disk);
    disk.state().lose_renames = true;
    runtime().block_on(store(&maildir, message())).unwrap_err();
    assert_eq!(disk.files_in(&Path::new(ROOT).join("new")).len(), 0);
}

#[test]
fn a_failed_sync_of_the_directory_fails_every_message_that_it_was_for() {
    let disk = Simulated::default();
    let mut options = one_worker();
    options.workers = 8.try_into().unwrap();
    let maildir = Maildir::open_on(disk.clone(), ROOT, options).unwrap();
    disk.plan(Plan::Sound);
    // Every sync of the directory fails: whoever shares one shares its fate.
    disk.state().fail_directories = true;
    runtime().block_on(async {
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let maildir = maildir.clone();
                tokio::spawn(
                    async move { store(&maildir, [Bytes::from(format!("{number}"))]).await },
                )
            })
            .collect();
        for task in tasks {
            assert!(matches!(task.await.unwrap(), Err(StoreError::Fault(_))));
        }
    });
    assert_eq!(disk.files_in(&Path::new(ROOT).join("new")).len(), 0);
}

#[test]
fn a_maildir_that_cannot_be_made_is_an_error_at_start_and_a_full_disk_is_not() {
    let disk = Simulated::default();
    open(&disk);
    let count = disk.operations().len();
    assert!(count > 10, "{count}");
    for number in 0..count {
        for error in [EIO, EACCES, EROFS, ENOSPC] {
            let disk = Simulated::default();
            disk.plan(Plan::FailFrom(number, error));
            let context = format!("operation {number} fails with {error}");
            match Maildir::open_on(disk.clone(), ROOT, one_worker()) {
                Ok(maildir) if error == ENOSPC => {
                    disk.plan(Plan::Sound);
                    runtime()
                        .block_on(store(&maildir, message()))
                        .expect(&context);
                }
                // Of what comes after the trial of a file, only the sweep, which can wait.
                Ok(_) => assert!(
                    disk.operations()[number..].contains(&Operation::List),
                    "{context}"
                ),
                Err(OpenError::Unusable(fault)) => {
                    assert!(!fault.is_no_space(), "{context}: {fault}")
                }
                Err(other) => panic!("{context}: {other}"),
            }
        }
    }
}

fn check_reply(refused: &StoreError, error: i32, context: &str) {
    let no_space = matches!(error, ENOSPC | EDQUOT);
    assert_eq!(
        matches!(refused, StoreError::NoSpace(_)),
        no_space,
        "{context}"
    );
    let reply = Reply::from(refused.clone());
    let expected = if no_space {
        (452, "4.3.1")
    } else {
        (451, "4.3.0")
    };
    assert_eq!(
        (reply.code(), reply.enhanced().to_string().as_str()),
        expected,
        "{context}"
    );
}
