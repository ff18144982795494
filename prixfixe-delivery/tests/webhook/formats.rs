//! The head of the request, and the format `raw`.

use std::fs;
use std::io::Write;
use std::time::Duration;

use prixfixe_delivery::{Webhook, WebhookFormat, WebhookOptions};
use prixfixe_server::{Client, Message};
use prixfixe_test_support::PATIENCE;

use crate::endpoint::{
    Endpoint, HELLO, OK, client, deliver, detail, envelope, open, options, post, reply,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_bmV4dCBzZWNyZXQgZm9yIHdlYmhvb2tz";

#[tokio::test]
async fn a_request_names_and_signs_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let endpoint = Endpoint::answering(OK);
    let mut options = options();
    options.secret_files = vec![write("old", SECRET), write("new", NEXT_SECRET)];
    options.username = Some("ann".to_owned());
    options.password_file = Some(write("password", "s:cret\nignored\n"));
    options.header_file = Some(write("headers", "# ours\nX-Api-Key: abc\nX-Other:  d e \n"));

    let webhook = open(&endpoint.url(), options);
    for _ in 0..2 {
        assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    }
    let requests = endpoint.requests();
    let first = &requests[0];
    assert_eq!(first.line, "POST /mail?from=smtp HTTP/1.1");
    assert_eq!(
        first.header("host"),
        Some(endpoint.address.to_string().as_str())
    );
    assert_eq!(
        first.header("authorization"),
        Some("Basic YW5uOnM6Y3JldA==")
    );
    assert_eq!(first.header("x-api-key"), Some("abc"));
    assert_eq!(first.header("x-other"), Some("d e"));
    let id = first.header("webhook-id").unwrap();
    assert_eq!(
        id,
        format!("msg_{}", first.json()["data"]["digest"].as_str().unwrap())
    );
    let signatures: Vec<_> = first
        .header("webhook-signature")
        .unwrap()
        .split(' ')
        .collect();
    assert!(signatures.len() == 2 && signatures.iter().all(|each| each.starts_with("v1,")));
    assert!(
        first
            .header("webhook-timestamp")
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    // The same message has the same name, each time that it comes.
    assert_eq!(requests[1].header("webhook-id"), Some(id));
    assert_ne!(requests[1].json()["data"]["id"], first.json()["data"]["id"]);
}

#[tokio::test]
async fn without_secrets_nothing_is_signed() {
    let endpoint = Endpoint::answering(OK);
    assert_eq!(
        reply(&post(&open(&endpoint.url(), options()), HELLO).await),
        "250"
    );
    let request = &endpoint.requests()[0];
    assert!(request.header("webhook-id").is_some());
    assert_eq!(request.header("webhook-signature"), None);
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_again_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, SECRET).unwrap();
    let endpoint = Endpoint::answering(OK);
    let mut options = options();
    options.secret_files = vec![path.clone()];

    let webhook = open(&endpoint.url(), options);
    let count = async || {
        assert_eq!(reply(&post(&webhook, HELLO).await), "250");
        let requests = endpoint.requests();
        let signature = requests
            .last()
            .unwrap()
            .header("webhook-signature")
            .unwrap();
        signature.split(' ').count()
    };
    assert_eq!(count().await, 1);
    fs::write(&path, format!("{SECRET}\n{NEXT_SECRET}\n")).unwrap();
    let begin = std::time::Instant::now();
    while count().await != 2 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What cannot be used changes nothing.
    fs::write(&path, "half").unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(count().await, 2);
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let open = |text: &str, options: WebhookOptions| {
        fs::write(&path, text).unwrap();
        let opened = Webhook::open(&"http://localhost/".parse().unwrap(), options);
        opened.map(drop).unwrap_err().to_string()
    };
    let secret = || {
        let mut options = options();
        options.secret_files = vec![path.clone()];
        options
    };
    let headers = || {
        let mut options = options();
        options.header_file = Some(path.clone());
        options
    };
    for (error, words) in [
        (open("hunter2", secret()), "whsec_"),
        (open("", secret()), "no secret"),
        (open("no colon", headers()), "Name: value"),
        (
            open("Webhook-Id: x", headers()),
            "webhook-id is not to be set",
        ),
        (
            open("Content-Length: 1", headers()),
            "content-length is not to be set",
        ),
        (open("A\u{0}: x", headers()), "Name: value"),
    ] {
        assert!(error.contains("file") && error.contains(words), "{error}");
        assert!(!error.contains("hunter2"));
    }
}

fn raw() -> WebhookOptions {
    let mut options = options();
    options.format = WebhookFormat::Raw;
    options
}

#[tokio::test]
async fn raw_is_the_message_and_headers_are_the_envelope() {
    let endpoint = Endpoint::answering(OK);
    let content = b"Subject: \xe9\r\n\r\nbytes \0 of any kind\r\n".to_vec();
    let client = Client::builder()
        .peer(([192, 0, 2, 7], 40_112))
        .ehlo("b\u{fc}cher.example")
        .build();
    let envelope = envelope("", &["bob@example.org", "j\u{f6}rg@example.org"]);
    let message = Message::new(client, envelope, [content.clone()]);
    assert_eq!(
        reply(&deliver(&open(&endpoint.url(), raw()), message).await),
        "250"
    );
    let request = &endpoint.requests()[0];
    assert_eq!(request.body, content);
    let size = content.len().to_string();
    for (name, value) in [
        ("content-type", "message/rfc822"),
        ("prixfixe-from", ""),
        ("prixfixe-peer", "192.0.2.7:40112"),
        ("prixfixe-helo", "UTF-8''b%C3%BCcher.example"),
        ("prixfixe-size", &size),
    ] {
        // An empty value has no blank behind the colon.
        assert_eq!(request.header(name).unwrap_or_default(), value, "{name}");
    }
    assert_eq!(
        request.all("prixfixe-to"),
        ["bob@example.org", "UTF-8''j%C3%B6rg%40example.org"]
    );
    let id = format!("msg_{}", request.header("prixfixe-digest").unwrap());
    assert_eq!(request.header("webhook-id"), Some(id.as_str()));
    for absent in ["prixfixe-tls", "prixfixe-user"] {
        assert_eq!(request.header(absent), None);
    }
}

#[tokio::test]
async fn recipients_that_no_header_holds_come_separately() {
    let endpoint = Endpoint::answering(OK);
    let webhook = open(&endpoint.url(), raw());
    let to: Vec<String> = (0..100).map(|n| format!("{n:0>50}@example.org")).collect();
    let names: Vec<&str> = to.iter().map(String::as_str).collect();
    let message = |names: &[&str]| Message::new(client(), envelope("", names), [HELLO]);
    // 66 times 62 bytes are within 4 KiB, 67 times are not.
    assert_eq!(
        reply(&deliver(&webhook, message(&names[..66])).await),
        "250"
    );
    assert_eq!(
        reply(&deliver(&webhook, message(&names[..67])).await),
        "452 4.5.3"
    );
    let json = open(&endpoint.url(), options());
    assert_eq!(reply(&deliver(&json, message(&names)).await), "250");
}

/// What Action Mailbox's ingress for relays asks for, and what it answers.
#[tokio::test]
async fn rails_takes_raw_messages() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    let endpoint = Endpoint::start(|request, stream| {
        // From base64 of actionmailbox:secret.
        let allowed = request.header("authorization") == Some("Basic YWN0aW9ubWFpbGJveDpzZWNyZXQ=");
        let status = match (
            allowed,
            request.header("content-type"),
            request.line.as_str(),
        ) {
            (false, ..) => "401 Unauthorized",
            (
                _,
                Some("message/rfc822"),
                "POST /rails/action_mailbox/relay/inbound_emails HTTP/1.1",
            ) => "204 No Content",
            (_, Some("message/rfc822"), _) => "404 Not Found",
            _ => "415 Unsupported Media Type",
        };
        let body = if status.starts_with("204") {
            ""
        } else {
            "Content-Length: 0\r\n"
        };
        write!(stream, "HTTP/1.1 {status}\r\n{body}\r\n").is_ok()
    });
    let url = |path: &str| format!("http://{}{path}", endpoint.address);
    let right = "/rails/action_mailbox/relay/inbound_emails";
    let login = |options: WebhookOptions| {
        let mut options = options;
        options.username = Some("actionmailbox".to_owned());
        options.password_file = Some(password.clone());
        options
    };
    let rows = [
        (url(right), login(raw()), "250", "204"),
        (url(right), raw(), "451 4.4.1", "401"),
        (url("/relay"), login(raw()), "451 4.4.1", "404"),
        (url(right), login(options()), "451 4.4.1", "415"),
    ];
    for (url, options, expected, status) in rows {
        let outcome = post(&open(&url, options), HELLO).await;
        assert_eq!(reply(&outcome), expected);
        assert!(detail(&outcome).contains(status));
    }
    assert_eq!(endpoint.requests().len(), 4);
}
