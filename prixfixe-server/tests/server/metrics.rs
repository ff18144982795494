//! What is counted after a known mix of clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prixfixe_server::{
    Accepted, CertificateSource, Client as Peer, ConnectionResult, EnhancedCode, FailureReason,
    HandshakeFailure, IncidentKind, Mail, Message, Metrics, MetricsSnapshot, Rcpt, Reply, Server,
    Session, Sessions, TimeoutPhase, TlsConfig, Transport,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Client, builder, start};
use crate::on_both_transports;

mod documentation;
mod refusals;
mod tls;

on_both_transports![
    each_message_is_counted_once_by_what_became_of_it,
    what_was_lost_or_too_slow_is_counted,
    a_timeout_has_the_phase_of_what_the_client_owed,
    a_message_that_the_stop_cuts_off_is_counted,
    a_message_takes_from_its_mail_to_its_reply,
    every_connection_has_one_result,
    all_octets_of_clients_are_counted,
];

/// Does what the sender's name says.
struct Obedient;

fn refusal(code: u16, enhanced: EnhancedCode, text: &'static str) -> Reply {
    Reply::new(code, enhanced, text).expect("the codes agree")
}

impl Session for Obedient {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        match mail.reverse_path().to_string().as_str() {
            "unwanted@example.com" => Err(refusal(553, EnhancedCode(5, 1, 8), "not that one")),
            _ => Ok(()),
        }
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        match rcpt.path().to_string().as_str() {
            "nobody@example.com" => Err(refusal(550, EnhancedCode(5, 1, 1), "nobody here")),
            _ => Ok(()),
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        match message.envelope().reverse_path().to_string().as_str() {
            "reject@example.com" => Err(refusal(554, EnhancedCode(5, 6, 0), "that content, no")),
            "later@example.com" => Err(refusal(450, EnhancedCode(4, 7, 1), "come again")),
            "full@example.com" => Err(refusal(452, EnhancedCode(4, 3, 1), "no room")),
            "odd@example.com" => Err(refusal(250, EnhancedCode(2, 0, 0), "a refusal?")),
            "panic@example.com" => panic!("as it was told"),
            "never@example.com" => std::future::pending().await,
            "slow@example.com" => {
                tokio::time::sleep(Duration::from_millis(120)).await;
                Ok(Accepted::default())
            }
            _ => Ok(Accepted::default()),
        }
    }
}

/// Asks again until it is so.
async fn until(metrics: &Metrics, is_so: impl Fn(&MetricsSnapshot) -> bool) -> MetricsSnapshot {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let snapshot = metrics.snapshot();
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "{snapshot:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn failed(snapshot: &MetricsSnapshot) -> Vec<(FailureReason, u64)> {
    let counted = snapshot.messages_failed.iter().copied();
    counted.filter(|(_, count)| *count > 0).collect()
}

/// Sends a message in one go after EHLO; the last reply.
async fn send(client: &mut Client, sender: &str, content: &str) -> String {
    let text = format!(
        "MAIL FROM:<{sender}@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n{content}\r\n.\r\n"
    );
    client.send(text).await;
    for expected in ["250 2.1.0", "250 2.1.5", "354"] {
        assert!(client.reply().await.starts_with(expected));
    }
    client.reply().await
}

async fn each_message_is_counted_once_by_what_became_of_it(transport: Transport) {
    let server = builder(transport)
        .max_message_size(5000)
        .handler_timeout(Duration::from_millis(100))
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts");
    let address = server.local_address();
    let mut client = Client::greeted(address).await;
    let metrics = server.metrics();
    let before = metrics.snapshot();
    assert_eq!((before.messages_received(), before.success_rate), (0, 1.0));
    assert_eq!(before.messages_per_second, 0.0);

    for (sender, content, code) in [
        ("ann", "hello", "250"),
        ("ann", "hello", "250"),
        ("ann", "hello", "250"),
        ("reject", "hello", "554 5.6.0"),
        ("later", "hello", "450 4.7.1"),
        ("full", "hello", "452 4.3.1"),
        ("odd", "hello", "451 4.3.0"),
        ("never", "hello", "451 4.3.0"),
        ("ann", &"too large\r\n".repeat(500), "552 5.3.4"),
        ("ann", "a bare\nline feed", "550 5.5.2"),
        ("ann", &"Received: again\r\n".repeat(101), "554 5.4.6"),
    ] {
        let reply = send(&mut client, sender, content).await;
        assert!(reply.starts_with(code), "{sender}: {reply}");
    }
    // The core refuses a chunk, too, and the end of the message is not its reply.
    client.send("MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nBDAT 3\r\na\nbBDAT 0 LAST\r\n").await;
    for expected in ["250 2.1.0", "250 2.1.5", "550 5.5.2", "503"] {
        let reply = client.reply().await;
        assert!(reply.starts_with(expected), "{reply}");
    }
    // Given up between two chunks.
    client
        .send("MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nBDAT 2\r\nabRSET\r\n")
        .await;
    for expected in ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"] {
        assert!(client.reply().await.starts_with(expected));
    }
    // No messages: their content never began.
    assert!(
        client
            .ask("MAIL FROM:<ann@example.com>")
            .await
            .starts_with("250")
    );
    assert!(client.ask("RSET").await.starts_with("250"));
    assert!(
        client
            .ask("MAIL FROM:<unwanted@example.com>")
            .await
            .starts_with("553")
    );
    let reply = send(&mut client, "panic", "hello").await;
    assert!(reply.starts_with("421 4.3.0"), "{reply}");

    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.messages_succeeded, 3);
    assert_eq!(
        failed(&snapshot),
        [
            (FailureReason::Refused, 1),
            (FailureReason::Deferred, 1),
            (FailureReason::Storage, 2),
            (FailureReason::HandlerTimeout, 1),
            (FailureReason::HandlerPanic, 1),
            (FailureReason::TooLarge, 1),
            (FailureReason::BareLineEnd, 2),
            (FailureReason::Loop, 1),
            (FailureReason::GivenUp, 1),
        ]
    );
    assert_eq!(snapshot.messages_received(), 14);
    assert_eq!(snapshot.processing.count(), 14);
    // What the handler was asked about and answered, or had no time left for: not what the dialogue
    // ended.
    assert_eq!(snapshot.delivery.count(), 9);
    assert_eq!(snapshot.success_rate, 3.0 / 14.0);
    assert!(snapshot.messages_per_second > 0.0);
}

/// A server that gives its clients hardly any time.
fn impatient(transport: Transport) -> Server {
    builder(transport)
        .command_timeout(Duration::from_millis(200))
        .min_data_rate(1_000_000)
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts")
}

async fn what_was_lost_or_too_slow_is_counted(transport: Transport) {
    let server = impatient(transport);
    let address = server.local_address();
    let metrics = server.metrics();
    let beginning =
        "EHLO c\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n";

    // In one go, so that no command is too slow on a slow machine.
    let mut slow = Client::connect(address).await;
    slow.send(format!("{beginning}half")).await;
    assert!(
        slow.rest()
            .await
            .ends_with("421 4.4.2 Timed out waiting for the client\r\n")
    );
    let mut silent = Client::connect(address).await;
    assert!(silent.rest().await.contains("\r\n421 4.4.2 "));
    let snapshot = until(&metrics, |snapshot| snapshot.timeouts == 2).await;
    assert_eq!(
        snapshot.timeouts_by_phase,
        [
            (TimeoutPhase::ProxyHeader, 0),
            (TimeoutPhase::Handshake, 0),
            (TimeoutPhase::Command, 1),
            (TimeoutPhase::Message, 1),
        ]
    );
    assert_eq!(failed(&snapshot), [(FailureReason::Timeout, 1)]);

    let mut lost = Client::connect(address).await;
    lost.send(format!("{beginning}half")).await;
    lost.half_close().await;
    lost.rest().await;
    let snapshot = until(&metrics, |snapshot| snapshot.failed() == 2).await;
    assert_eq!(
        failed(&snapshot),
        [
            (FailureReason::Timeout, 1),
            (FailureReason::ConnectionLost, 1)
        ]
    );

    // The content is complete, its answer is not: nobody is left to be told.
    let mut gone = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let whole = format!("{beginning}whole\r\n.\r\n").replace("ann@", "never@");
    let read = metrics.snapshot().bytes_received + whole.len() as u64;
    gone.write_all(whole.as_bytes())
        .await
        .expect("the server reads");
    until(&metrics, |snapshot| snapshot.bytes_received == read).await;
    // Closed with replies unread, it is a reset.
    gone.set_zero_linger().expect("a socket option");
    drop(gone);
    let snapshot = until(&metrics, |snapshot| snapshot.failed() == 3).await;
    assert_eq!(
        failed(&snapshot),
        [
            (FailureReason::Timeout, 1),
            (FailureReason::ConnectionLost, 2)
        ]
    );
    assert_eq!(snapshot.delivery.count(), 0);
    assert_eq!(
        (snapshot.messages_succeeded, snapshot.success_rate),
        (0, 0.0)
    );
}

async fn a_timeout_has_the_phase_of_what_the_client_owed(transport: Transport) {
    let server = impatient(transport);
    let metrics = server.metrics();
    let envelope = "EHLO c\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\n";
    // A body and a chunk that were refused already, and the silence between two chunks.
    for (input, phase) in [
        (
            format!("{envelope}DATA\r\na bare\nline end"),
            TimeoutPhase::Message,
        ),
        ("BDAT 1000\r\nhalf".to_owned(), TimeoutPhase::Message),
        (format!("{envelope}BDAT 4\r\nhalf"), TimeoutPhase::Command),
    ] {
        let before = metrics.snapshot();
        let mut stalled = Client::connect(server.local_address()).await;
        stalled.send(&input).await;
        assert!(stalled.rest().await.contains("\r\n421 4.4.2 "));
        let after = until(&metrics, |it| it.timeouts > before.timeouts).await;
        let of = |snapshot: &MetricsSnapshot| {
            let (_, count) = snapshot
                .timeouts_by_phase
                .iter()
                .find(|(it, _)| *it == phase)
                .expect("each phase is there");
            *count
        };
        assert_eq!(of(&after), of(&before) + 1, "{input:?}");
    }
}

async fn a_message_that_the_stop_cuts_off_is_counted(transport: Transport) {
    let server = builder(transport)
        .drain_timeout(Duration::ZERO)
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts");
    let metrics = server.metrics();
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    server.stop().await;
    let snapshot = metrics.snapshot();
    assert_eq!(failed(&snapshot), [(FailureReason::Shutdown, 1)]);
    assert_eq!(snapshot.active_connections, 0);
}

async fn a_message_takes_from_its_mail_to_its_reply(transport: Transport) {
    let server = start(transport, Sessions::new(|_| async { Ok(Obedient) }));
    let mut client = Client::greeted(server.local_address()).await;
    client.send("MAIL FROM:<slow@example.com>\r\n").await;
    assert!(client.reply().await.starts_with("250"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    client
        .send("RCPT TO:<bob@example.com>\r\nDATA\r\n.\r\n")
        .await;
    for expected in ["250", "354", "250"] {
        assert!(client.reply().await.starts_with(expected));
    }
    let snapshot = server.metrics().snapshot();
    // Both waits were at least so long, and the handler's was within the other.
    assert!(snapshot.delivery.sum() >= Duration::from_millis(120));
    assert!(snapshot.processing.sum() >= Duration::from_millis(180));
}

async fn every_connection_has_one_result(transport: Transport) {
    let server = builder(transport)
        .max_connections(2)
        .sessions(|client: Peer| async move {
            match client.peer().ip() == Some([127, 0, 0, 9].into()) {
                true => Err(refusal(554, EnhancedCode(5, 7, 1), "you, no")),
                false => Ok(Obedient),
            }
        })
        .start()
        .expect("it starts");
    let address = server.local_address();
    let metrics = server.metrics();
    let first = Client::greeted(address).await;
    let second = Client::greeted(address).await;
    let mut third = Client::connect(address).await;
    assert!(third.rest().await.starts_with("421"));
    let snapshot = metrics.snapshot();
    assert_eq!(
        (snapshot.active_connections, snapshot.max_connections),
        (2, 2)
    );
    drop((first, second));
    until(&metrics, |snapshot| snapshot.active_connections == 0).await;

    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 9], 0)))
        .expect("a loopback address");
    let mut unwanted = Client::from(socket.connect(address).await.expect("the server listens"));
    assert!(unwanted.rest().await.starts_with("554 5.7.1"));

    assert_eq!(
        metrics.snapshot().connections,
        [
            (ConnectionResult::Accepted, 2),
            (ConnectionResult::Refused, 1),
            (ConnectionResult::OverLimit, 1),
            (ConnectionResult::ClientLimit, 0),
            (ConnectionResult::HealthCheck, 0),
            (ConnectionResult::BadProxyHeader, 0),
            (ConnectionResult::Unfinished, 0),
        ]
    );
}

async fn all_octets_of_clients_are_counted(transport: Transport) {
    let server = start(transport, Sessions::new(|_| async { Ok(Obedient) }));
    let mut client = Client::connect(server.local_address()).await;
    let mut sent = 0;
    for text in [
        "EHLO client.test\r\n",
        "NO",
        "OP\r\n",
        "MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\n",
        "DATA\r\n",
        "..dots\r\n.\r\n",
        "WHAT\r\nQUIT\r\n",
    ] {
        client.send(text).await;
        sent += text.len() as u64;
    }
    client.rest().await;
    assert_eq!(server.metrics().snapshot().bytes_received, sent);
}
