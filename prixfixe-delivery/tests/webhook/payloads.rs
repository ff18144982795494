//! The payload `json`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prixfixe_server::{
    Client, Envelope, Identity, MailParameters, Message, RcptParameters, Recipient, Ret, TlsInfo,
    TlsVersion,
};
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, OK, client, deliver, envelope, open, options, reply};
use crate::schema::assert_valid;

/// What is posted, checked against the schema.
async fn posted(message: Message) -> Value {
    let endpoint = Endpoint::answering(OK);
    let outcome = deliver(&open(&endpoint.url(), options()), message).await;
    assert_eq!(reply(&outcome), "250");
    let requests = endpoint.requests();
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    let payload = requests[0].json();
    assert_valid(&payload);
    payload
}

async fn posted_content(content: impl Into<Vec<u8>>) -> Value {
    let envelope = envelope("ann@example.com", &["bob@example.org"]);
    posted(Message::new(client(), envelope, [content.into()])).await
}

#[tokio::test]
async fn it_is_the_example_of_the_reference() {
    let content = "Received: from a\r\n by b\r\nDate: Sat, 28 Nov 2026 01:45:20 +0100\r\n\
        From: Ann <ann@example.com>\r\nTo: Bob <bob@example.org>, list@example.net\r\n\
        Subject: Hello\r\nMessage-ID: <1@example.com>\r\nIn-Reply-To: <0@example.org>\r\n\
        References: <a@example.org>\r\n <0@example.org>\r\nReply-To: office@example.com\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHow are you?\r\n\
        --b\r\nContent-Type: application/pdf\r\n\
        Content-Disposition: attachment; filename=a.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nJVBERi0x\r\n--b--\r\n";
    let payload = posted_content(content).await;
    let data = &payload["data"];
    let expected = json!({
        "size": content.len(), "automated": false,
        "envelope": {
            "from": "ann@example.com", "to": ["bob@example.org"], "helo": "mx.example.com",
            "peer": "192.0.2.7:40112", "balancer": null, "user": null, "smtputf8": false,
            "dsn": {"ret": null, "envid": null, "recipients": [
                {"to": "bob@example.org", "notify": [], "orcpt": null}]},
        },
        "tls": null, "authentication": null,
        "from": [{"name": "Ann", "address": "ann@example.com"}],
        "to": [
            {"name": "Bob", "address": "bob@example.org"},
            {"name": null, "address": "list@example.net"},
        ],
        "cc": [], "reply_to": [{"name": null, "address": "office@example.com"}],
        "subject": "Hello", "date": "2026-11-28T00:45:20Z", "message_id": "<1@example.com>",
        "in_reply_to": "<0@example.org>", "references": ["<a@example.org>", "<0@example.org>"],
        "text": "How are you?", "html": null, "truncated": false,
        "attachments": [{
            "filename": "a.pdf", "content_type": "application/pdf", "disposition": "attachment",
            "content_id": null, "size": 6, "content": "JVBERi0x",
            "sha256": "21af8e71c8703196df7fe1ff901869a88fe64c07bbaa83d838efb45a52b4f303",
        }],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(data[name], *value, "{name}");
    }
    assert_eq!(data["headers"][0], json!(["Received", "from a by b"]));
    assert_eq!(data["headers"].as_array().unwrap().len(), 10);
    assert!(data.get("raw").is_none());
    let time = payload["timestamp"].as_str().unwrap();
    assert_eq!((time.len(), &time[23..]), (24, "Z"));
}

#[tokio::test]
async fn it_says_who_sent_it_and_what_they_asked_for() {
    let mut tls = TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384");
    tls.client_subject = Some("CN=ann".to_owned());
    let client = Client::builder()
        .peer(([192, 0, 2, 7], 1))
        .balancer(([10, 0, 0, 1], 2))
        .identity(Identity::new("ann"))
        .tls(tls)
        .build();
    let mut parameters = MailParameters::default();
    (parameters.ret, parameters.envid) = (Some(Ret::Headers), Some("e1".into()));
    parameters.smtputf8 = true;
    let mut wishes = RcptParameters::default();
    wishes.notify = Some("FAILURE,DELAY".parse().unwrap());
    wishes.orcpt = Some("rfc822;bob+2Bx@example.org".parse().unwrap());
    let recipient = Recipient::new("bob@example.org".parse().unwrap()).with_parameters(wishes);
    let envelope = Envelope::builder()
        .parameters(parameters)
        .recipient(recipient)
        .build();
    let payload = posted(Message::new(client, envelope, ["Subject: x\r\n\r\n"])).await;
    let data = &payload["data"];
    assert_eq!(
        data["tls"],
        json!({"version": "1.3", "cipher": "TLS13_AES_256_GCM_SHA384", "client": "CN=ann"})
    );
    assert_eq!(data["automated"], json!(true));
    assert_eq!(
        data["envelope"],
        json!({
            "from": "", "to": ["bob@example.org"], "helo": null, "peer": "192.0.2.7:1",
            "balancer": "10.0.0.1:2", "user": "ann", "smtputf8": true,
            "dsn": {"ret": "HDRS", "envid": "e1", "recipients": [{
                "to": "bob@example.org", "notify": ["FAILURE", "DELAY"], "orcpt": "rfc822;bob+x@example.org"}]},
        })
    );
}

#[tokio::test]
async fn programs_and_lists_are_automated() {
    for (field, expected) in [
        ("Auto-Submitted: auto-replied", true),
        ("Auto-Submitted: no", false),
        ("Precedence: bulk", true),
        ("List-Id: <x.example.com>", true),
        ("X-Other: yes", false),
    ] {
        let payload = posted_content(format!("{field}\r\n\r\nx")).await;
        assert_eq!(payload["data"]["automated"], json!(expected), "{field}");
    }
}

#[tokio::test]
async fn what_is_cut_or_not_understood_comes_whole_too() {
    let long = format!("Subject: x\r\n\r\n{}", "y".repeat(2 << 20));
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\nx\r\n".repeat(1_000)
    );
    for content in [&long, &parts] {
        let payload = posted_content(content.as_str()).await;
        let data = &payload["data"];
        assert_eq!(data["truncated"], json!(true));
        let raw = STANDARD.decode(data["raw"].as_str().unwrap()).unwrap();
        assert!(raw == content.as_bytes());
    }
    let payload = posted_content(b"\xff\xfe nothing".as_slice()).await;
    assert_eq!(payload["data"]["parse_error"], json!("there is no header"));
    assert_eq!(
        payload["data"]["raw"],
        json!(STANDARD.encode(b"\xff\xfe nothing"))
    );
}

#[tokio::test]
async fn bytes_of_any_charset_are_json() {
    let mut content =
        b"Subject: \xe9\xff\r\nContent-Type: text/plain; charset=shift_jis\r\n\r\n".to_vec();
    content.extend_from_slice(b"\x83e\x83X\x83g\0\x1b");
    let payload = posted_content(content).await;
    assert_eq!(
        payload["data"]["text"],
        json!("\u{30c6}\u{30b9}\u{30c8}\0\u{1b}")
    );
    assert_eq!(payload["data"]["headers"][0][1], json!("\u{fffd}\u{fffd}"));
}

#[tokio::test]
async fn a_large_message_is_posted_whole() {
    let attachment = STANDARD.encode(vec![b'z'; 6 << 20]);
    let content = format!(
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{attachment}\r\n"
    );
    let payload = posted_content(content).await;
    let found = &payload["data"]["attachments"][0];
    assert_eq!(found["size"], json!(6 << 20));
    assert_eq!(found["content"], json!(attachment));
}

/// An endpoint drops what has an id that it knows: no copy may have another one's.
#[tokio::test]
async fn each_copy_has_an_id_of_its_own_that_stays() {
    let endpoint = Endpoint::answering(OK);
    let webhook = open(&endpoint.url(), options());
    let all = ["ann@example.org", "bob@example.org", "cyd@example.org"];
    let content = "Message-ID: <1@example.com>\r\n\r\n";
    let mut digest = String::new();
    for to in [&all[..], &all[..2], &[all[1], all[0]], &all[1..], &all] {
        let envelope = envelope("ann@example.com", &all);
        let mut message = Message::new(client(), envelope, [content]);
        digest = message.digest().await.unwrap().to_string();
        let recipients = to.iter().map(|to| Recipient::new(to.parse().unwrap()));
        let message = message.with_recipients(recipients.collect());
        assert_eq!(reply(&deliver(&webhook, message).await), "250");
    }
    let requests = endpoint.requests();
    let ids: Vec<&str> = requests
        .iter()
        .map(|request| request.header("webhook-id").unwrap())
        .collect();
    let whole = format!("msg_{digest}");
    assert_eq!((ids[0], ids[4]), (&*whole, &*whole));
    assert_eq!(ids[1], ids[2], "the order says nothing");
    assert!(ids[1].starts_with(&format!("{whole}_")) && ids[3].starts_with(&format!("{whole}_")));
    assert_ne!(ids[1], ids[3]);
    let digests: Vec<Value> = requests
        .iter()
        .map(|it| it.json()["data"]["digest"].clone())
        .collect();
    assert!(digests.iter().all(|it| *it == digest));
}
