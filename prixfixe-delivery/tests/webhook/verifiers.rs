//! What others have written reads what is posted. Skipped where it is not installed
//! (`.ci/packages`).

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prixfixe_delivery::{WebhookFormat, WebhookOptions};
use prixfixe_server::{MailParameters, Message};
use prixfixe_test_support::has;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::{Endpoint, HELLO, OK, Request, client, deliver, open, options, post, reply};

/// A Python that has django-anymail, jsonschema and standardwebhooks.
const PYTHON: &str = "prixfixe-webhook-python";

const SECRETS: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_bmV4dCBzZWNyZXQgZm9yIHdlYmhvb2tz",
];

/// A Node that has standardwebhooks.
const NODE: &str = "prixfixe-webhook-node";

/// Runs a script of this folder.
fn python(script: &str, arguments: &[&str], input: &Value) -> String {
    script_of(PYTHON, script, arguments, input)
}

fn script_of(interpreter: &str, script: &str, arguments: &[&str], input: &Value) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook");
    let mut child = Command::new(interpreter)
        .arg(format!("{folder}/{script}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(input.to_string().as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).expect("text")
}

fn signing(folder: &TempDir, format: WebhookFormat) -> WebhookOptions {
    let path = folder.path().join("secrets");
    fs::write(&path, SECRETS.join("\n")).unwrap();
    {
        let mut options = options();
        options.secret_files = vec![path];
        options.format = format;
        options
    }
}

#[tokio::test]
async fn the_references_verify_each_secret() {
    let (python, node) = (has(PYTHON), has(NODE));
    if !python && !node {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::answering(OK);
    for format in [WebhookFormat::Json, WebhookFormat::Raw] {
        let webhook = open(&endpoint.url(), signing(&folder, format));
        assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    }
    let other = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCBrZXk=";
    let mut cases = Vec::new();
    for request in endpoint.requests() {
        let headers: serde_json::Map<_, _> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let mut add = |secret: &str, body: &[u8], valid: bool| {
            cases.push(json!({
                "secret": secret, "headers": headers, "body": STANDARD.encode(body), "valid": valid,
            }));
        };
        for secret in SECRETS {
            add(secret, &request.body, true);
        }
        add(other, &request.body, false);
        add(SECRETS[0], &[&request.body[..], b" "].concat(), false);
    }
    let cases = Value::Array(cases);
    if python {
        script_of(PYTHON, "standard_verifies.py", &[], &cases);
    }
    if node {
        script_of(NODE, "standard_verifies.js", &[], &cases);
    }
}

/// `v1a`, by OpenSSL.
#[tokio::test]
async fn a_private_key_signs_for_its_public_key() {
    if !has("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let openssl = |arguments: &[&str]| {
        let run = Command::new("openssl")
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(run.status.success(), "{run:?}");
        run.stdout
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &path("key.pem")]);
    openssl(&[
        "pkey",
        "-in",
        &path("key.pem"),
        "-pubout",
        "-out",
        &path("public.pem"),
    ]);
    let der = openssl(&["pkey", "-in", &path("key.pem"), "-outform", "DER"]);
    // The seed is the end of it (RFC 8410 section 7).
    let seed = STANDARD.encode(&der[der.len() - 32..]);
    fs::write(path("secret"), format!("whsk_{seed}")).unwrap();
    let endpoint = Endpoint::answering(OK);
    for format in [WebhookFormat::Json, WebhookFormat::Raw] {
        let mut options = options();
        options.secret_files = vec![path("secret").into()];
        options.format = format;

        assert_eq!(
            reply(&post(&open(&endpoint.url(), options), HELLO).await),
            "250"
        );
    }
    for request in endpoint.requests() {
        let header = |name| request.header(name).unwrap();
        let front = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
        fs::write(path("signed"), [front.as_bytes(), &request.body].concat()).unwrap();
        let signature = header("webhook-signature").strip_prefix("v1a,").unwrap();
        fs::write(path("signature"), STANDARD.decode(signature).unwrap()).unwrap();
        openssl(&[
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            &path("public.pem"),
            "-rawin",
            "-in",
            &path("signed"),
            "-sigfile",
            &path("signature"),
        ]);
    }
}

#[tokio::test]
async fn the_schema_is_one_and_others_find_a_payload_valid() {
    if !has(PYTHON) {
        return;
    }
    let endpoint = Endpoint::answering(OK);
    assert_eq!(
        reply(&post(&open(&endpoint.url(), options()), HELLO).await),
        "250"
    );
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/webhook.schema.json");
    python(
        "schema_validates.py",
        &[schema],
        &endpoint.requests()[0].json(),
    );
}

/// An attachment, a picture in the HTML, 8-bit text in two charsets, addresses and a file name
/// beyond ASCII.
fn rich() -> Vec<u8> {
    let mut content = "From: J\u{f6}rg <j\u{f6}rg@example.com>\r\nTo: Bob <bob@example.org>\r\n\
        Subject: Gr\u{fc}\u{df}e aus K\u{f6}ln\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\
        Date: Sat, 28 Nov 2026 00:45:20 +0000\r\n\
        Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\
        Content-Type: multipart/related; boundary=b2\r\n\r\n--b2\r\n\
        Content-Type: multipart/alternative; boundary=b3\r\n\r\n--b3\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        .as_bytes()
        .to_vec();
    content.extend_from_slice(b"caf\xe9\r\n--b3\r\n");
    content.extend_from_slice(
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        <p>caf\u{e9} <img src=\"cid:logo@x\"></p>\r\n--b3--\r\n--b2\r\n\
        Content-Type: image/png; name=logo.png\r\nContent-Disposition: inline\r\nContent-ID: <logo@x>\r\n\
        Content-Transfer-Encoding: base64\r\n\r\niVBORw0K\r\n--b2--\r\n--b1\r\n\
        Content-Type: application/pdf\r\n\
        Content-Disposition: attachment; filename*=UTF-8''Rechnung%20%C3%BC.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nJVBERi0x\r\n--b1--\r\n"
            .as_bytes(),
    );
    content
}

async fn posted(format: WebhookFormat, folder: &TempDir) -> Request {
    let endpoint = Endpoint::answering(OK);
    let webhook = open(&endpoint.url(), signing(folder, format));
    let mut parameters = MailParameters::default();
    parameters.smtputf8 = true;
    let envelope = prixfixe_server::Envelope::builder()
        .from("bounces@example.com")
        .unwrap()
        .parameters(parameters)
        .to("tickets+42@example.org")
        .unwrap()
        .build();
    let outcome = deliver(&webhook, Message::new(client(), envelope, [rich()])).await;
    assert_eq!(reply(&outcome), "250");
    endpoint.requests().remove(0)
}

#[tokio::test]
async fn anymail_reads_the_formats_of_services() {
    if !has(PYTHON) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for format in [
        WebhookFormat::Postmark,
        WebhookFormat::Mailgun,
        WebhookFormat::Sendgrid,
    ] {
        let request = posted(format, &folder).await;
        cases.push(json!({
            "service": format.to_string(), "secret": SECRETS[0],
            "content_type": request.header("content-type").unwrap(),
            "body": STANDARD.encode(&request.body),
        }));
    }
    let found = python("anymail_reads.py", &[], &Value::Array(cases));
    let found: Vec<Value> = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found.len(), 3);
    for (service, message) in ["postmark", "mailgun", "sendgrid"].iter().zip(found) {
        let expect = |name: &str, value: Value| {
            assert_eq!(message[name], value, "{service}: {name}: {message:#}")
        };
        expect("subject", json!("Gr\u{fc}\u{df}e aus K\u{f6}ln"));
        expect("from", json!("J\u{f6}rg <j\u{f6}rg@example.com>"));
        expect("to", json!(["Bob <bob@example.org>"]));
        expect("sender", json!("bounces@example.com"));
        expect("recipient", json!("tickets+42@example.org"));
        expect("message_id", json!("<1@example.com>"));
        assert_eq!(
            message["text"].as_str().unwrap().trim(),
            "caf\u{e9}",
            "{service}"
        );
        let html = "<p>caf\u{e9} <img src=\"cid:logo@x\"></p>";
        assert_eq!(message["html"].as_str().unwrap().trim(), html, "{service}");
        let attachments = message["attachments"].as_array().unwrap();
        let mut attachments: Vec<_> = attachments
            .iter()
            .map(|each| {
                (
                    each["filename"].as_str().unwrap(),
                    each["content_type"].as_str().unwrap(),
                    each["content"].as_str().unwrap(),
                )
            })
            .collect();
        attachments.sort_unstable();
        assert_eq!(
            attachments,
            [
                ("Rechnung \u{fc}.pdf", "application/pdf", "JVBERi0x"),
                ("logo.png", "image/png", "iVBORw0K"),
            ],
            "{service}"
        );
    }
}
