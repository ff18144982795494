//! A TLS client in memory, and the server's side driven as a transport drives it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use prixfixe_network::Session;
use prixfixe_test_support::trusting_client;
use prixfixe_tls::{CertificateSource, Tls, TlsConfig};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};

use crate::mail::Mail;

/// How much a session may have waiting for the network: what `Tls` promises, and a reply of the
/// core behind it.
const MAX_OUTGOING: usize = 64 * 1024 + 18 * 1024 + 16 * 1024 + 1024;

/// Which layer a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Clear,
    StartTls,
    Implicit,
}

/// The server's side.
pub struct Server {
    pub session: Tls<Mail>,
    pub now: Instant,
    pub finished: bool,
    /// What came and is not wanted yet: a transport leaves it in the socket.
    unread: Vec<u8>,
    eof: bool,
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
    pub fn new(start: Start) -> Self {
        let now = Instant::now();
        let mail = Mail::new(now, start != Start::Clear);
        let session = match start {
            Start::Clear => Tls::clear(mail),
            Start::StartTls => Tls::starttls(mail, &SERVER),
            Start::Implicit => Tls::implicit(mail, &SERVER, now),
        };
        let mut server = Self {
            session,
            now,
            finished: false,
            unread: Vec::new(),
            eof: false,
            woken: Arc::default(),
        };
        server.run();
        server
    }

    pub fn mail(&self) -> &Mail {
        self.session.inner()
    }

    /// Octets from the network, in reads of this length.
    pub fn receive(&mut self, bytes: &[u8], length: usize) {
        if !self.eof {
            self.unread.extend_from_slice(bytes);
        }
        self.read(length);
    }

    /// Reads while the session wants to.
    pub fn read(&mut self, length: usize) {
        while !self.finished && !self.unread.is_empty() && self.session.wants_read() {
            let length = length.clamp(1, 64 * 1024).min(self.unread.len());
            let rest = self.unread.split_off(length);
            let piece = std::mem::replace(&mut self.unread, rest);
            self.session.receive(self.now, &piece);
            self.run();
        }
    }

    pub fn receive_eof(&mut self) {
        // The end is behind what was sent before it.
        self.read(usize::MAX);
        if !self.finished && !self.eof && self.unread.is_empty() {
            self.eof = true;
            self.session.receive_eof(self.now);
            self.run();
        }
    }

    pub fn shutdown(&mut self) {
        if !self.finished {
            self.session.shutdown(self.now);
            self.run();
        }
    }

    pub fn after(&mut self, duration: Duration) {
        self.now += duration;
        self.run();
    }

    /// Polled, and again as long as it was woken.
    fn run(&mut self) {
        let mut polls = 0;
        loop {
            if self.finished {
                return;
            }
            self.woken.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&self.woken));
            let mut cx = Context::from_waker(&waker);
            self.finished = self.session.poll(self.now, &mut cx) == Poll::Ready(());
            assert!(self.session.output().len() <= MAX_OUTGOING);
            if !self.finished {
                let deadline = self.session.deadline();
                assert!(deadline.is_none_or(|deadline| deadline > self.now));
            }
            if !self.woken.0.load(Ordering::Relaxed) {
                return;
            }
            // The transport has been around.
            self.now += Duration::from_nanos(1);
            polls += 1;
            assert!(polls < 100, "it spins");
        }
    }

    /// Takes what is to be sent, until there is no more.
    pub fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        loop {
            let output = self.session.output();
            if output.is_empty() {
                return sent;
            }
            sent.extend_from_slice(output.pending());
            output.consume(usize::MAX);
            self.run();
        }
    }
}

/// A client that takes any certificate.
pub fn client(modern: bool) -> ClientConnection {
    let config = match modern {
        true => &*MODERN,
        false => &*OLD,
    };
    let name = ServerName::try_from("mx.example.com").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

static SERVER: LazyLock<TlsConfig> = LazyLock::new(|| {
    TlsConfig::builder()
        .certificate(CertificateSource::self_signed(["mx.example.com"]))
        .build()
        .expect("a certificate")
});

static MODERN: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(trusting_client(&[&TLS13])));
static OLD: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(trusting_client(&[&TLS12])));
