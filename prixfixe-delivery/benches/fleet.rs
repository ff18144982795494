//! The spool of a fleet beside a bare publisher of the same library: the same messages, servers and
//! concurrency, in turn.
//!
//! ```text
//! cargo bench -p prixfixe-delivery --bench fleet -- [SIZE [SECONDS [ROUNDS]]]
//! ```
//!
//! Three `nats-server`s on this machine's disk, three replicas, every write synced. The bare
//! publisher has the same subjects, ids, headers and bytes as the spool's messages have. Prints for
//! each concurrency the medians of the rounds: messages per second, and the processor time of a
//! message in this process.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a measurement"
)]

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use prixfixe_delivery::{Fleet, FleetOptions, Part};
use prixfixe_server::{Client, Envelope, Message};
use prixfixe_test_support::{has, unused_port};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

const AT_ONCE: [usize; 4] = [1, 20, 50, 200];

/// Servers that end with this.
struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.0 {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Servers {
    fn start(folder: &Path) -> Result<(Self, Vec<u16>), Error> {
        let mut ports = Vec::new();
        for _ in 0..6 {
            ports.push(unused_port(Ipv4Addr::LOCALHOST).ok_or("no port")?);
        }
        let (clients, routes) = ports.split_at(3);
        let urls: Vec<String> = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let mut servers = Self(Vec::new());
        for (number, (port, route)) in clients.iter().zip(routes).enumerate() {
            let store = folder.join(number.to_string());
            let file = folder.join(format!("{number}.conf"));
            let text = format!(
                "server_name: n{number}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
                 cluster {{ name: bench, listen: 127.0.0.1:{route}, routes: [{}] }}\n",
                urls.join(", ")
            );
            std::fs::write(&file, text)?;
            let mut command = Command::new("nats-server");
            let command = command.arg("-c").arg(file);
            let command = command.stdout(Stdio::null()).stderr(Stdio::null());
            servers.0.push(command.spawn()?);
        }
        Ok((servers, clients.to_vec()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Cargo adds --bench of its own, and runs all benches without any other word.
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let Some(size) = arguments.next() else {
        return Ok(());
    };
    let size: usize = size.parse()?;
    let seconds = arguments.next().map_or(Ok(3.0), |it| it.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |it| it.parse())?;
    if !has("nats-server") {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(
        std::env::var_os("PRIXFIXE_BENCH_DIRECTORY")
            .map_or_else(std::env::temp_dir, std::path::PathBuf::from),
    )?;
    let (_servers, ports) = Servers::start(folder.path())?;
    // Both are clients of the same server, whoever leads the stream.
    let port = ports.first().ok_or("no server")?;
    let address = format!("nats://127.0.0.1:{port}");
    let fleet = opened(&address).await?;
    let bare = jetstream::new(async_nats::connect(&*address).await?);
    keep(&fleet, size, 0).await?;
    let like = sample(&bare).await?;
    println!(
        "{size} bytes of content, {} of payload; messages per second, µs of processor time each",
        like.1.len()
    );
    let number = Arc::new(AtomicUsize::new(1));
    for at_once in AT_ONCE {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (context, like) = (bare.clone(), like.clone());
            let next = Arc::clone(&number);
            floor.push(
                run(at_once, seconds, move || {
                    publish(
                        context.clone(),
                        like.clone(),
                        next.fetch_add(1, Ordering::Relaxed),
                    )
                })
                .await?,
            );
            empty(&bare).await?;
            let (fleet, next) = (fleet.clone(), Arc::clone(&number));
            ours.push(
                run(at_once, seconds, move || {
                    let (fleet, number) = (fleet.clone(), next.fetch_add(1, Ordering::Relaxed));
                    async move { keep(&fleet, size, number).await }
                })
                .await?,
            );
            empty(&bare).await?;
        }
        let (floor, ours) = (median(floor), median(ours));
        println!(
            "{at_once:4} at once: bare {:7.0} {:6.1}   fleet {:7.0} {:6.1}   {:.2} of the rate",
            floor.0,
            floor.1,
            ours.0,
            ours.1,
            ours.0 / floor.0
        );
    }
    Ok(())
}

async fn opened(url: &str) -> Result<Fleet, Error> {
    let mut options = FleetOptions::default();
    options.max_size = u64::MAX;
    options.connection.concurrency = 1000;
    let fleet = Fleet::open(&url.parse()?, options).await?;
    let start = Instant::now();
    while fleet.health().fault().is_some() {
        if start.elapsed() > Duration::from_secs(60) {
            return Err("the servers do not come up".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(fleet)
}

async fn keep(fleet: &Fleet, size: usize, number: usize) -> Result<(), Error> {
    let envelope = Envelope::builder()
        .from("ann@example.com")?
        .to("bob@example.org")?
        .build();
    let mut content = format!("Message-ID: <{number}@example.com>\r\n\r\n").into_bytes();
    content.resize(size.max(content.len()), b'x');
    let client = Client::builder().peer(([192, 0, 2, 1], 40_112)).build();
    let message = Message::new(client, envelope, [content]);
    let part = Part {
        target: "relay".to_owned(),
        recipients: message.envelope().recipients().to_vec(),
    };
    fleet.keep(message, &[part]).await?;
    Ok(())
}

/// What the spool has put into the stream: headers and payload.
async fn sample(context: &Context) -> Result<(HeaderMap, Bytes), Error> {
    let stream = context.get_stream("PRIXFIXE").await?;
    let last = stream.cached_info().state.last_sequence;
    let message = stream.get_raw_message(last).await?;
    Ok((message.headers, message.payload))
}

async fn publish(
    context: Context,
    (mut headers, payload): (HeaderMap, Bytes),
    number: usize,
) -> Result<(), Error> {
    let digest = format!("{number:064x}");
    headers.insert("Nats-Msg-Id", format!("{digest}.relay.0.01234567"));
    let subject = format!("PRIXFIXE.due.relay.{digest}");
    let sent = context.publish_with_headers(subject, headers, payload);
    sent.await?.await?;
    Ok(())
}

/// The stream is as long at the beginning of each run.
async fn empty(context: &Context) -> Result<(), Error> {
    context.get_stream("PRIXFIXE").await?.purge().await?;
    Ok(())
}

/// Messages per second, and microseconds of processor time for each.
async fn run<F>(
    at_once: usize,
    seconds: f64,
    send: impl Fn() -> F + Clone + Send + 'static,
) -> Result<(f64, f64), Error>
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let (start, before) = (Instant::now(), processor_time()?);
    let end = start + Duration::from_secs_f64(seconds);
    let mut senders = JoinSet::new();
    for _ in 0..at_once {
        let send = send.clone();
        senders.spawn(async move {
            let mut sent = 0_usize;
            while Instant::now() < end {
                send().await?;
                sent += 1;
            }
            Ok::<usize, Error>(sent)
        });
    }
    let mut sent = 0;
    while let Some(done) = senders.join_next().await {
        sent += done??;
    }
    let taken = processor_time()?.saturating_sub(before);
    let rate = sent as f64 / start.elapsed().as_secs_f64();
    Ok((rate, taken.as_secs_f64() * 1e6 / sent as f64))
}

fn median(mut runs: Vec<(f64, f64)>) -> (f64, f64) {
    runs.sort_by(|one, other| one.0.total_cmp(&other.0));
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

/// Of this process so far.
fn processor_time() -> Result<Duration, Error> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
