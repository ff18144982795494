//! Bare clients of the libraries that targets are made of: what `benches/targets.py` sets targets
//! beside.
//!
//! ```text
//! cargo bench -p prixfixe-delivery --bench bare -- nats 127.0.0.1:4222 mail.com.example MESSAGES
//! cargo bench -p prixfixe-delivery --bench bare -- http http://127.0.0.1:8080/ MESSAGES
//! ```
//!
//! Messages of 1 KiB, 20 at once, on one thread. Prints the processor time of a message in
//! microseconds, and messages a second.
#![allow(clippy::print_stdout)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use bytes::Bytes;
use prixfixe_http::{Client, ClientOptions, Method, Origin, Part, Request, TlsFiles};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

const AT_ONCE: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);
const CONTENT: Bytes = Bytes::from_static(&[b'x'; 1024]);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Cargo adds --bench of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["nats", server, subject, messages] => nats(server, subject, messages.parse()?).await,
        ["http", url, messages] => http(url, messages.parse()?).await,
        // As part of all benches it has nobody to talk to.
        _ => Ok(()),
    }
}

async fn nats(server: &str, subject: &str, messages: usize) -> Result<(), Error> {
    let context = jetstream::new(async_nats::connect(server).await?);
    let subject: Arc<str> = subject.into();
    run(messages, move || {
        let (context, subject) = (context.clone(), Arc::clone(&subject));
        async move {
            let sent = context.publish(subject.to_string(), CONTENT).await?;
            sent.await?;
            Ok(())
        }
    })
    .await
}

async fn http(url: &str, messages: usize) -> Result<(), Error> {
    let (origin, path) = Origin::parse(url)?;
    let options = ClientOptions {
        connect_timeout: PATIENCE,
        max_idle: AT_ONCE,
        tls: TlsFiles::default(),
        insecure: false,
    };
    let client = Arc::new(Client::new(origin, &options)?);
    let request = Request::new(Method::POST, path.parse()?);
    let request = Arc::new(request.content(vec![Part::Bytes(CONTENT)]));
    run(messages, move || {
        let (client, request) = (Arc::clone(&client), Arc::clone(&request));
        async move {
            client.send(&request, PATIENCE).await?.read().await?;
            Ok(())
        }
    })
    .await
}

async fn run<F>(messages: usize, send: impl Fn() -> F + Clone + Send + 'static) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let (start, before) = (Instant::now(), processor_time()?);
    let mut senders = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (send, next) = (send.clone(), Arc::clone(&next));
        senders.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < messages {
                send().await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = senders.join_next().await {
        done??;
    }
    let taken = (processor_time()? - before).as_secs_f64() / messages as f64;
    let rate = messages as f64 / start.elapsed().as_secs_f64();
    println!("{:.1} {rate:.0}", taken * 1e6);
    Ok(())
}

/// Of this process so far.
fn processor_time() -> Result<Duration, Error> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
