//! An S3 target against real stores, and against one that misbehaves as a test says.

// What helps a test may fail like one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "so tests fail"
)]

mod scripted;
mod stores;
mod transports;

use std::time::Duration;

use prixfixe_delivery::{Delivered, Failure, Outcomes, S3, S3Credentials, S3Options, Target};
use prixfixe_server::{Client, Envelope, Mail, Message};

/// A target in the bucket `mail` of a store on loopback.
fn open(endpoint: &str, change: impl FnOnce(&mut S3Options)) -> S3 {
    let mut options = S3Options::default();
    options.endpoint = Some(endpoint.to_owned());
    options.region = Some("us-east-1".to_owned());
    options.timeout = Duration::from_secs(20);
    options.credentials = Some(S3Credentials {
        access_key_id: "key".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: None,
    });

    change(&mut options);
    S3::open(&"s3://mail/in".parse().expect("a URL"), options).expect("a target")
}

/// Hands a message over as a session would; what became of it for each recipient.
async fn send(
    target: &impl Target,
    recipients: &[&str],
    content: impl Into<bytes::Bytes>,
) -> Vec<Result<Delivered, Failure>> {
    let client = Client::builder()
        .peer(([192, 0, 2, 1], 40_112))
        .ehlo("mx.example.com")
        .build();
    let sender = Envelope::builder().from("ann@example.com").expect("one");
    let add = |it: prixfixe_server::EnvelopeBuilder, to: &&str| it.to(to).expect("one");
    let envelope = recipients.iter().fold(sender, add).build();
    let count = recipients.len();
    let begun = target.begin(Mail::new(&client, &envelope)).answer().await;
    let mut transaction = match begun {
        Ok(transaction) => transaction,
        Err(failure) => return vec![Err(failure); count],
    };
    for recipient in envelope.recipients() {
        transaction
            .rcpt(recipient)
            .answer()
            .await
            .expect("it is taken");
    }
    let message = Message::new(client.clone(), envelope.clone(), [content]);
    match transaction.deliver(message).await {
        Outcomes::All(Ok(delivered)) => vec![Ok(delivered); count],
        Outcomes::All(Err(failure)) => vec![Err(failure); count],
        Outcomes::Each(outcomes) => outcomes,
        _ => Vec::new(),
    }
}

/// Sends it to one recipient.
async fn send_one(
    target: &impl Target,
    content: impl Into<bytes::Bytes>,
) -> Result<Delivered, Failure> {
    send(target, &["bob@example.org"], content).await.remove(0)
}

/// A content that has a name of its own, so that a repeat is known.
fn content(name: &str) -> String {
    format!("Message-ID: <{name}@example.com>\r\nSubject: {name}\r\n\r\nHow are you?\r\n")
}

fn large(name: &str) -> String {
    content(name) + &"All work and no play makes Jack a dull boy.\r\n".repeat(400_000)
}
