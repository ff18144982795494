//! Certificates that are swapped while mail comes in.

use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use prixfixe_server::{
    Accepted, CertificateSource, Endpoint, Message, Server, TlsConfig, Transport,
};
use prixfixe_test_support::SelfSigned;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const NAME: &str = "mx.test";
const CLIENTS: usize = 4;
const SWAPS: usize = 10;

#[test]
fn over_tokio_no_message_fails_while_certificates_change() {
    no_message_fails_while_certificates_change(Transport::Tokio);
}

#[test]
fn over_raw_no_message_fails_while_certificates_change() {
    no_message_fails_while_certificates_change(Transport::Raw);
}

fn no_message_fails_while_certificates_change(transport: Transport) {
    let folder = tempfile::tempdir().expect("a folder");
    let pairs: Vec<_> = (0..SWAPS).map(|_| SelfSigned::new(NAME)).collect();
    pairs[0].install(folder.path());
    let source = CertificateSource::files(
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let tls = TlsConfig::builder()
        .certificate(source)
        .build()
        .expect("a pair");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let server = Server::builder()
        .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
        .threads(NonZeroUsize::MIN)
        .transport(transport)
        .tls(tls.clone())
        .handler(move |message: Message| {
            let count = Arc::clone(&count);
            async move {
                message.collect().await?;
                count.fetch_add(1, Ordering::Relaxed);
                Ok(Accepted::default())
            }
        })
        .start()
        .expect("it starts");

    let clients = Clients::start(server.local_address(), &pairs);
    for pair in &pairs {
        pair.install(folder.path());
        tls.reload().expect("a good pair");
        clients.wait_until_presented(&pair.certificate);
    }
    assert_eq!(clients.stop(), accepted.load(Ordering::Relaxed));
}

/// Clients that connect, send one message and leave, again and again. A failure is a panic.
struct Clients {
    threads: Vec<thread::JoinHandle<usize>>,
    stop: Arc<AtomicBool>,
    presented: Arc<Mutex<Option<CertificateDer<'static>>>>,
}

impl Clients {
    fn start(address: SocketAddr, pairs: &[SelfSigned]) -> Self {
        let mut roots = RootCertStore::empty();
        for pair in pairs {
            roots.add(pair.certificate.clone()).expect("a certificate");
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let stop = Arc::new(AtomicBool::new(false));
        let presented = Arc::new(Mutex::new(None));
        let threads = (0..CLIENTS)
            .map(|_| {
                let (config, stop, presented) = (
                    Arc::clone(&config),
                    Arc::clone(&stop),
                    Arc::clone(&presented),
                );
                thread::spawn(move || {
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let certificate = send_one(address, &config);
                        if certificate.is_some() {
                            *presented.lock().expect("no panic under it") = certificate;
                        }
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        Self {
            threads,
            stop,
            presented,
        }
    }

    fn wait_until_presented(&self, certificate: &CertificateDer<'static>) {
        while self.presented.lock().expect("no panic under it").as_ref() != Some(certificate) {
            assert!(
                self.threads.iter().all(|thread| !thread.is_finished()),
                "a client failed"
            );
            thread::yield_now();
        }
    }

    /// How many messages were sent, each with its 250.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .map(|thread| thread.join().expect("no message fails"))
            .sum()
    }
}

/// Sends a message over a connection of its own; the certificate that the server presented.
fn send_one(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<CertificateDer<'static>> {
    let name = ServerName::try_from(NAME).expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a socket option");
    let stream = StreamOwned::new(connection, stream);
    let mut client = prixfixe_test_support::Client::new(stream);
    for (command, code) in [
        ("", "220"),
        ("HELO client.test\r\n", "250"),
        ("MAIL FROM:<>\r\n", "250"),
        ("RCPT TO:<bob@example.com>\r\n", "250"),
        ("DATA\r\n", "354"),
        ("hello\r\n.\r\n", "250"),
        ("QUIT\r\n", "221"),
    ] {
        client.send(command).expect("the server reads");
        let reply = client.reply().expect("a reply");
        assert!(reply.starts_with(code), "{command:?}: {reply:?}");
    }
    let certificates = client.stream().conn.peer_certificates()?;
    certificates
        .first()
        .map(|certificate| certificate.clone().into_owned())
}
