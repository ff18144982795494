//! Between real servers, on a real disk.

use std::time::Duration;

use prixfixe_delivery::{Around, Routes, Spool, TargetOptions, TargetUrl};
use prixfixe_server::{Endpoint, Protocol, Server, Transport, inbox};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scripted::options;

const MAIL: &str = "EHLO client.example\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.org>\r\n\
                    RCPT TO:<gone@else.example>\r\nDATA\r\nSubject: hello\r\n\r\n..\r\nHow are you?\r\n.\r\nQUIT\r\n";

async fn lmtp_takes_what_a_server_stored(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let endpoint = Endpoint::new(([127, 0, 0, 1], 0)).protocol(Protocol::Lmtp);
    let next = Server::builder()
        .listen(endpoint)
        .accept_domains(["example.org"])
        .handler(handler)
        .start()
        .unwrap();
    let url: TargetUrl = format!("lmtp:{}", next.local_address()).parse().unwrap();
    let (target_options, mut around) = (TargetOptions::default(), Around::default());
    around.domain = "mx.example.org".to_owned();
    let target = url.open("store", &target_options, &around);
    let routes = Routes::new("mx.example.org").shared_target("store", target.await.unwrap());
    let directory = tempdir().unwrap();
    let spool = Spool::start(directory.path(), routes.rest("store").unwrap(), options()).unwrap();
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .transport(transport)
        .handler(spool.clone())
        .start()
        .unwrap();

    let mut stream = tokio::net::TcpStream::connect(server.local_address())
        .await
        .unwrap();
    stream.write_all(MAIL.as_bytes()).await.unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).await.unwrap();
    assert!(replies.contains("\r\n250 2.0.0 "), "{replies}");

    let message = inbox.next().await.unwrap();
    let text = String::from_utf8_lossy(message.content()).into_owned();
    assert!(
        text.starts_with("Received: from client.example ([127.0.0.1])"),
        "{text}"
    );
    assert!(
        text.ends_with("\r\nSubject: hello\r\n\r\n.\r\nHow are you?\r\n"),
        "{text}"
    );
    assert_eq!(
        message.envelope().recipients()[0].to_string(),
        "bob@example.org"
    );
    // The other one was refused there for good.
    while spool.status().failed == 0 || spool.status().ready > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let entries = tokio::task::spawn_blocking({
        let spool = spool.clone();
        move || spool.list(None, 10).unwrap()
    });
    let entries = entries.await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].targets[0].recipients, ["gone@else.example"]);
    spool.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_takes_what_a_server_stored_on_tokio() {
    lmtp_takes_what_a_server_stored(Transport::Tokio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_takes_what_a_server_stored_on_raw() {
    lmtp_takes_what_a_server_stored(Transport::Raw).await;
}
