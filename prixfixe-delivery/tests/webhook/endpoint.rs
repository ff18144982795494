//! An endpoint whose answers are a script, and a client's side of a message.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use prixfixe_delivery::{
    Delivered, Failure, Outcomes, Target, Webhook, WebhookOptions, WebhookUrl,
};
use prixfixe_server::{Client, Envelope, Mail, Message};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Answers a request; false: closes the connection.
pub(crate) type Script = dyn Fn(&Request, &mut TcpStream) -> bool + Send + Sync;

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Endpoint {
    /// Answers each request by a script.
    pub(crate) fn start(
        script: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&requests);
        let address = accept(move |connection, stream| {
            let Ok(clone) = stream.try_clone() else {
                return;
            };
            let (mut reader, mut stream) = (BufReader::new(clone), stream);
            while let Some(mut request) = read(&mut reader) {
                request.connection = connection;
                kept.lock().unwrap().push(request.clone());
                if !script(&request, &mut stream) {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    /// Answers every request with these bytes, and keeps the connection.
    pub(crate) fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |_, stream| stream.write_all(&response).is_ok())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mail?from=smtp", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Hands each connection to a thread of its own.
pub(crate) fn accept(work: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let work = Arc::new(work);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let work = Arc::clone(&work);
            thread::spawn(move || work(number, stream));
        }
    });
    address
}

/// Reads a request, if one comes.
pub(crate) fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if reader.read_line(&mut text).ok()? == 0 {
            return None;
        }
    }
    let mut lines = text.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line,
        headers,
        body,
        connection: 0,
    })
}

pub(crate) const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// Fast enough for tests, and slow enough for a machine with other work.
pub(crate) fn options() -> WebhookOptions {
    let mut options = WebhookOptions::default();
    options.final_timeout = Duration::from_secs(20);
    options
}

pub(crate) fn open(url: &str, options: WebhookOptions) -> Webhook {
    let url: WebhookUrl = url.parse().expect("a URL");
    Webhook::open(&url, options).expect("it opens")
}

pub(crate) const HELLO: &str = "Date: Sat, 28 Nov 2026 00:45:20 +0000\r\n\
    From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\n\
    Message-ID: <1@example.com>\r\n\r\nHow are you?\r\n";

pub(crate) fn client() -> Client {
    Client::builder()
        .peer(([192, 0, 2, 7], 40_112))
        .ehlo("mx.example.com")
        .build()
}

pub(crate) fn envelope(from: &str, to: &[&str]) -> Envelope {
    let envelope = Envelope::builder().from(from).expect("a sender");
    let add = |envelope: prixfixe_server::EnvelopeBuilder, to: &&str| {
        envelope.to(to).expect("a recipient")
    };
    to.iter().fold(envelope, add).build()
}

/// Hands a message over as a server does.
pub(crate) async fn deliver(target: &impl Target, message: Message) -> Result<Delivered, Failure> {
    let envelope = message.envelope().clone();
    let client = message.client().clone();
    let mut transaction = target.begin(Mail::new(&client, &envelope)).answer().await?;
    for recipient in envelope.recipients() {
        transaction.rcpt(recipient).answer().await?;
    }
    match transaction.deliver(message).await {
        Outcomes::All(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn post(target: &impl Target, content: &str) -> Result<Delivered, Failure> {
    let envelope = envelope("ann@example.com", &["bob@example.org"]);
    deliver(
        target,
        Message::new(client(), envelope, [content.to_owned()]),
    )
    .await
}

/// The reply that a client hears.
pub(crate) fn reply(outcome: &Result<Delivered, Failure>) -> String {
    match outcome {
        Ok(_) => String::from("250"),
        Err(failure) => format!("{} {}", failure.reply().code(), failure.reply().enhanced()),
    }
}

/// The words for the log.
pub(crate) fn detail(outcome: &Result<Delivered, Failure>) -> String {
    match outcome {
        Ok(delivered) => delivered.detail.as_deref().unwrap_or_default().to_owned(),
        Err(failure) => failure.detail().unwrap_or_default().to_owned(),
    }
}
