//! The receivers of `docs/how-to/webhook.md`, as they stand there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use prixfixe_delivery::WebhookOptions;
use prixfixe_server::Message;
use prixfixe_test_support::{has, unused_port, wait_until};

use crate::endpoint::{HELLO, client, deliver, detail, envelope, open, options, reply};

const PAGE: &str = include_str!("../../../docs/how-to/webhook.md");

/// Ends a receiver with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first block of a language.
fn block(language: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    rest.split_once("```").expect("its end").0
}

async fn a_receiver_works(interpreter: &str, language: &str, name: &str) {
    if !has(interpreter) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path(name), block(language)).unwrap();
    fs::write(
        path("hook.secret"),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
    )
    .unwrap();
    fs::write(
        path("other.secret"),
        "whsec_bmV4dCBzZWNyZXQgZm9yIHdlYmhvb2tz\n",
    )
    .unwrap();
    let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let receiver = Command::new(interpreter)
        .arg(path(name))
        .args([port.to_string(), path("hook.secret").display().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut receiver = Running(receiver);
    wait_until("the receiver listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let webhook = |secret: &str| {
        let options = WebhookOptions {
            secret_files: vec![path(secret)],
            ..options()
        };
        open(&format!("http://127.0.0.1:{port}/mail"), options)
    };
    let message = |to: &str| Message::new(client(), envelope("ann@example.com", &[to]), [HELLO]);
    let right = webhook("hook.secret");
    for to in ["bob@example.com", "bob@example.com", "eve@example.com"] {
        let outcome = deliver(&right, message(to)).await;
        assert_eq!(reply(&outcome), "250", "{}", detail(&outcome));
    }
    let outcome = deliver(&right, message("nobody@example.com")).await;
    assert_eq!(
        outcome.unwrap_err().reply().to_string(),
        "550 5.1.1 no such user"
    );
    let forged = deliver(&webhook("other.secret"), message("bob@example.com")).await;
    assert!(
        detail(&forged).contains("status 401"),
        "{}",
        detail(&forged)
    );

    let printed = receiver.0.stdout.take().unwrap();
    let lines: Vec<String> = BufReader::new(printed)
        .lines()
        .map_while(Result::ok)
        .take(3)
        .collect::<Vec<_>>();
    let lines: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("example.com"))
        .collect();
    // The repeat is not printed.
    assert!(
        lines[0].contains("bob@example.com") && lines[0].contains("Hello"),
        "{lines:?}"
    );
    assert!(lines[1].contains("eve@example.com"), "{lines:?}");
}

#[tokio::test]
async fn the_receiver_in_python_works() {
    a_receiver_works("python3", "python", "receiver.py").await;
}

#[tokio::test]
async fn the_receiver_in_node_works() {
    a_receiver_works("node", "js", "receiver.mjs").await;
}
