//! A PrixFixe that hands its mail on to another PrixFixe: over both transports, in plaintext and by
//! TLS.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use prixfixe_delivery::{NextHop, NextHopOptions, Outcomes, Target, TlsUse, Transaction};
use prixfixe_server::{
    Accepted, CertificateSource, Client, Endpoint, Handler, Inbox, Mail, Message, Rcpt, Reply,
    Server, Session, TlsConfig, Transport, inbox, reply,
};
use prixfixe_test_support::SelfSigned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::scripted::{is_down, open, options, send};

/// What hands on to a next hop whatever it is sent.
struct Front {
    hop: NextHop,
    runtime: Handle,
}

struct Conversation {
    front: Arc<Front>,
    transaction: Option<Box<dyn Transaction>>,
}

impl Handler for Front {
    type Session = Conversation;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Conversation, Reply> {
        Ok(Conversation {
            front: Arc::clone(self),
            transaction: None,
        })
    }
}

/// Polls a future inside of a runtime, whoever polls.
async fn within<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let _guard = runtime.enter();
        future.as_mut().poll(cx)
    })
    .await
}

impl Session for Conversation {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let Self { front, transaction } = self;
        let asked = async {
            if transaction.is_none() {
                let mail = Mail::new(rcpt.client(), rcpt.envelope());
                *transaction = Some(front.hop.begin(mail).answer().await?);
            }
            match transaction {
                Some(transaction) => transaction.rcpt(rcpt.recipient()).answer().await,
                None => Ok(()),
            }
        };
        let asked: Result<(), prixfixe_delivery::Failure> = within(&front.runtime, asked).await;
        asked.map_err(prixfixe_delivery::Failure::into_reply)
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let transaction = self
            .transaction
            .take()
            .ok_or(reply!(451 4.3.0 "no transaction"))?;
        match within(&self.front.runtime, transaction.deliver(message)).await {
            Outcomes::All(Ok(_)) => Ok(Accepted::default()),
            Outcomes::All(Err(failure)) => Err(failure.into_reply()),
            other => panic!("{other:?}"),
        }
    }

    fn reset(&mut self) {
        self.transaction = None;
    }
}

fn server(transport: Transport) -> prixfixe_server::ServerBuilder<()> {
    Server::builder()
        .domain("mx.example.net")
        .transport(transport)
        .listen(([127, 0, 0, 1], 0))
        .max_message_size(100 << 20)
}

/// Says lines and gives the last line of each reply.
async fn submit(server: &Server, recipients: &[&str], content: &str) -> Vec<String> {
    let stream = TcpStream::connect(server.local_address()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut replies = vec![reply_of(&mut stream).await];
    let mut lines = vec![
        "EHLO client.example".to_owned(),
        "MAIL FROM:<ann@example.com>".into(),
    ];
    lines.extend(recipients.iter().map(|it| format!("RCPT TO:<{it}>")));
    lines.push("DATA".into());
    for line in lines {
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .unwrap();
        replies.push(reply_of(&mut stream).await);
    }
    if replies.last().is_some_and(|reply| reply.starts_with("354")) {
        let (reader, mut writer) = stream.into_inner().into_split();
        let content = format!("{content}.\r\n");
        let sending = async move {
            writer.write_all(content.as_bytes()).await.unwrap();
            // Open until the reply was read.
            writer
        };
        let mut reader = BufReader::new(reader);
        let (_writer, reply) = tokio::join!(sending, reply_of(&mut reader));
        replies.push(reply);
    }
    replies.split_off(3)
}

async fn reply_of(stream: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "closed");
        if line.as_bytes().get(3) != Some(&b'-') {
            return line.trim_end().to_owned();
        }
    }
}

fn hop_to(server: &Server, change: impl FnOnce(&mut NextHopOptions)) -> NextHop {
    let mut options = options();
    options.timeout = std::time::Duration::from_secs(30);
    options.final_timeout = std::time::Duration::from_secs(60);
    change(&mut options);
    open(
        &format!("smtp:localhost:{}", server.local_address().port()),
        options,
    )
}

async fn mail_goes_through(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let back = server(transport)
        .accept_domains(["example.org"])
        .handler(handler)
        .start()
        .unwrap();
    let front = Front {
        hop: hop_to(&back, |_| {}),
        runtime: Handle::current(),
    };
    let front = server(transport).handler(front).start().unwrap();
    let large = "0123456789abcdef0123456789abcdef\r\n".repeat(200_000);
    for content in ["Subject: small\r\n\r\nx\r\n", &large] {
        let replies = submit(&front, &["bob@example.org", "bob@example.net"], content).await;
        assert_eq!(replies.len(), 4, "{replies:?}");
        assert!(replies[0].starts_with("250 "), "{replies:?}");
        assert!(replies[1].starts_with("550 "), "{replies:?}");
        assert!(replies[3].starts_with("250 "), "{replies:?}");
        let message = inbox.next().await.unwrap();
        assert_eq!(message.envelope().recipients().len(), 1);
        assert_eq!(message.client().helo(), Some("mx.example.com"));
        let (headers, rest) = message
            .content()
            .split_at(message.content().len() - content.len());
        assert!(headers.starts_with(b"Received: from client.example ([127.0.0.1])"));
        assert!(rest == content.as_bytes(), "not what was sent");
    }
    back.stop().await;
    let replies = submit(&front, &["bob@example.org"], "x\r\n").await;
    assert!(replies[0].starts_with("451 4.4.1 "), "{replies:?}");
    front.stop().await;
}

#[tokio::test]
async fn mail_goes_through_from_tokio() {
    mail_goes_through(Transport::Tokio).await;
}

#[tokio::test]
async fn mail_goes_through_from_the_raw_transport() {
    mail_goes_through(Transport::Raw).await;
}

fn secured(certificate: &SelfSigned, folder: &std::path::Path) -> (Server, Inbox) {
    certificate.install(folder);
    let source = CertificateSource::files(folder.join("cert.pem"), folder.join("key.pem"));
    let tls = TlsConfig::builder().certificate(source).build().unwrap();
    let (handler, inbox) = inbox();
    let server = server(Transport::Tokio)
        .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
        .tls(tls)
        .handler(handler)
        .start()
        .unwrap();
    (server, inbox)
}

#[tokio::test]
async fn a_certificate_is_verified_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let right = SelfSigned::new("localhost");
    let other = SelfSigned::new("localhost");
    let ca = folder.path().join("other.pem");
    std::fs::write(&ca, &other.certificate_pem).unwrap();
    let (back, mut inbox) = secured(&right, folder.path());
    let own_ca = folder.path().join("cert.pem");
    for (level, ca, secured) in [
        (TlsUse::Off, None, Some(false)),
        (TlsUse::Opportunistic, None, Some(true)),
        (TlsUse::Require, None, Some(true)),
        (TlsUse::Verify, Some(own_ca.clone()), Some(true)),
        (TlsUse::Verify, Some(ca), None),
        (TlsUse::Verify, None, None),
    ] {
        let hop = hop_to(&back, |options| {
            (options.tls, options.tls_ca) = (Some(level), ca.clone());
        });
        let told = send(&hop).await;
        match secured {
            Some(secured) => {
                assert!(told[0].starts_with("ok: 250 "), "{level}: {told:?}");
                let message = inbox.next().await.unwrap();
                assert_eq!(message.client().tls().is_some(), secured, "{level}");
            }
            None => {
                assert!(told[0].starts_with("rcpt: 451 4.4.1 "), "{level}: {told:?}");
                assert!(
                    told[0].contains("write tls-ca for its authority"),
                    "{told:?}"
                );
                assert!(is_down(&hop));
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (back, _inbox) = secured(&SelfSigned::new("mx.example.net"), folder.path());
    let hop = hop_to(&back, |options| {
        options.tls = Some(TlsUse::Verify);
        options.tls_ca = Some(folder.path().join("cert.pem"));
    });
    let told = send(&hop).await;
    assert!(told[0].contains("not valid for name"), "{told:?}");
}

#[tokio::test]
async fn tls_before_the_greeting_is_spoken_and_a_plaintext_port_is_named_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (back, mut inbox) = secured(&SelfSigned::new("localhost"), folder.path());
    let [plain, tls] = back.local_addresses()[..] else {
        panic!("there are two listeners");
    };
    let mut options = options();
    options.timeout = std::time::Duration::from_secs(30);
    options.tls_ca = Some(folder.path().join("cert.pem"));
    let hop = open(&format!("smtps:localhost:{}", tls.port()), options.clone());
    for _ in 0..2 {
        let told = send(&hop).await;
        assert!(told[0].starts_with("ok: 250 "), "{told:?}");
        assert!(inbox.next().await.unwrap().client().tls().is_some());
    }
    let hop = open(&format!("smtps:localhost:{}", plain.port()), options);
    let told = send(&hop).await;
    assert!(told[0].contains("does not speak TLS"), "{told:?}");
}
