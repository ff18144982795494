//! What a program is given, and what comes of how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prixfixe_delivery::{
    Delivered, Delivery, Failure, Outcomes, Pipe, PipeError, PipeOptions, PipeUrl, Target,
};
use prixfixe_server::{Client, Envelope, Mail, Message};
use prixfixe_test_support::{PATIENCE, wait_until};
use tempfile::TempDir;
use tokio::time::timeout;

/// A shell script in a folder of its own, which is `$D` in it.
pub(crate) struct Script {
    folder: TempDir,
}

impl Script {
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        // Another test's fork may hold a file that was written here open for a moment, and then it
        // cannot be executed.
        let script = format!("#!/bin/sh\nD={}\n{text}\n", folder.path().display());
        fs::write(folder.path().join("text"), script).unwrap();
        let copied = std::process::Command::new("cp")
            .args([folder.path().join("text"), path.clone()])
            .status();
        assert!(copied.unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub(crate) fn url(&self) -> PipeUrl {
        let url = format!("pipe:{}", self.path("program").display());
        url.parse().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn open(&self, options: PipeOptions) -> Pipe {
        Pipe::open(&self.url(), options).unwrap()
    }
}

/// Long enough for a shell to start on a machine with other work.
fn impatient() -> PipeOptions {
    let mut options = PipeOptions::default();
    options.final_timeout = Duration::from_secs(3);
    options
}

async fn hand(pipe: &Pipe, to: &[&str], content: &str) -> Result<Delivered, Failure> {
    let envelope = Envelope::builder().from("ann@example.com").unwrap();
    let envelope = to
        .iter()
        .fold(envelope, |envelope, to| envelope.to(to).unwrap())
        .build();
    let client = Client::builder().ehlo("mx.example.com").build();
    let mut transaction = pipe.begin(Mail::new(&client, &envelope)).answer().await?;
    for recipient in envelope.recipients() {
        transaction.rcpt(recipient).answer().await?;
    }
    let message = Message::new(client.clone(), envelope, [content.to_owned()]);
    match timeout(PATIENCE, transaction.deliver(message))
        .await
        .expect("in time")
    {
        Outcomes::All(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn reply(outcome: &Result<Delivered, Failure>) -> String {
    match outcome {
        Ok(_) => String::from("250"),
        Err(failure) => format!("{} {}", failure.reply().code(), failure.reply().enhanced()),
    }
}

fn detail(outcome: &Result<Delivered, Failure>) -> String {
    match outcome {
        Ok(delivered) => delivered.detail.as_deref().unwrap_or_default().to_owned(),
        Err(failure) => failure.detail().unwrap_or_default().to_owned(),
    }
}

const BOB: &[&str] = &["bob@example.org"];

#[tokio::test]
async fn a_program_gets_the_message_and_a_clean_environment() {
    let script =
        Script::new("cat > $D/message; env > $D/env; printf '%s|' \"$@\" > $D/args; pwd > $D/pwd");
    let mut options = PipeOptions::default();
    options.args = vec!["-x".to_owned(), "a b; $HOME".to_owned()];

    let content = "Subject: Hello\r\n\r\n.\r\nHow are you?\r\n";
    let to = ["bob@example.org", "\"a b\"@example.org"];
    let outcome = hand(&script.open(options), &to, content).await;
    assert_eq!(reply(&outcome), "250");
    assert_eq!(detail(&outcome), "exit status 0");
    let message = script.read("message");
    let head = "Return-Path: <ann@example.com>\r\nDelivered-To: bob@example.org\r\n\
        Delivered-To: \"a b\"@example.org\r\nReceived: from mx.example.com";
    assert!(message.starts_with(head), "{message}");
    assert!(message.ends_with(content));
    assert_eq!(script.read("args"), "-x|a b; $HOME|");
    assert_eq!(script.read("pwd"), "/\n");
    let env = script.read("env");
    assert!(env.contains("SMTP_SENDER=ann@example.com\n"));
    assert!(env.contains("SMTP_RECIPIENTS=bob@example.org\n\"a b\"@example.org\n"));
    assert!(env.contains("PATH=/usr/local/bin:/usr/bin:/bin\n"));
    assert!(!env.contains("CARGO"));
    let digest = env
        .lines()
        .find_map(|line| line.strip_prefix("SMTP_DIGEST="))
        .unwrap();
    assert_eq!(digest.len(), 64);
    let id = env
        .lines()
        .find_map(|line| line.strip_prefix("SMTP_ID="))
        .unwrap();
    assert!(message.contains(&format!("id {id}")));
}

#[tokio::test]
async fn a_content_cannot_continue_our_header() {
    let script = Script::new("cat > $D/message");
    let outcome = hand(&script.open(PipeOptions::default()), BOB, " (forged)\r\n").await;
    assert_eq!(reply(&outcome), "250");
    assert!(script.read("message").ends_with("\r\n\r\n (forged)\r\n"));
}

#[tokio::test]
async fn the_exit_status_is_the_reply() {
    let rows = [
        ("exit 0", "250", "exit status 0"),
        ("exit 1", "451 4.3.0", "exit status 1"),
        ("exit 65", "550 5.6.0", "exit status 65"),
        ("exit 67", "550 5.1.1", "exit status 67"),
        ("exit 75", "451 4.3.0", "exit status 75"),
        (
            "echo 'no  such' >&2; echo user >&2; exit 67",
            "550 5.1.1",
            "exit status 67: no  such; user",
        ),
        ("exit 77", "550 5.7.1", "exit status 77"),
        ("exit 127", "451 4.3.0", "exit status 127"),
        ("kill -9 $$", "451 4.3.0", "killed by signal 9"),
        ("exec /nowhere", "451 4.3.0", "exit status 127"),
    ];
    for (text, expected, words) in rows {
        let script = Script::new(&format!("cat > /dev/null\n{text}"));
        let pipe = script.open(PipeOptions::default());
        let outcome = hand(&pipe, BOB, "Subject: x\r\n\r\n").await;
        assert_eq!(reply(&outcome), expected, "{text}");
        assert!(
            detail(&outcome).starts_with(words),
            "{text}: {}",
            detail(&outcome)
        );
        assert_eq!(
            pipe.health().fault().is_some(),
            expected.starts_with("451"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_program_need_not_read_all() {
    let large = format!("Subject: x\r\n\r\n{}", "y".repeat(4 << 20));
    for (text, expected) in [
        ("exit 0", "250"),
        ("exec <&-; exit 0", "250"),
        ("head -c 10 > $D/some; exit 67", "550 5.1.1"),
    ] {
        let outcome = hand(&Script::new(text).open(PipeOptions::default()), BOB, &large).await;
        assert_eq!(reply(&outcome), expected, "{text}");
    }
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let texts = [
        "sleep 1000",
        "trap '' TERM INT HUP; while :; do sleep 1000; done",
        "(trap '' TERM; exec sleep 1000) & echo waits >&2; wait",
        // It reads, and does not end.
        "cat > /dev/null; sleep 1000",
    ];
    let run = |text: &str| {
        let script = Script::new(&format!("echo $$ > $D/pid\n{text}"));
        tokio::spawn(async move {
            let outcome = hand(&script.open(impatient()), BOB, "Subject: x\r\n\r\n").await;
            (script, outcome)
        })
    };
    for run in texts.map(run) {
        let (script, outcome) = run.await.unwrap();
        assert_eq!(reply(&outcome), "451 4.3.0");
        assert!(
            detail(&outcome).contains("killed after 3 s"),
            "{}",
            detail(&outcome)
        );
        gone(&script, "pid");
    }
}

/// Waits until nothing of a process group is left.
fn gone(script: &Script, name: &str) {
    let group = script.read(name).trim().to_owned();
    wait_until("the process group is gone", || group_members(&group) == 0);
}

fn group_members(group: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let members = stats.filter(|stat| {
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            return false;
        };
        let fields: Vec<&str> = rest.split(' ').collect();
        // A zombie waits to be reaped, and does nothing any more.
        fields[0] != "Z" && fields[2] == group
    });
    members.count()
}

#[tokio::test]
async fn a_child_that_stays_holds_nobody_up() {
    let script = Script::new("echo $$ > $D/pid\nsleep 1000 & \necho done >&2; exit 0");
    let outcome = hand(
        &script.open(PipeOptions::default()),
        BOB,
        "Subject: x\r\n\r\n",
    )
    .await;
    assert_eq!(reply(&outcome), "250");
    assert_eq!(detail(&outcome), "exit status 0: done");
    let group = script.read("pid").trim().parse().unwrap();
    let group = rustix::process::Pid::from_raw(group).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_program_that_says_much_is_listened_to_and_cut() {
    let script =
        Script::new("yes 'a\u{1b}b' | head -c 1000000 >&2; yes | head -c 1000000; exit 75");
    let outcome = hand(
        &script.open(PipeOptions::default()),
        BOB,
        "Subject: x\r\n\r\n",
    )
    .await;
    let detail = detail(&outcome);
    assert!(detail.starts_with("exit status 75: a?b; a?b"), "{detail}");
    assert!(detail.len() < 2_000);
}

#[tokio::test]
async fn nobody_waits_any_more_and_the_program_is_killed() {
    let script = Script::new("echo $$ > $D/pid.new; mv $D/pid.new $D/pid; sleep 1000");
    let pipe = script.open(PipeOptions::default());
    let delivery = tokio::spawn(async move {
        let outcome = hand(&pipe, BOB, "Subject: x\r\n\r\n").await;
        panic!("{outcome:?}");
    });
    while !script.path("pid").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    delivery.abort();
    assert!(delivery.await.unwrap_err().is_cancelled());
    gone(&script, "pid");
}

#[tokio::test]
async fn recipients_that_no_environment_holds_come_separately() {
    let script = Script::new("cat > /dev/null; printf %s \"$SMTP_RECIPIENTS\" > $D/to");
    let pipe = script.open(PipeOptions::default());
    let to: Vec<String> = (0..1_100)
        .map(|n| format!("{n:0>50}@example.org"))
        .collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    // 1040 times 63 bytes are within 64 KiB, 1041 times are not.
    let outcome = hand(&pipe, &to[..1_040], "Subject: x\r\n\r\n").await;
    assert_eq!(reply(&outcome), "250");
    assert_eq!(script.read("to").lines().count(), 1_040);
    let outcome = hand(&pipe, &to[..1_041], "Subject: x\r\n\r\n").await;
    assert_eq!(reply(&outcome), "452 4.5.3");
}

#[tokio::test]
async fn no_more_run_at_once_than_allowed() {
    let script = Script::new("mkdir $D/running || exit 77\ncat > /dev/null\nrmdir $D/running");
    let mut options = PipeOptions::default();
    options.concurrency = 1.try_into().unwrap();

    let pipe = script.open(options);
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let pipe = pipe.clone();
            tokio::spawn(async move { reply(&hand(&pipe, BOB, "Subject: x\r\n\r\n").await) })
        })
        .collect();
    for run in runs {
        assert_eq!(run.await.unwrap(), "250");
    }
}

#[tokio::test]
async fn a_program_that_vanishes_is_a_fault_and_costs_no_message() {
    let script = Script::new("exit 0");
    let pipe = script.open(PipeOptions::default());
    fs::remove_file(script.path("program")).unwrap();
    let outcome = hand(&pipe, BOB, "Subject: x\r\n\r\n").await;
    assert_eq!(reply(&outcome), "451 4.3.0");
    assert!(detail(&outcome).starts_with("cannot run: "));
    assert!(pipe.health().fault().is_some());
    // It comes back, and no message is needed to see that.
    fs::copy("/bin/true", script.path("program")).unwrap();
    let is_up = async {
        while pipe.health().fault().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, is_up)
        .await
        .expect("it is found to be there again");
}

#[test]
fn what_is_no_program_is_found_at_the_start() {
    let open = |path: &Path| {
        let url: PipeUrl = format!("pipe:{}", path.display()).parse().unwrap();
        Pipe::open(&url, PipeOptions::default())
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(
        open(&folder.path().join("none")),
        Err(PipeError::Missing { .. })
    ));
    assert!(matches!(open(&file), Err(PipeError::NotExecutable { .. })));
    assert!(matches!(
        open(folder.path()),
        Err(PipeError::NotExecutable { .. })
    ));
    for text in [
        "pipe:",
        "pipe:cat",
        "pipe:./cat",
        "pipe:/",
        "/bin/cat",
        "pipe:|cat",
    ] {
        assert!(text.parse::<PipeUrl>().is_err(), "{text}");
    }
}

pub(crate) fn delivery(script: &Script) -> Delivery {
    Delivery::to("program", script.open(PipeOptions::default()))
}

pub(crate) fn message_of(script: &Script) -> String {
    script.read("message")
}

/// The program of `docs/how-to/pipe.md`, as it stands there.
#[tokio::test]
async fn the_program_of_the_guide_keeps_a_message_once() {
    const PAGE: &str = include_str!("../../../docs/how-to/pipe.md");
    let (_, rest) = PAGE.split_once("```sh\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let kept = "folder=/var/tmp/kept";
    assert!(program.contains(kept));
    let script = Script::new(&program.replace(kept, "folder=$D/kept"));
    let pipe = script.open(PipeOptions::default());
    for _ in 0..2 {
        let outcome = hand(&pipe, BOB, "Date: now\r\nSubject: x\r\n\r\n").await;
        assert_eq!(reply(&outcome), "250", "{}", detail(&outcome));
    }
    let files: Vec<_> = fs::read_dir(script.path("kept"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(files.len(), 1);
    let message = fs::read_to_string(files[0].path()).unwrap();
    assert!(message.contains("Delivered-To: bob@example.org\r\n"));
}
