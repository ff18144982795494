//! Sends back what it receives, over TLS from the first octet. For a look at what scanners say:
//!
//! ```console
//! cargo run -p prixfixe-tls --example tls_echo -- 127.0.0.1:4433 fullchain.pem privkey.pem
//! sslscan 127.0.0.1:4433
//! ```
//!
//! Without files it makes a certificate for localhost. A last argument `raw` takes the raw transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prixfixe_network::{
    Connection, Listener, Options, OutputBuffer, Service, Session, Transport, serve,
};
use prixfixe_tls::{CertificateSource, HandshakeError, Tls, TlsConfig, TlsInfo, Upgrade};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (arguments, transport) = match arguments.split_last() {
        Some((last, rest)) if last == "raw" => (rest, Transport::Raw),
        _ => (arguments.as_slice(), Transport::Tokio),
    };
    let (address, source) = match arguments {
        [address] => (
            address,
            CertificateSource::SelfSigned {
                domains: vec!["localhost".to_owned()],
            },
        ),
        [address, cert, key] => (
            address,
            CertificateSource::Files {
                cert: cert.into(),
                key: key.into(),
                password_file: None,
            },
        ),
        _ => return Err("usage: tls_echo ADDRESS:PORT [CERT KEY] [raw]".into()),
    };
    let config = TlsConfig::builder().certificate(source).build()?;
    let _watch = config.watch(Duration::from_secs(5))?;
    let listener = Listener::bind(address.parse::<SocketAddr>()?)?;
    let options = Options {
        transport,
        max_connections: 30_000,
        ..Options::default()
    };
    let _running = serve(vec![listener], Arc::new(Echoes { config }), options)?;
    loop {
        std::thread::park();
    }
}

struct Echoes {
    config: TlsConfig,
}

impl Service for Echoes {
    type Session = Tls<Echo>;

    fn session(&self, now: Instant, _: &Connection) -> Tls<Echo> {
        Tls::implicit(Echo::default(), &self.config, now)
    }

    fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
        &[]
    }
}

#[derive(Default)]
struct Echo {
    output: OutputBuffer,
    finished: bool,
}

/// A peer that doesn't read what it sent gets no more of it back.
const MAX_OUTPUT: usize = 64 * 1024;

impl Session for Echo {
    fn receive(&mut self, _: Instant, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn receive_eof(&mut self, _: Instant) {
        self.finished = true;
    }

    fn poll(&mut self, _: Instant, _: &mut Context<'_>) -> Poll<()> {
        if self.finished {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.output.len() < MAX_OUTPUT
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn shutdown(&mut self, _: Instant) {
        self.finished = true;
    }
}

impl Upgrade for Echo {
    fn wants_tls(&self) -> bool {
        false
    }

    fn tls_established(&mut self, _: Instant, _: TlsInfo) {}

    fn clear_text_instead_of_handshake(&mut self, _: Instant) {
        self.output.extend_from_slice(b"this port speaks TLS\r\n");
        self.finished = true;
    }

    fn tls_failed(&mut self, _: Instant, _: &HandshakeError) {}
}
