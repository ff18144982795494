//! The receivers of `docs/how-to/webhook.md`, as they stand there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

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
        let mut options = options();
        options.secret_files = vec![path(secret)];

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

/// A project of Django's own making, with what the page adds to its files.
#[tokio::test]
async fn django_hands_what_is_posted_to_the_code_of_the_page() {
    let python = "prixfixe-webhook-python";
    if !has(python) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = Command::new(python)
        .args(["-m", "django", "startproject", "site_", "."])
        .current_dir(folder.path())
        .status();
    assert!(made.expect("it starts").success());
    let (_, page) = PAGE.split_once("## Django\n").expect("a section");
    let mut blocks = page.split("```python\n").skip(1);
    let mut append = |name: &str| {
        let block = blocks.next().expect("a block").split_once("```");
        let block = block.expect("its end").0.replace("PASSWORD\"", "secret\"");
        let before = fs::read_to_string(path(name)).unwrap_or_default();
        fs::write(path(name), before + &block).unwrap();
    };
    append("site_/settings.py");
    append("site_/urls.py");
    append("site_/inbound.py");
    fs::write(path("hook.password"), "secret\n").unwrap();
    let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let django = Command::new(python)
        .args(["-u", "manage.py", "runserver", "--noreload"])
        .arg(port.to_string())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut django = Running(django);
    wait_until("Django listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let mut options = options();
    options.format = prixfixe_delivery::WebhookFormat::Postmark;
    options.username = Some("prixfixe".into());
    options.password_file = Some(path("hook.password"));
    let url = format!("http://127.0.0.1:{port}/anymail/postmark/inbound/");
    let envelope = envelope("ann@example.com", &["bob@example.com"]);
    let message = Message::new(client(), envelope, [HELLO]);
    let outcome = deliver(&open(&url, options), message).await;
    assert_eq!(reply(&outcome), "250", "{}", detail(&outcome));

    let printed = BufReader::new(django.0.stdout.take().unwrap()).lines();
    let mut lines = printed.map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("bob@example.com "));
    assert!(line.expect("it is printed").contains(" Hello "));
}

/// Action Mailbox's own code takes `raw` as the page says, keeps every byte of it, and knows a
/// message that comes again.
#[tokio::test]
async fn action_mailbox_keeps_what_is_posted_as_it_is() {
    let check = [
        "-e",
        "require 'rails'; require 'action_mailbox/engine'; require 'puma'; require 'sqlite3'",
    ];
    if !has("ruby") {
        return;
    }
    let checked = Command::new("ruby")
        .args(check)
        .stderr(Stdio::null())
        .status();
    if !checked.is_ok_and(|status| status.success()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("rails.password");
    fs::write(&password, "secret\n").unwrap();
    let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let rails = Command::new("ruby")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/webhook/rails.rb"
        ))
        .args([port.to_string(), folder.path().display().to_string()])
        .env("RAILS_INBOUND_EMAIL_PASSWORD", "secret")
        .env("RAILS_ENV", "production")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut rails = Running(rails);
    wait_until("Rails listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let webhook = || {
        let mut options = options();
        options.format = prixfixe_delivery::WebhookFormat::Raw;
        options.username = Some("actionmailbox".into());
        options.password_file = Some(password.clone());

        let path = "rails/action_mailbox/relay/inbound_emails";
        open(&format!("http://127.0.0.1:{port}/{path}"), options)
    };
    let content = |number: u32| {
        let head = format!(
            "Message-ID: <{number}@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\n\r\n"
        );
        [head.as_bytes(), b"\xe4\r\n.\r\n\r\n"].concat()
    };
    let right = webhook();
    for number in [1, 1, 2] {
        let envelope = envelope("ann@example.com", &["bob@example.org"]);
        let message = Message::new(client(), envelope, [content(number)]);
        let outcome = deliver(&right, message).await;
        assert_eq!(reply(&outcome), "250", "{}", detail(&outcome));
    }
    fs::write(&password, "wrong\n").unwrap();
    let envelope = envelope("ann@example.com", &["bob@example.org"]);
    let message = Message::new(client(), envelope, [content(3)]);
    let outcome = deliver(&webhook(), message).await;
    assert_eq!(reply(&outcome), "451 4.4.1");
    assert!(
        detail(&outcome).contains("status 401"),
        "{}",
        detail(&outcome)
    );

    let printed = BufReader::new(rails.0.stdout.take().unwrap());
    let mut lines: Vec<String> = printed.lines().map_while(Result::ok).take(2).collect();
    // They are kept by threads of their own.
    lines.sort_unstable();
    let mut expected: Vec<String> = [1, 2]
        .map(|number| format!("bob@example.org Hello {}", sha256(&content(number))))
        .into();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
