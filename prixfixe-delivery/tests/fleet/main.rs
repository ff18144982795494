//! The spool of a fleet against real NATS servers: what is kept, delivered, deferred and given up,
//! and what becomes of mail while servers of either kind are frozen and killed.

// What helps a test may fail like one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "so tests fail"
)]

mod acceptance;
mod access;
mod actions;
mod cluster;
mod collector;
mod delivery;
mod deployed;
mod entries;
mod fairness;
mod faults;
mod handler;
mod inspection;
mod link;
mod logs;
mod objects;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use prixfixe_delivery::{Failure, Fleet, FleetOptions, NatsOptions, Part, RetrySchedule};
use prixfixe_server::{Client, Envelope, Identity, Message};
use prixfixe_test_support::{NatsServer, PATIENCE};

use self::collector::Collector;

/// A spool of one copy, and impatient.
fn options() -> FleetOptions {
    let mut options = FleetOptions::default();
    options.replicas = 1;
    options.ack_wait = Duration::from_secs(2);
    options.retry = RetrySchedule::new([Duration::from_millis(500)]);
    options.connection = NatsOptions::default();
    options.connection.name = "spool".to_owned();
    options.connection.domain = "mx.example.com".to_owned();
    options.connection.timeout = Duration::from_secs(10);
    options
}

async fn open(address: &str, options: FleetOptions) -> Fleet {
    let url = address.parse().expect("a URL");
    Fleet::open(&url, options).await.expect("a spool")
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

/// A content that has a name of its own, so that a repeat is known.
fn content(name: &str) -> String {
    format!("Message-ID: <{name}@example.com>\r\nSubject: {name}\r\n\r\nHow are you?\r\n")
}

fn message(recipients: &[&str], content: impl Into<bytes::Bytes>) -> Message {
    let client = Client::builder()
        .peer(([192, 0, 2, 1], 40_112))
        .ehlo("mail.example.com")
        .identity(Identity::new("ann"))
        .build();
    let envelope = Envelope::builder()
        .from("ann@example.com")
        .expect("a sender");
    let add = |envelope: prixfixe_server::EnvelopeBuilder, to: &&str| envelope.to(to).expect("one");
    let envelope = recipients.iter().fold(envelope, add).build();
    Message::new(client, envelope, [content])
}

/// All recipients to one target.
async fn keep(
    fleet: &Fleet,
    target: &str,
    recipients: &[&str],
    content: impl Into<bytes::Bytes>,
) -> Result<(), Failure> {
    let message = message(recipients, content);
    let part = Part {
        target: target.to_owned(),
        recipients: message.envelope().recipients().to_vec(),
    };
    fleet.keep(message, &[part]).await
}

/// Sends it until it is taken: what a client's queue does.
async fn keep_until_taken(fleet: &Fleet, target: &str, name: &str) {
    let start = std::time::Instant::now();
    while let Err(failure) = keep(fleet, target, &["bob@example.org"], content(name)).await {
        assert!(start.elapsed() < PATIENCE, "never: {failure:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until that is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many messages a stream has.
async fn count(context: &Context, stream: &str) -> u64 {
    let Ok(mut stream) = context.get_stream(stream).await else {
        return 0;
    };
    stream.info().await.map_or(0, |info| info.state.messages)
}

/// A server, a spool on it, and a target that it delivers to.
struct Setting {
    server: NatsServer,
    fleet: Fleet,
    target: Arc<Collector>,
    context: Context,
}

impl Setting {
    async fn new(options: FleetOptions) -> Option<Self> {
        Self::on(NatsServer::start()?, options).await
    }

    async fn on(server: NatsServer, options: FleetOptions) -> Option<Self> {
        let fleet = open(&server.address(), options).await;
        let target = Arc::new(Collector::default());
        let context = context(&server.address()).await;
        Some(Self {
            server,
            fleet,
            target,
            context,
        })
    }

    async fn deliver(&self) {
        self.fleet
            .deliver("relay", self.target.clone(), 4)
            .await
            .expect("a target");
    }
}
