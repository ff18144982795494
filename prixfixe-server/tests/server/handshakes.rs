//! TLS handshakes of clients that leave before their turn.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prixfixe_server::{
    Accepted, CertificateSource, Client as Peer, Endpoint, Handler, Mail, Message, Reply, Session,
    TlsConfig, Transport,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::client::{Client, builder};
use crate::on_both_transports;

on_both_transports![clients_that_have_left_cost_no_cryptography_and_no_place];

/// MAIL stands still, and the server's only thread with it.
#[derive(Default)]
struct Still {
    reached: AtomicBool,
    released: AtomicBool,
}

impl Handler for Still {
    type Session = Standing;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Standing, Reply> {
        Ok(Standing(Arc::clone(self)))
    }
}

struct Standing(Arc<Still>);

impl Session for Standing {
    async fn mail(&mut self, _: Mail<'_>) -> Result<(), Reply> {
        self.0.reached.store(true, Ordering::SeqCst);
        while !self.0.released.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        message.collect().await?;
        Ok(Accepted::default())
    }
}

fn hello() -> Vec<u8> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that there are")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("mx.test").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory");
    hello
}

/// As many as there are places beside the one that holds the thread.
const LEAVERS: usize = 20;

async fn clients_that_have_left_cost_no_cryptography_and_no_place(transport: Transport) {
    let tls = TlsConfig::builder()
        .certificate(CertificateSource::self_signed(["mx.test"]))
        .build()
        .expect("a certificate");
    let handler = Arc::new(Still::default());
    let server = builder(transport)
        .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
        .threads(NonZeroUsize::MIN)
        .max_connections(LEAVERS + 1)
        .tls(tls)
        .handler(Arc::clone(&handler))
        .start()
        .expect("it starts");
    let [clear, secured] = server.local_addresses()[..] else {
        panic!("there are two listeners");
    };
    let mut holder = Client::greeted(clear).await;
    holder.send("MAIL FROM:<>\r\n").await;
    while !handler.reached.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let hello = hello();
    let leavers = [(); LEAVERS].map(|()| {
        let mut stream = TcpStream::connect(secured).expect("the server listens");
        stream.write_all(&hello).expect("the kernel takes it");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        stream
    });
    handler.released.store(true, Ordering::SeqCst);
    for mut leaver in leavers {
        let mut answer = Vec::new();
        leaver.read_to_end(&mut answer).expect("a clean end");
        assert_eq!(answer, b"", "a step was taken");
    }
    assert!(holder.reply().await.starts_with("250"));
    // The end that they have read came after their places were given back.
    for _ in 0..LEAVERS {
        Client::greeted(clear).await;
    }
}
