//! Over loopback, one client: the round trip of a message on each transport, in clear and over TLS,
//! discarded and kept.
//!
//! One client at a time shows latency. Throughput under load is `compare.sh`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use prixfixe_delivery::{Discard, Maildir, MaildirOptions};
use prixfixe_server::{Endpoint, Handler, Server, Transport};
use prixfixe_test_support::SelfSigned;
use prixfixe_tls::{CertificateSource, TlsConfig};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

type Error = Box<dyn std::error::Error>;

const TRANSPORTS: [(&str, Transport); 2] = [("tokio", Transport::Tokio), ("raw", Transport::Raw)];

fn start(
    transport: Transport,
    handler: impl Handler,
    tls: Option<TlsConfig>,
) -> Result<Server, Error> {
    let server = Server::builder()
        .transport(transport)
        .threads(NonZeroUsize::MIN);
    let server = match tls {
        Some(tls) => server
            .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
            .tls(tls),
        None => server.listen(([127, 0, 0, 1], 0)),
    };
    Ok(server.handler(handler).start()?)
}

/// A connection on which message follows message.
struct Client<S> {
    stream: S,
    message: Vec<u8>,
    buffer: [u8; 4096],
}

impl<S: Read + Write> Client<S> {
    /// Sends the first envelope; each message is then its content with the next envelope behind it,
    /// in one write.
    fn new(stream: S, size: usize) -> io::Result<Self> {
        const ENVELOPE: &str = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
        let line = format!("{}\r\n", "x".repeat(76));
        let message = format!("{}.\r\n{ENVELOPE}", line.repeat(size / line.len())).into_bytes();
        let mut client = Self {
            stream,
            message,
            buffer: [0; 4096],
        };
        client.read_until(b"220 ")?;
        client.stream.write_all(b"EHLO bench.example.com\r\n")?;
        client.read_until(b"250 ")?;
        client.stream.write_all(ENVELOPE.as_bytes())?;
        client.read_until(b"354 ")?;
        Ok(client)
    }

    /// One message, to the 354 of the next.
    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.message)?;
        self.read_until(b"354 ")
    }

    /// Reads to the end of the line that begins so.
    fn read_until(&mut self, code: &[u8]) -> io::Result<()> {
        let mut seen = Vec::new();
        loop {
            let count = self.stream.read(&mut self.buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            seen.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
            let last = seen
                .strip_suffix(b"\r\n")
                .and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
            if last.is_some_and(|line| line.starts_with(code)) {
                return Ok(());
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn measure<S: Read + Write>(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    mut client: Client<S>,
) {
    let mut group = criterion.benchmark_group(group);
    // Criterion has no word for a failure. A message that fails fails the run: its time would be no
    // measurement.
    group.bench_function(name, |bencher| {
        bencher.iter(|| client.send().unwrap_or_else(|error| stop(&error)))
    });
    group.finish();
}

fn stop(error: &dyn std::fmt::Display) -> ! {
    eprintln!("loopback: {error}");
    std::process::exit(1)
}

fn clear(criterion: &mut Criterion) -> Result<(), Error> {
    for (name, transport) in TRANSPORTS {
        let server = start(transport, Discard::default(), None)?;
        for (size, text) in [(1024, "1 KiB, discarded"), (102_400, "100 KiB, discarded")] {
            let client = Client::new(connect(server.local_address())?, size)?;
            measure(criterion, text, name, client);
        }
        server.abort();
    }
    Ok(())
}

/// A certificate made up here, so that the client can trust it.
fn certificate() -> Result<(TlsConfig, Arc<ClientConfig>), Error> {
    let made = SelfSigned::new("localhost");
    let source = CertificateSource::memory(
        made.certificate_pem.clone().into_bytes(),
        made.key_pem.clone().into_bytes(),
    );
    let tls = TlsConfig::builder().certificate(source).build()?;
    Ok((tls, made.client_config()))
}

fn tls(criterion: &mut Criterion) -> Result<(), Error> {
    let (tls, config) = certificate()?;
    for (name, transport) in TRANSPORTS {
        let server = start(transport, Discard::default(), Some(tls.clone()))?;
        let secure = || -> Result<_, Error> {
            let connection =
                ClientConnection::new(Arc::clone(&config), ServerName::try_from("localhost")?)?;
            Ok(StreamOwned::new(
                connection,
                connect(server.local_address())?,
            ))
        };
        measure(
            criterion,
            "1 KiB over TLS, discarded",
            name,
            Client::new(secure()?, 1024)?,
        );
        let mut group = criterion.benchmark_group("connect, shake hands, greet, close");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let client = secure().and_then(|stream| Ok(Client::new(stream, 1024)?));
                client.map(drop).unwrap_or_else(|error| stop(&error));
            });
        });
        group.finish();
        server.abort();
    }
    Ok(())
}

fn maildir(criterion: &mut Criterion) -> Result<(), Error> {
    for (name, transport) in TRANSPORTS {
        let directory = tempfile::tempdir()?;
        let handler = Maildir::open(directory.path().join("mail"), MaildirOptions::default())?;
        let server = start(transport, handler, None)?;
        let client = Client::new(connect(server.local_address())?, 1024)?;
        measure(criterion, "1 KiB to Maildir, both fsyncs", name, client);
        server.abort();
    }
    Ok(())
}

fn all(criterion: &mut Criterion) {
    let result = clear(criterion)
        .and_then(|()| tls(criterion))
        .and_then(|()| maildir(criterion));
    result.unwrap_or_else(|error| stop(&*error));
}

criterion_group!(benches, all);
criterion_main!(benches);
