//! Sends back what it receives, over TLS from the first octet. For a look at what scanners say:
//!
//! ```console
//! cargo run -p prixfixe-tls --example tls_echo -- 127.0.0.1:4433 fullchain.pem privkey.pem
//! sslscan 127.0.0.1:4433
//! ```
//!
//! Without files it makes a certificate for localhost. A last argument `raw` takes the raw
//! transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_network::{Connection, Listener, Options, Service, Transport, serve};
use prixfixe_test_support::Echo;
use prixfixe_tls::{CertificateSource, Tls, TlsConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (arguments, transport) = match arguments.split_last() {
        Some((last, rest)) if last == "raw" => (rest, Transport::Raw),
        _ => (arguments.as_slice(), Transport::Tokio),
    };
    let (address, source) = match arguments {
        [address] => (address, CertificateSource::self_signed(["localhost"])),
        [address, cert, key] => (address, CertificateSource::files(cert, key)),
        _ => return Err("usage: tls_echo ADDRESS:PORT [CERT KEY] [raw]".into()),
    };
    let config = TlsConfig::builder().certificate(source).build()?;
    let _watch = config.watch(Duration::from_secs(5))?;
    let listener = Listener::bind(address.parse::<SocketAddr>()?)?;
    let options = Options::default()
        .transport(transport)
        .max_connections(30_000);
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
        Tls::implicit(Echo::new(now), &self.config, now)
    }

    fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
        &[]
    }
}
