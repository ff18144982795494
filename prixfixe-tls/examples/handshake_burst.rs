//! How long an established connection waits for an answer while many clients begin a handshake at once.
//! Against `tls_echo`, or anything else that answers a line over TLS:
//!
//! ```console
//! cargo run --release -p prixfixe-tls --example tls_echo -- 127.0.0.1:4433 &
//! cargo run --release -p prixfixe-tls --example handshake_burst -- 127.0.0.1:4433 500
//! ```
//!
//! The clients of the burst send a ClientHello that was made before, so that their work doesn't slow the
//! server down; the server does all of its own.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

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

fn client() -> Result<ClientConnection> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    Ok(ClientConnection::new(
        Arc::new(config),
        ServerName::try_from("localhost")?,
    )?)
}

/// It is about time, not about trust.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
