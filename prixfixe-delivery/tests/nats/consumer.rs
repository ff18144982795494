//! A consumer that no one here wrote, on nats-py: the one of `docs/how-to/nats.md`, as it stands there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use prixfixe_test_support::python_with;

use super::server::Server;
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
async fn the_consumer_of_the_guide_reads_messages_and_objects() {
    let Some(python) = python_with("nats") else {
        return;
    };
    let Some(server) = Server::start() else {
        return;
    };
    prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let large = content("large") + &"0123456789\r\n".repeat(200_000);
    for content in [content("small"), large] {
        let outcomes = send(&target, &["bob@example.org"], content).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    let mut command = Command::new(python);
    command
        .args(["-c", example("python")])
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
    for (line, subject) in lines.iter().zip(["small", "large"]) {
        assert!(line.starts_with("ann@example.com "), "{line}");
        assert!(line.ends_with(&format!(" {subject}")), "{line}");
    }
    assert_eq!(lines.len(), 2);
}
