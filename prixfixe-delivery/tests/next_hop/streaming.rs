//! Large contents, and who holds a place while.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prixfixe_delivery::Target;
use prixfixe_server::Mail;

use crate::scripted::{
    Do, HELLO, Scripted, client, content, envelope, envelope_to, hear, hello, is_down, open,
    options, relay, say,
};

/// So many lines that need a dot each.
fn large(lines: usize) -> String {
    ".2345678901234567890123456789012345678901234567890\r\n".repeat(lines)
}

#[tokio::test]
async fn a_large_content_arrives_whole_by_data() {
    let text = large(40_000);
    let script = [hello(&[]), envelope(), content("250 ok")].concat();
    let server = Scripted::new(vec![script]).await;
    let pieces: Vec<&str> = ["Subject: x\r\n\r\n"]
        .into_iter()
        .chain(
            text.as_bytes()
                .chunks(7_777)
                .map(|piece| std::str::from_utf8(piece).unwrap()),
        )
        .collect();
    let told = relay(
        &server.hop("smtp"),
        envelope_to(&["bob@example.org"]),
        &pieces,
    )
    .await;
    assert_eq!(told, ["ok: 250 ok"]);
    let heard = server.heard().await;
    let (_, content) = heard[0].split_once("Subject: x\r\n\r\n").unwrap();
    assert!(
        content == format!("{}.\r\n", text.replace('.', "..")),
        "not what was sent"
    );
}

#[tokio::test]
async fn a_large_content_arrives_whole_by_chunks() {
    let text = large(40_000);
    for extensions in [&["CHUNKING", "PIPELINING"][..], &["CHUNKING"]] {
        let server = Chunks::serve(extensions).await;
        let hop = open(&format!("lmtp:{}", server.0), options());
        let pieces: Vec<&str> = text
            .as_bytes()
            .chunks(7_777)
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        let told = relay(&hop, envelope_to(&["bob@example.org"]), &pieces).await;
        assert_eq!(told, ["ok: 250 2.0.0 saved"]);
        let content = server.1.await.unwrap();
        let (headers, content) = content.split_at(content.len() - text.len());
        assert!(headers.starts_with("Received: "), "{headers}");
        assert!(content == text, "not what was sent");
    }
}

/// A server of LMTP that takes one message in chunks, and answers each.
struct Chunks(std::net::SocketAddr, tokio::task::JoinHandle<String>);

impl Chunks {
    async fn serve(extensions: &[&str]) -> Self {
        use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let offered: String = extensions
            .iter()
            .map(|it| format!("250-{it}\r\n"))
            .collect();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 lmtp\r\n").await.unwrap();
            let mut content = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let reply = match line.split_once(' ') {
                    Some(("LHLO", _)) => format!("250-lmtp\r\n{offered}250 HELP\r\n"),
                    Some(("BDAT", arguments)) => {
                        let mut words = arguments.split_whitespace();
                        let length: usize = words.next().unwrap().parse().unwrap();
                        let start = content.len();
                        content.resize(start + length, 0);
                        stream.read_exact(&mut content[start..]).await.unwrap();
                        if words.next() == Some("LAST") {
                            stream.write_all(b"250 2.0.0 saved\r\n").await.unwrap();
                            return String::from_utf8(content).unwrap();
                        }
                        "250 2.0.0 more\r\n".to_owned()
                    }
                    _ => "250 2.0.0 ok\r\n".to_owned(),
                };
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        Self(address, task)
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_content_is_the_clients() {
    let steps = [
        hear("DATA"),
        say("354 go on"),
        Do::HearBytes(100),
        say("552 5.3.4 too big"),
        Do::Hang,
    ];
    let script = [hello(&[]), envelope(), steps.to_vec()].concat();
    let server = Scripted::new(vec![script]).await;
    let hop = server.hop("smtp");
    // More than the sockets between hold, so that it cannot all be on its way.
    let text = large(1_000_000);
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &[&text]).await;
    assert!(told[0].starts_with("end: 552 5.3.4 too big |"), "{told:?}");
    assert!(!is_down(&hop));
}

#[tokio::test]
async fn a_chunk_that_is_refused_ends_the_message_and_not_the_connection() {
    let text = large(20_000);
    let script = [
        hello(&["CHUNKING"]),
        envelope(),
        vec![hear("BDAT "), Do::HearBytes(196_608), say("452 4.3.1 full")],
    ]
    .concat();
    let server = Scripted::new(vec![[script, vec![Do::Hang]].concat()]).await;
    let hop = server.hop("smtp");
    let pieces: Vec<&str> = text
        .as_bytes()
        .chunks(4096)
        .map(|piece| std::str::from_utf8(piece).unwrap())
        .collect();
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &pieces).await;
    assert!(told[0].starts_with("end: 452 4.3.1 full |"), "{told:?}");
    assert!(!is_down(&hop));
}

#[tokio::test]
async fn a_next_hop_that_stops_reading_is_given_up() {
    let steps = [
        hear("DATA"),
        say("354 go on"),
        Do::Wait(std::time::Duration::from_secs(30)),
    ];
    let script = [hello(&[]), envelope(), steps.to_vec()].concat();
    let server = Scripted::new(vec![script]).await;
    let mut options = options();
    options.timeout = std::time::Duration::from_secs(1);
    let hop = open(&server.url("smtp"), options);
    let text = large(1_000_000);
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &[&text]).await;
    assert!(told[0].starts_with("end: 451 4.4.1"), "{told:?}");
    assert!(!told[0].contains("(unknown)"), "{told:?}");
    assert!(is_down(&hop));
}

/// A server that counts transactions whose content it is at, answers none of them, and one after
/// another on request.
#[tokio::test]
async fn places_count_from_the_content_and_not_from_the_envelope() {
    let at_content = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (counted, released) = (Arc::clone(&at_content), Arc::clone(&release));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (counted, released) = (Arc::clone(&counted), Arc::clone(&released));
            tokio::spawn(serve_slowly(stream, counted, released));
        }
    });
    let mut options = options();
    options.concurrency = 1;
    options.final_timeout = std::time::Duration::from_secs(60);
    let hop = open(&format!("smtp:{address}"), options);
    // Three envelopes at once, though there is one place.
    let (client, mail) = (client(), envelope_to(&["bob@example.org"]));
    let mut transactions = Vec::new();
    for _ in 0..3 {
        let mut transaction = hop.begin(Mail::new(&client, &mail)).answer().await.unwrap();
        transaction
            .rcpt(&mail.recipients()[0])
            .answer()
            .await
            .unwrap();
        transactions.push(transaction);
    }
    let deliveries: Vec<_> = transactions
        .into_iter()
        .map(|transaction| {
            let message = prixfixe_server::Message::new(client.clone(), mail.clone(), [HELLO]);
            tokio::spawn(transaction.deliver(message))
        })
        .collect();
    for done in 1..=3 {
        until(|| at_content.load(Ordering::SeqCst) == done).await;
        release.add_permits(1);
    }
    for delivery in deliveries {
        let outcome = format!("{:?}", delivery.await.unwrap());
        assert!(outcome.contains("250 ok, alone"), "{outcome}");
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

fn serve_slowly(
    stream: tokio::net::TcpStream,
    counted: Arc<AtomicUsize>,
    released: Arc<tokio::sync::Semaphore>,
) -> impl Future<Output = ()> + Send {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    async move {
        let mut stream = BufReader::new(stream);
        let mut reply = "220 mx".to_owned();
        let mut in_content = false;
        loop {
            if !reply.is_empty() {
                let line = format!("{reply}\r\n");
                if stream.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            reply = match line.trim_end() {
                "DATA" => {
                    in_content = true;
                    "354 go on".to_owned()
                }
                "." if in_content => {
                    in_content = false;
                    let before = AT_ONCE.fetch_add(1, Ordering::SeqCst);
                    counted.fetch_add(1, Ordering::SeqCst);
                    released.acquire().await.unwrap().forget();
                    AT_ONCE.fetch_sub(1, Ordering::SeqCst);
                    match before {
                        0 => "250 ok, alone".to_owned(),
                        _ => "250 ok, with others".to_owned(),
                    }
                }
                _ if in_content => String::new(),
                _ => "250 ok".to_owned(),
            };
        }
    }
}
