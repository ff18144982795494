//! How long an established connection waits for an answer while many clients begin a handshake at
//! once. Against `tls_echo`, or anything else that answers a line over TLS:
//!
//! ```console
//! cargo run --release -p prixfixe-tls --example tls_echo -- 127.0.0.1:4433 &
//! cargo run --release -p prixfixe-tls --example handshake_burst -- 127.0.0.1:4433 500
//! ```
//!
//! The clients of the burst send a ClientHello that was made before, so that their work doesn't
//! slow the server down; the server does all of its own.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prixfixe_test_support::trusting_client;
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConnection, StreamOwned};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// As many bursts; each is at other connections.
const BURSTS: usize = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count] = arguments.as_slice() else {
        return Err("usage: handshake_burst ADDRESS:PORT COUNT".into());
    };
    let count = count.parse()?;
    let mut established = StreamOwned::new(client()?, TcpStream::connect(address)?);
    established.sock.set_nodelay(true)?;

    let mut alone = Vec::new();
    for _ in 0..1000 {
        alone.push(ask(&mut established)?);
    }
    report("alone", &mut alone);

    let (mut beside, mut bursts) = (Vec::new(), Vec::new());
    for _ in 0..BURSTS {
        let sockets = (0..count)
            .map(|_| TcpStream::connect(address))
            .collect::<std::io::Result<Vec<_>>>()?;
        let answered = AtomicBool::new(false);
        std::thread::scope(|scope| -> Result<()> {
            let burst = scope.spawn(|| {
                let duration = burst(&sockets);
                answered.store(true, Ordering::Release);
                duration
            });
            while !answered.load(Ordering::Acquire) {
                beside.push(ask(&mut established)?);
            }
            bursts.push(burst.join().map_err(|_| "the burst panicked")??);
            Ok(())
        })?;
    }
    report(&format!("beside {count} handshakes"), &mut beside);
    report("all of them answered", &mut bursts);
    Ok(())
}

/// One line there and back.
fn ask(connection: &mut StreamOwned<ClientConnection, TcpStream>) -> Result<Duration> {
    let begin = Instant::now();
    connection.write_all(b"NOOP\r\n")?;
    connection.read_exact(&mut [0; 6])?;
    Ok(begin.elapsed())
}

/// Until the last has got the beginning of the server's answer.
fn burst(sockets: &[TcpStream]) -> Result<Duration> {
    let mut hello = Vec::new();
    client()?.write_tls(&mut hello)?;
    let begin = Instant::now();
    for mut socket in sockets {
        socket.write_all(&hello)?;
    }
    for mut socket in sockets {
        socket.read_exact(&mut [0; 5])?;
    }
    Ok(begin.elapsed())
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get((times.len() * percent / 100).min(times.len() - 1))
            .copied()
    };
    let [median, high, most] = [50, 99, 100].map(|percent| at(percent).unwrap_or_default());
    println!(
        "{what}: median {median:.2?}, 99 % {high:.2?}, most {most:.2?} ({} times)",
        times.len()
    );
}

/// It is about time, not about trust.
fn client() -> Result<ClientConnection> {
    Ok(ClientConnection::new(
        Arc::new(trusting_client(ALL_VERSIONS)),
        ServerName::try_from("localhost")?,
    )?)
}
