//! A NATS JetStream target against real servers: what is published, what is refused, and what
//! becomes of mail while servers are frozen, killed or told otherwise.

// What helps a test may fail like one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "so tests fail"
)]

mod cluster;
mod consumer;
mod faults;
mod inspection;
mod large;
mod messages;
mod secured;
mod transports;

use std::time::Duration;

use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, Context};
use prixfixe_delivery::{Delivered, Failure, Nats, NatsOptions, Outcomes, Target};
use prixfixe_server::{Client, Envelope, Mail, Message};
use prixfixe_test_support::NatsServer;

/// A stream and a bucket of one copy on a single server, which mail may be published to.
async fn prepared(address: &str) -> Context {
    let context = context(address).await;
    context.create_stream(stream()).await.expect("a stream");
    bucket(&context, 1).await;
    context
}

async fn context(address: &str) -> Context {
    let client = async_nats::ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .connect(address)
        .await
        .expect("a client");
    jetstream::new(client)
}

fn stream() -> Config {
    Config {
        name: "MAIL".to_owned(),
        subjects: vec!["mail.>".to_owned()],
        duplicate_window: Duration::from_secs(86_400),
        ..Config::default()
    }
}

fn small_stream(max_messages: i64) -> Config {
    Config {
        max_messages,
        discard: DiscardPolicy::New,
        ..stream()
    }
}

async fn bucket(context: &Context, num_replicas: usize) {
    let config = object_store::Config {
        bucket: "prixfixe".to_owned(),
        num_replicas,
        ..object_store::Config::default()
    };
    context.create_object_store(config).await.expect("a bucket");
}

/// A target that is content with one copy, and impatient.
fn options() -> NatsOptions {
    let mut options = NatsOptions::default();
    options.min_replicas = 1;
    options.timeout = Duration::from_secs(10);
    options
}

async fn open(address: &str, options: NatsOptions) -> Nats {
    let url = format!("{address}/mail").parse().expect("a URL");
    Nats::open(&url, options).await.expect("a target")
}

fn envelope(recipients: &[&str]) -> Envelope {
    let sender = Envelope::builder()
        .from("ann@example.com")
        .expect("a sender");
    let add = |envelope: prixfixe_server::EnvelopeBuilder, to: &&str| envelope.to(to).expect("one");
    recipients.iter().fold(sender, add).build()
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
    let envelope = envelope(recipients);
    let count = recipients.len();
    let all = |failure: Failure| vec![Err(failure); count];
    let mut transaction = match target.begin(Mail::new(&client, &envelope)).answer().await {
        Ok(transaction) => transaction,
        Err(failure) => return all(failure),
    };
    for recipient in envelope.recipients() {
        if let Err(failure) = transaction.rcpt(recipient).answer().await {
            return all(failure);
        }
    }
    let message = Message::new(client.clone(), envelope.clone(), [content]);
    match transaction.deliver(message).await {
        Outcomes::All(Ok(delivered)) => vec![Ok(delivered); count],
        Outcomes::All(Err(failure)) => all(failure),
        Outcomes::Each(outcomes) => outcomes,
        _ => Vec::new(),
    }
}

/// A content that has a name of its own, so that a repeat is known.
fn content(name: &str) -> String {
    format!("Message-ID: <{name}@example.com>\r\nSubject: {name}\r\n\r\nHow are you?\r\n")
}

fn code(outcome: &Result<Delivered, Failure>) -> u16 {
    outcome
        .as_ref()
        .map_or_else(|failure| failure.reply().code(), |_| 250)
}

/// Sends it until it is taken: what a client's queue does.
async fn send_until_taken(target: &impl Target, recipient: &str, name: &str) {
    let start = std::time::Instant::now();
    loop {
        let outcomes = send(target, &[recipient], content(name)).await;
        if outcomes.iter().all(Result::is_ok) {
            return;
        }
        assert!(
            start.elapsed() < prixfixe_test_support::PATIENCE,
            "never: {outcomes:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn messages(context: &Context) -> u64 {
    let mut stream = context.get_stream("MAIL").await.expect("the stream");
    stream.info().await.expect("its state").state.messages
}
