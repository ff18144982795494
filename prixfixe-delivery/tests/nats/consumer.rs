//! Consumers on libraries that no one here wrote, nats-py and nats.js: those of
//! `docs/how-to/nats.md`, as they stand there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use prixfixe_test_support::{has, python_with};

use super::*;

/// The first block in that language.
fn example(language: &str) -> &'static str {
    let page = include_str!("../../../docs/how-to/nats.md");
    let (_, behind) = page
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    behind.split_once("```").expect("its end").0
}

struct Consumer(Child);

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_in_python_reads_messages_and_objects() {
    let Some(python) = python_with("nats") else {
        return;
    };
    let mut command = Command::new(python);
    command.args(["-c", example("python")]);
    let lines = read_by(command).await;
    for (line, subject) in lines.iter().zip(["small", "large"]) {
        assert!(line.starts_with("ann@example.com "), "{line}");
        assert!(line.ends_with(&format!(" {subject}")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_in_javascript_reads_messages_and_objects() {
    let node = "prixfixe-node";
    if !has(node) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("app.mjs");
    fs::write(&script, example("javascript")).unwrap();
    let modules = "process.stdout.write(process.env.PRIXFIXE_NODE_MODULES)";
    let modules = Command::new(node).args(["-e", modules]).output().unwrap();
    let modules = String::from_utf8(modules.stdout).unwrap();
    symlink(modules, folder.path().join("node_modules")).unwrap();
    let mut command = Command::new(node);
    command.arg(script);
    let lines = read_by(command).await;
    for line in &lines {
        assert!(
            line.starts_with("ann@example.com [ 'bob@example.org' ] "),
            "{line}"
        );
    }
    let sizes: Vec<u64> = lines
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(sizes[0] < 1_000 && sizes[1] > 2_400_000, "{sizes:?}");
}

/// What a consumer prints of a message and of one that is an object.
async fn read_by(mut command: Command) -> Vec<String> {
    let Some(server) = NatsServer::start() else {
        return Vec::new();
    };
    prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let large = content("large") + &"0123456789\r\n".repeat(200_000);
    for content in [content("small"), large] {
        let outcomes = send(&target, &["bob@example.org"], content).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    command
        .env("NATS_URL", server.address())
        .stdout(Stdio::piped());
    let mut consumer = Consumer(command.spawn().expect("it runs"));
    let output = BufReader::new(consumer.0.stdout.take().expect("its output"));
    let lines = tokio::task::spawn_blocking(move || {
        let lines: Vec<String> = output
            .lines()
            .take(2)
            .map(|it| it.expect("a line"))
            .collect();
        lines
    });
    let lines = lines.await.unwrap();
    assert_eq!(lines.len(), 2);
    lines
}
