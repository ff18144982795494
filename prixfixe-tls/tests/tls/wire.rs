//! A client, a server and the bytes between them.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use prixfixe_network::Session;
use prixfixe_test_support::AnyCertificate;
use prixfixe_tls::{Tls, TlsConfig, TlsInfo};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    version,
};

use crate::authority::{Authority, Issued};
use crate::echo::Echo;

pub(crate) const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
pub(crate) const TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
pub(crate) const BOTH: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;

/// A server's side, driven as a transport does it.
pub(crate) struct Server {
    pub(crate) session: Tls<Echo>,
    pub(crate) now: Instant,
    pub(crate) finished: bool,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Server {
    pub(crate) fn new(session: impl FnOnce(Instant) -> Tls<Echo>) -> Self {
        let now = Instant::now();
        Self {
            session: session(now),
            now,
            finished: false,
            woken: Arc::default(),
        }
    }

    pub(crate) fn implicit(config: &TlsConfig) -> Self {
        Self::new(|now| Tls::implicit(Echo::greeting(), config, now))
    }

    pub(crate) fn starttls(config: &TlsConfig) -> Self {
        Self::new(|_| Tls::starttls(Echo::greeting(), config))
    }

    /// Polled once.
    pub(crate) fn poll(&mut self) {
        if self.finished {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let polled = self
            .session
            .poll(self.now, &mut Context::from_waker(&waker));
        self.finished = polled == Poll::Ready(());
        if !self.finished {
            let deadline = self.session.deadline();
            assert!(
                deadline.is_none_or(|deadline| deadline > self.now),
                "the deadline is after now"
            );
        }
    }

    /// Polled the next time that the transport comes around.
    pub(crate) fn poll_next(&mut self) {
        self.now += Duration::from_nanos(1);
        self.poll();
    }

    /// Polled, and again as long as it was woken.
    pub(crate) fn run(&mut self) {
        self.poll();
        while self.woken.0.swap(false, Ordering::Relaxed) {
            self.poll();
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if !self.finished {
            self.session.receive(self.now, bytes);
            self.run();
        }
    }

    pub(crate) fn receive_eof(&mut self) {
        if !self.finished {
            self.session.receive_eof(self.now);
            self.run();
        }
    }

    pub(crate) fn shutdown(&mut self) {
        self.session.shutdown(self.now);
        self.run();
    }

    pub(crate) fn after(&mut self, duration: Duration) {
        self.now += duration;
        self.run();
    }

    /// Takes what is to be sent, and polls nobody.
    pub(crate) fn sent_so_far(&mut self) -> Vec<u8> {
        let output = self.session.output();
        let sent = output.pending().to_vec();
        output.consume(sent.len());
        sent
    }

    /// Takes what is to be sent, until there is no more.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while !self.session.output().is_empty() {
            sent.extend(self.sent_so_far());
            self.run();
        }
        sent
    }

    pub(crate) fn echo(&self) -> &Echo {
        self.session.inner()
    }

    pub(crate) fn info(&self) -> &TlsInfo {
        self.echo()
            .info
            .as_ref()
            .unwrap_or_else(|| panic!("no handshake: {:?}", self.echo().failed))
    }
}

/// A client's side.
pub(crate) struct Client {
    pub(crate) tls: ClientConnection,
    /// What it has decrypted.
    pub(crate) received: Vec<u8>,
    pub(crate) error: Option<rustls::Error>,
    /// The server said that nothing more comes.
    pub(crate) closed: bool,
}

impl Client {
    pub(crate) fn new(config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = name.to_owned().try_into().unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self {
            tls,
            received: Vec::new(),
            error: None,
            closed: false,
        }
    }

    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut sent).unwrap();
        }
        sent
    }

    pub(crate) fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.error.is_none() {
            self.tls.read_tls(&mut bytes).unwrap();
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
                    self.tls.reader().read_exact(&mut plaintext).unwrap();
                    self.received.extend_from_slice(&plaintext);
                    self.closed |= state.peer_has_closed();
                }
                Err(error) => self.error = Some(error),
            }
        }
    }

    pub(crate) fn write(&mut self, plaintext: &[u8]) {
        self.tls.writer().write_all(plaintext).unwrap();
    }
}

/// Lets both talk until neither has anything to say.
pub(crate) fn exchange(client: &mut Client, server: &mut Server) {
    exchange_pieces(client, server, |bytes| vec![bytes.len()]);
}

/// The same, with what the client sends cut into pieces of these lengths.
pub(crate) fn exchange_pieces(
    client: &mut Client,
    server: &mut Server,
    mut lengths: impl FnMut(&[u8]) -> Vec<usize>,
) {
    loop {
        let to_server = client.sent();
        let mut rest = to_server.as_slice();
        for length in lengths(&to_server) {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            server.receive(piece);
            rest = behind;
        }
        server.receive(rest);
        let to_client = server.sent();
        client.receive(&to_client);
        if to_server.is_empty() && to_client.is_empty() {
            break;
        }
    }
}

/// An authority, a certificate of it for `mx.example.com`, and who trusts it.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) issued: Issued,
    pub(crate) roots: RootCertStore,
}

impl World {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["mx.example.com"]);
        let roots = authority.roots();
        Self {
            authority,
            issued,
            roots,
        }
    }

    pub(crate) fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut config = self.builder(versions).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }

    pub(crate) fn client_config_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: &Issued,
    ) -> ClientConfig {
        self.builder(versions)
            .with_client_auth_cert(own.chain(), own.private_key())
            .unwrap()
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
    }

    /// A client that takes any certificate whose key signs in one of these ways.
    pub(crate) fn client_config_unverified(&self, schemes: Vec<SignatureScheme>) -> ClientConfig {
        let mut config = self.client_config(BOTH);
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(AnyCertificate::signing_with(schemes)));
        config
    }

    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Client {
        Client::new(&Arc::new(self.client_config(versions)), "mx.example.com")
    }

    /// Both, with the handshake done and the greeting read.
    pub(crate) fn established(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> (Client, Server) {
        let (mut client, mut server) = (
            self.client(versions),
            Server::implicit(&self.issued.config()),
        );
        exchange(&mut client, &mut server);
        assert_eq!(
            client.received,
            b"hello\n",
            "{:?} {:?}",
            client.error,
            server.echo().failed
        );
        client.received.clear();
        (client, server)
    }
}
