//! Several processes, and one that is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use prixfixe_delivery::{Maildir, MaildirOptions};

use crate::directory::contents;
use crate::messages::store;

const DIRECTORY: &str = "PRIXFIXE_TEST_MAILDIR";
const COUNT: &str = "PRIXFIXE_TEST_COUNT";

/// What a child process runs: it stores messages, and prints the name of each when it was stored.
#[tokio::test]
#[ignore = "the tests below run it in processes of its own"]
async fn child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let count: usize = std::env::var(COUNT).unwrap().parse().unwrap();
    let mut options = MaildirOptions::default();
    options.workers = 4.try_into().unwrap();
    let maildir = Maildir::open(directory, options).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let maildir = maildir.clone();
            tokio::spawn(async move {
                for _ in 0..count {
                    let file = store(
                        &maildir,
                        content().chunks(50_000).map(Bytes::copy_from_slice),
                    )
                    .await
                    .unwrap();
                    // In one write, so that the parent never reads half of a name.
                    let line = format!("\n{STORED}{}\n", file.display());
                    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

const STORED: &str = "stored ";

fn content() -> Vec<u8> {
    b"All of it or nothing.\r\n".repeat(8_000)
}

fn spawn(directory: &Path, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn stored(child: &mut Child) -> impl Iterator<Item = PathBuf> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(STORED).map(PathBuf::from))
}

#[test]
fn several_processes_share_a_maildir() {
    let directory = tempfile::tempdir().unwrap();
    let mut children: Vec<Child> = (0..3).map(|_| spawn(directory.path(), 5)).collect();
    let mut names: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for child in &mut children {
        for path in stored(child) {
            assert!(names.insert(path, content()).is_none());
        }
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names.len(), 3 * 4 * 5);
    assert!(contents(&directory.path().join("new")) == names);
    assert!(contents(&directory.path().join("tmp")).is_empty());
}

#[test]
fn a_process_that_is_killed_has_lost_nothing_that_it_acknowledged() {
    for after in [1, 10, 25] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = spawn(directory.path(), usize::MAX);
        let mut acknowledged = stored(&mut child);
        let mut names: Vec<PathBuf> = acknowledged.by_ref().take(after).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        names.extend(acknowledged);
        assert!(names.len() >= after);

        let files = contents(&directory.path().join("new"));
        for name in names {
            assert!(files.contains_key(&name), "lost: {}", name.display());
        }
        assert!(
            files.values().all(|file| *file == content()),
            "a part of a message is in new/"
        );
    }
}

/// What a child process runs: it begins a message that is too large for memory, and waits with it.
#[tokio::test]
#[ignore = "the test below runs it in a process of its own"]
async fn child_that_holds_a_message() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let maildir = Maildir::open(directory, MaildirOptions::default()).unwrap();
    let mut message = maildir.begin(Vec::new());
    for piece in content().chunks(50_000) {
        message.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    println!("\n{HELD}");
    // Until the parent says so, or is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    message.commit().await.unwrap();
}

const HELD: &str = "held";

#[test]
fn the_files_of_a_dead_process_are_swept_at_start_and_those_of_a_live_one_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let hold = || {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child_that_holds_a_message"])
            .args(["--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == HELD));
        (child, lines)
    };
    let files = || contents(&directory.path().join("tmp")).len();
    let start = || drop(Maildir::open(directory.path(), MaildirOptions::default()).unwrap());
    let ((mut live, _lines), (mut dead, _)) = (hold(), hold());
    start();
    assert_eq!(files(), 2);
    dead.kill().unwrap();
    dead.wait().unwrap();
    start();
    assert_eq!(files(), 1);

    live.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(live.wait().unwrap().success());
    assert_eq!(files(), 0);
    assert_eq!(
        contents(&directory.path().join("new"))
            .into_values()
            .collect::<Vec<_>>(),
        [content()]
    );
}
