//! A server that does what a script says, and mail for it.

use std::net::SocketAddr;
use std::time::Duration;

use prixfixe_delivery::{FailureKind, NextHop, NextHopOptions, Outcomes, Target};
use prixfixe_server::{Client, Envelope, Mail, Message};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does next.
#[derive(Debug, Clone)]
pub enum Do {
    /// Says this, with a line end.
    Say(String),
    /// Says these bytes as they are.
    Bytes(Vec<u8>),
    /// Reads a line, which begins like this.
    Hear(String),
    /// Reads a content up to its end.
    HearContent,
    /// Reads so many bytes.
    HearBytes(usize),
    /// Says a line for ever, until nobody listens.
    Flood(&'static str),
    /// Does nothing until the other side goes.
    Hang,
    /// Waits for so long.
    Wait(Duration),
}

pub fn say(text: &str) -> Do {
    Do::Say(text.to_owned())
}

pub fn hear(text: &str) -> Do {
    Do::Hear(text.to_owned())
}

/// Greeting and EHLO, with these extensions.
pub fn hello(extensions: &[&str]) -> Vec<Do> {
    let mut reply = "250-mx.example.net\r\n".to_owned();
    for extension in extensions {
        reply += &format!("250-{extension}\r\n");
    }
    vec![
        say("220 mx.example.net ESMTP"),
        hear(""),
        say(&(reply + "250 HELP")),
    ]
}

/// The envelope for one recipient, accepted.
pub fn envelope() -> Vec<Do> {
    vec![
        hear("MAIL FROM:<ann@example.com>"),
        say("250 2.1.0 ok"),
        hear("RCPT TO:<bob@example.org>"),
        say("250 2.1.5 ok"),
    ]
}

/// The content by DATA, with this verdict.
pub fn content(verdict: &str) -> Vec<Do> {
    vec![
        hear("DATA"),
        say("354 go on"),
        Do::HearContent,
        say(verdict),
    ]
}

/// What was said to the server, line by line, contents too.
pub type Heard = String;

/// A server that treats each connection as the next of its scripts says, and then is gone.
pub struct Scripted {
    pub address: SocketAddr,
    task: JoinHandle<Vec<Heard>>,
}

impl Scripted {
    pub async fn new(scripts: Vec<Vec<Do>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut heard = Vec::new();
            for script in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                heard.push(play(stream, script).await);
            }
            heard
        });
        Self { address, task }
    }

    pub fn url(&self, kind: &str) -> String {
        format!("{kind}:{}", self.address)
    }

    pub fn hop(&self, kind: &str) -> NextHop {
        open(&self.url(kind), options())
    }

    /// What was said on each connection, once all scripts were played.
    pub async fn heard(self) -> Vec<Heard> {
        self.task.await.unwrap()
    }
}

async fn play(stream: TcpStream, script: Vec<Do>) -> Heard {
    let mut stream = BufReader::new(stream);
    let mut heard = Vec::new();
    for step in script {
        match step {
            Do::Say(line) => {
                let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
            }
            Do::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
            }
            Do::Hear(prefix) => {
                let start = heard.len();
                stream.read_until(b'\n', &mut heard).await.unwrap();
                let line = String::from_utf8_lossy(&heard[start..]);
                assert!(line.starts_with(&prefix), "{line:?}, not {prefix:?}");
            }
            Do::HearContent => {
                while !heard.ends_with(b"\r\n.\r\n") {
                    let count = stream.read_until(b'\n', &mut heard).await.unwrap();
                    assert!(count > 0, "no end of the content");
                }
            }
            Do::HearBytes(count) => {
                let start = heard.len();
                heard.resize(start + count, 0);
                stream.read_exact(&mut heard[start..]).await.unwrap();
            }
            Do::Flood(line) => while stream.write_all(line.as_bytes()).await.is_ok() {},
            Do::Hang => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
            Do::Wait(time) => tokio::time::sleep(time).await,
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Plaintext; patience enough for a loaded machine, and for what hangs.
pub fn options() -> NextHopOptions {
    let mut options = NextHopOptions::default();
    options.name = "relay".to_owned();
    options.own_domain = "mx.example.com".to_owned();
    options.timeout = Duration::from_secs(3);
    options.final_timeout = Duration::from_secs(3);
    options
}

pub fn open(url: &str, options: NextHopOptions) -> NextHop {
    NextHop::open(&url.parse().unwrap(), options).unwrap()
}

pub fn envelope_to(recipients: &[&str]) -> Envelope {
    let builder = Envelope::builder().from("ann@example.com").unwrap();
    let all = recipients
        .iter()
        .fold(builder, |builder, recipient| builder.to(recipient).unwrap());
    all.build()
}

pub fn client() -> Client {
    Client::builder().ehlo("client.example").build()
}

pub const HELLO: &str = "Subject: hello\r\n\r\n.\r\nHow are you?\r\n";

/// Sends a small message to one recipient, and tells what became of it.
pub async fn send(hop: &NextHop) -> Vec<String> {
    relay(hop, envelope_to(&["bob@example.org"]), &[HELLO]).await
}

/// Sends a message, and tells what became of each recipient, in one line each.
pub async fn relay(hop: &NextHop, envelope: Envelope, pieces: &[&str]) -> Vec<String> {
    let client = client();
    let begun = hop.begin(Mail::new(&client, &envelope)).answer().await;
    let mut transaction = match begun {
        Ok(transaction) => transaction,
        Err(failure) => return vec![format!("begin: {}", shown(&failure))],
    };
    let mut told = Vec::new();
    let mut taken = Vec::new();
    for recipient in envelope.recipients() {
        match transaction.rcpt(recipient).answer().await {
            Ok(()) => taken.push(recipient.clone()),
            Err(failure) => told.push(format!("rcpt: {}", shown(&failure))),
        }
    }
    if taken.is_empty() {
        return told;
    }
    let pieces: Vec<Vec<u8>> = pieces
        .iter()
        .map(|piece| piece.as_bytes().to_vec())
        .collect();
    let message = Message::new(client, envelope, pieces);
    match transaction.deliver(message).await {
        Outcomes::All(result) => told.push(outcome(&result)),
        Outcomes::Each(each) => {
            assert_eq!(each.len(), taken.len());
            told.extend(each.iter().map(outcome));
        }
        _ => panic!("another kind of outcomes"),
    }
    told
}

fn outcome(result: &Result<prixfixe_delivery::Delivered, prixfixe_delivery::Failure>) -> String {
    match result {
        Ok(delivered) => format!("ok: {}", delivered.detail.as_deref().unwrap_or_default()),
        Err(failure) => format!("end: {}", shown(failure)),
    }
}

fn shown(failure: &prixfixe_delivery::Failure) -> String {
    let kind = match failure.kind() {
        FailureKind::Unknown => " (unknown)",
        _ => "",
    };
    let detail = failure.detail().unwrap_or_default();
    format!("{}{kind} | {detail}", failure.reply())
}

/// True while the target is down.
pub fn is_down(hop: &NextHop) -> bool {
    hop.health().fault().is_some()
}
