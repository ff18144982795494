//! The real disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prixfixe_delivery::{Maildir, MaildirOptions, MinFree, OpenError, StoreError};

use crate::messages::{one_worker, store};

pub fn contents(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_and_directories_are_their_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("deep/er/mail");
    let maildir = Maildir::open(&root, MaildirOptions::default()).unwrap();
    let file = store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    assert_eq!(
        contents(&root.join("new")),
        BTreeMap::from([(file.clone(), b"text\r\n".to_vec())])
    );
    assert_eq!(mode(&file), 0o600);
    for made in [
        &root,
        &root.join("tmp"),
        &root.join("new"),
        &root.join("cur"),
    ] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
}

#[tokio::test]
async fn many_threads_and_two_handles_store_everything_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = MaildirOptions::default();
    options.fsync = false;
    let open = || Maildir::open(directory.path(), options.clone()).unwrap();
    let maildirs = [open(), open()];
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let maildir = maildirs[number % 2].clone();
            tokio::spawn(async move {
                // Every eighth is large enough to go in pieces.
                let content = Bytes::from(format!("{number}\r\n").repeat(if number % 8 == 0 {
                    60_000
                } else {
                    1
                }));
                let pieces: Vec<Bytes> = content
                    .chunks(50_000)
                    .map(|piece| content.slice_ref(piece))
                    .collect();
                (store(&maildir, pieces).await.unwrap(), content.to_vec())
            })
        })
        .collect();
    let mut expected = BTreeMap::new();
    for task in tasks {
        let (path, content) = task.await.unwrap();
        assert!(expected.insert(path, content).is_none());
    }
    assert!(contents(&directory.path().join("new")) == expected);
    assert!(contents(&directory.path().join("tmp")).is_empty());
}

#[tokio::test]
async fn a_directory_that_vanishes_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("mail");
    let maildir = Maildir::open(&root, one_worker()).unwrap();
    for vanished in ["tmp", "new", "cur"] {
        fs::remove_dir_all(root.join(vanished)).unwrap();
        let file = store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
        assert!(file.exists(), "{vanished:?}");
    }
}

/// It may be where a file system was mounted.
#[tokio::test]
async fn a_root_that_vanishes_is_never_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (root, aside) = (
        directory.path().join("mail"),
        directory.path().join("aside"),
    );
    let maildir = Maildir::open(&root, one_worker()).unwrap();
    let message = || [Bytes::from("text\r\n")];

    fs::rename(&root, &aside).unwrap();
    let refused = store(&maildir, message()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fault(_)), "{refused}");
    assert!(!root.exists() && maildir.health().fault().is_some());

    // Another directory, and nothing that says that it is a Maildir.
    fs::create_dir(&root).unwrap();
    let refused = store(&maildir, message()).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is a file system not mounted?"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

    fs::remove_dir(&root).unwrap();
    fs::rename(&aside, &root).unwrap();
    store(&maildir, message()).await.unwrap();
    assert!(maildir.health().fault().is_none());
}

#[tokio::test]
async fn a_directory_that_vanishes_in_the_middle_of_a_message_is_a_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("mail");
    let maildir = Maildir::open(&root, one_worker()).unwrap();
    let large = Bytes::from(vec![b'x'; 200_000]);
    let mut message = maildir.begin(Vec::new());
    for _ in 0..3 {
        message.write(large.clone()).await.unwrap();
    }
    fs::remove_dir_all(root.join("tmp")).unwrap();
    assert!(matches!(message.commit().await, Err(StoreError::Fault(_))));
    store(&maildir, [large.clone(), large]).await.unwrap();
    assert_eq!(contents(&root.join("new")).len(), 1);
    assert_eq!(contents(&root.join("tmp")).len(), 0);
}

#[test]
fn what_is_no_directory_is_an_error_at_start_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    fs::create_dir(directory.path().join("mail")).unwrap();
    let new = directory.path().join("mail/new");
    File::create(&new).unwrap();
    for (root, named) in [
        (file.clone(), &file),
        (file.join("below"), &file),
        (directory.path().join("mail"), &new),
    ] {
        match Maildir::open(&root, MaildirOptions::default()) {
            Err(OpenError::Unusable(fault)) => assert!(
                fault.subject().starts_with(named.to_str().unwrap()),
                "{fault}"
            ),
            other => panic!("{}: {other:?}", root.display()),
        }
    }
    assert!(matches!(
        Maildir::open("", MaildirOptions::default()),
        Err(OpenError::Path { .. })
    ));
}

#[test]
fn only_old_files_of_deliveries_are_swept_from_tmp_and_from_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    drop(Maildir::open(directory.path(), MaildirOptions::default()).unwrap());
    let hours = |hours| SystemTime::now() - Duration::from_hours(hours);
    let files = [
        ("tmp/1700000000.M1P2Q3.other.example", 37, false),
        ("tmp/1700000001.M1P2Q3.other.example", 35, true),
        ("tmp/notes.txt", 1000, true),
        ("tmp/.keep", 1000, true),
        ("new/1700000000.M1P2Q3.other.example", 1000, true),
        ("cur/1700000000.M1P2Q3.other.example:2,S", 1000, true),
    ];
    for (name, age, _) in files {
        File::create(directory.path().join(name))
            .unwrap()
            .set_modified(hours(age))
            .unwrap();
    }
    drop(Maildir::open(directory.path(), MaildirOptions::default()).unwrap());
    for (name, _, stays) in files {
        assert_eq!(directory.path().join(name).exists(), stays, "{name}");
    }
}

/// A file system of its own, where the test may mount one (as root on Linux).
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let mounted = Self(tempfile::tempdir().unwrap());
        if mounted.try_mount(options) {
            return Some(mounted);
        }
        let reason = "nothing can be mounted here";
        assert!(
            std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
            "{reason}"
        );
        eprintln!("skipped: {reason}");
        None
    }

    fn try_mount(&self, options: &str) -> bool {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0.path())
            .output();
        mounted.is_ok_and(|output| output.status.success())
    }

    fn mount(&self, options: &str) {
        assert!(self.try_mount(options));
    }

    /// Files that are open in it may stay so.
    fn unmount(&self) {
        let status = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
        assert!(status.unwrap().success());
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", options])
            .arg(self.0.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// What is below a mount point looks like a Maildir, the worst case.
#[tokio::test]
async fn a_file_system_that_is_unmounted_takes_no_mail_below_it_and_works_when_it_is_back() {
    let Some(mounted) = Mounted::new("size=4m") else {
        return;
    };
    let root = mounted.0.path().to_owned();
    let mut options = MaildirOptions::default();
    options.probe_interval = Duration::from_millis(1);
    // On the disk below: a server was started once before the file system was mounted.
    mounted.unmount();
    drop(Maildir::open(&root, MaildirOptions::default()).unwrap());
    mounted.mount("size=4m");

    let maildir = Maildir::open(&root, options).unwrap();
    let mut health = maildir.health();
    let message = || [Bytes::from("text\r\n")];
    store(&maildir, message()).await.unwrap();
    for _ in 0..2 {
        mounted.unmount();
        while health.fault().is_none() {
            health.changed().await;
        }
        let refused = store(&maildir, message()).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("is a file system not mounted?"),
            "{refused}"
        );
        assert!(
            contents(&root.join("new")).is_empty(),
            "mail is on the disk below"
        );

        // Another file system, perhaps by its number too, with a Maildir on it.
        mounted.mount("size=4m");
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        while health.fault().is_some() {
            health.changed().await;
        }
        store(&maildir, message()).await.unwrap();
        assert_eq!(contents(&root.join("new")).len(), 1);
    }
}

#[tokio::test]
async fn too_little_free_space_is_seen_and_so_is_enough() {
    let Some(mounted) = Mounted::new("size=4m,nr_inodes=2000") else {
        return;
    };
    let mut options = MaildirOptions::default();
    options.probe_interval = Duration::from_millis(1);
    options.min_free = MinFree::bytes(1 << 20);
    let maildir = Maildir::open(mounted.0.path().join("mail"), options.clone()).unwrap();
    let mut health = maildir.health();
    assert!(health.fault().is_none());
    let storage = maildir.storage().unwrap();
    assert_eq!(storage.min_free, options.min_free);
    assert!(
        !storage.is_short && storage.free.bytes > 3 << 20,
        "{storage:?}"
    );

    let ballast = mounted.0.path().join("ballast");
    fs::write(&ballast, vec![0; 7 << 19]).unwrap();
    while health.fault().is_none() {
        health.changed().await;
    }
    let fault = health.fault().unwrap();
    assert!(
        fault.is_no_space()
            && fault
                .to_string()
                .contains(" bytes are free, 1153433 are needed"),
        "{fault}"
    );
    // What is under way already is stored, and that ends nothing.
    store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    assert!(health.fault().is_some() && maildir.storage().unwrap().is_short);
    // One that starts now refuses from the start.
    let another = Maildir::open(mounted.0.path().join("mail"), options).unwrap();
    assert!(another.health().fault().is_some());
    // Off, it does not.
    another.set_min_free(MinFree::OFF);
    assert!(another.health().fault().is_none());

    fs::remove_file(ballast).unwrap();
    while health.fault().is_some() {
        health.changed().await;
    }
    // 1,000 inodes are the other limit.
    for number in 0..1200 {
        File::create(mounted.0.path().join(number.to_string())).unwrap();
    }
    while health.fault().is_none() {
        health.changed().await;
    }
    let fault = health.fault().unwrap();
    assert!(
        fault
            .to_string()
            .contains(" inodes are free, 1100 are needed"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_and_works_again_when_there_is_room() {
    let Some(mounted) = Mounted::new("size=1m") else {
        return;
    };
    let root = mounted.0.path().join("mail");
    let mut options = MaildirOptions::default();
    options.probe_interval = Duration::from_millis(1);
    let maildir = Maildir::open(&root, options).unwrap();
    let mut health = maildir.health();

    let ballast = mounted.0.path().join("ballast");
    let filled = File::create(&ballast).unwrap().write_all(&vec![0; 2 << 20]);
    assert!(filled.is_err());
    let refused = store(&maildir, [Bytes::from(vec![b'x'; 20_000])])
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::NoSpace(_)), "{refused}");
    assert!(contents(&root.join("new")).is_empty() && health.fault().is_some());
    // A server that is started on a full disk runs, and refuses.
    assert!(
        Maildir::open(&root, one_worker())
            .unwrap()
            .health()
            .fault()
            .is_some()
    );

    fs::remove_file(ballast).unwrap();
    while health.fault().is_some() {
        health.changed().await;
    }
    store(&maildir, [Bytes::from(vec![b'x'; 20_000])])
        .await
        .unwrap();
    assert_eq!(contents(&root.join("new")).len(), 1);
}

#[tokio::test]
async fn a_read_only_disk_refuses_and_is_an_error_at_start() {
    let Some(mounted) = Mounted::new("size=1m") else {
        return;
    };
    let root = mounted.0.path().join("mail");
    let maildir = Maildir::open(&root, one_worker()).unwrap();
    mounted.remount("remount,ro");
    let refused = store(&maildir, [Bytes::from("text\r\n")])
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("Read-only file system"),
        "{refused}"
    );
    assert!(matches!(
        Maildir::open(&root, one_worker()),
        Err(OpenError::Unusable(_))
    ));
    mounted.remount("remount,rw");
    store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
}
