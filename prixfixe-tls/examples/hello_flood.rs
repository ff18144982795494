//! Replays a ClientHello and closes, many times a second; or counts the handshakes that succeed
//! meanwhile. Against the port of a server that speaks TLS first and then greets:
//!
//! ```console
//! cargo run --release -p prixfixe-tls --example hello_flood -- flood 10000 5 127.0.0.1:2465 127.0.0.2:2465 &
//! cargo run --release -p prixfixe-tls --example hello_flood -- count 5 127.0.0.1:2465
//! ```
//!
//! A flood takes its addresses in turn: a pair of addresses has 28,000 ports, and each is in use
//! for a second. `benches/flood.sh` runs both against PrixFixe. Only loopback addresses are taken,
//! and 60 seconds at the most.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_test_support::trusting_client;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, StreamOwned};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str =
    "usage: hello_flood flood PER-SECOND SECONDS ADDRESS...; hello_flood count SECONDS ADDRESS";
/// The longest that a program may run.
const MAX_SECONDS: u64 = 60;
/// A connection that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections are due in batches of this many milliseconds.
const BATCH: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["flood", rate, seconds, addresses @ ..] if !addresses.is_empty() => {
            flood(rate.parse()?, time(seconds)?, &loopback(addresses)?)
        }
        ["count", seconds, address] => count(time(seconds)?, &loopback(&[address])?),
        _ => Err(USAGE.into()),
    }
}

fn time(seconds: &str) -> Result<Duration> {
    Ok(Duration::from_secs(
        seconds.parse::<u64>()?.min(MAX_SECONDS),
    ))
}

fn loopback(addresses: &[&str]) -> Result<Vec<SocketAddr>> {
    let parse = |text: &&str| {
        let address: SocketAddr = text.parse()?;
        match address.ip().is_loopback() {
            true => Ok(address),
            false => Err(format!("{address} is not a loopback address").into()),
        }
    };
    addresses.iter().map(parse).collect()
}

fn flood(rate: u32, time: Duration, addresses: &[SocketAddr]) -> Result<()> {
    let mut hello = Vec::new();
    client(&config())?.write_tls(&mut hello)?;
    let begin = Instant::now();
    let (mut sent, mut failed) = (0_u64, 0_u64);
    let mut targets = addresses.iter().cycle();
    while begin.elapsed() < time {
        let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent + failed < due {
            let Some(target) = targets.next() else { break };
            let replayed = TcpStream::connect_timeout(target, PATIENCE)
                .and_then(|mut stream| stream.write_all(&hello));
            match replayed {
                Ok(()) => sent += 1,
                Err(_) => failed += 1,
            }
        }
        std::thread::sleep(BATCH);
    }
    let rate = sent as f64 / begin.elapsed().as_secs_f64();
    println!(
        "{rate:.0} hellos of {} bytes per second; {failed} connections failed",
        hello.len()
    );
    Ok(())
}

/// One after the other, each with a full handshake and four bytes of the greeting.
fn count(time: Duration, addresses: &[SocketAddr]) -> Result<()> {
    let config = config();
    let begin = Instant::now();
    let (mut done, mut failed) = (0_u64, 0_u64);
    let mut targets = addresses.iter().cycle();
    while begin.elapsed() < time {
        let Some(target) = targets.next() else { break };
        match greeted(&config, target) {
            Ok(()) => done += 1,
            Err(_) => failed += 1,
        }
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    println!("{rate:.0} handshakes per second; {failed} failed");
    Ok(())
}

fn greeted(config: &Arc<ClientConfig>, target: &SocketAddr) -> Result<()> {
    let stream = TcpStream::connect_timeout(target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    StreamOwned::new(client(config)?, stream).read_exact(&mut [0; 4])?;
    Ok(())
}

fn client(config: &Arc<ClientConfig>) -> Result<ClientConnection> {
    let name = ServerName::try_from("localhost")?;
    Ok(ClientConnection::new(Arc::clone(config), name)?)
}

/// It is about time, not about trust.
fn config() -> Arc<ClientConfig> {
    let mut config = trusting_client(ALL_VERSIONS);
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
