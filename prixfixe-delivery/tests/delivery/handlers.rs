//! The handlers behind a server, spoken to over a socket.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prixfixe_delivery::{
    Around, Delivery, Discard, Maildir, Routes, Stdout, TargetOptions, TargetUrl,
};
use prixfixe_server::{Handler, Server};
use serde_json::Value;

use crate::directory::contents;
use crate::messages::{ROOT, one_worker, open, store};
use crate::simulated::{Plan, Simulated, errno};

fn serve(handler: impl Handler) -> Server {
    Server::builder()
        .domain("mx.example.com")
        .listen(([127, 0, 0, 1], 0))
        .handler(handler)
        .start()
        .unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Self {
        let mut client = Self(BufReader::new(
            TcpStream::connect(server.local_address()).unwrap(),
        ));
        assert!(client.reply().starts_with("220 "));
        assert!(client.command("EHLO client.example").starts_with("250"));
        client
    }

    fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// The last line of the reply.
    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.0.read_line(&mut line).unwrap(),
                0,
                "the connection was closed"
            );
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// A message by BDAT, whose content needs no dots and no last line end.
    fn mail(&mut self, content: &[u8]) -> String {
        assert!(
            self.command("MAIL FROM:<from@client.example> BODY=BINARYMIME")
                .starts_with("250 ")
        );
        assert!(
            self.command("RCPT TO:<one@example.com>")
                .starts_with("250 ")
        );
        assert!(
            self.command("RCPT TO:<two@example.com>")
                .starts_with("250 ")
        );
        self.send(format!("BDAT {} LAST\r\n", content.len()).as_bytes());
        self.send(content);
        self.reply()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_message_is_its_trace_headers_and_then_what_was_sent() {
    let directory = tempfile::tempdir().unwrap();
    let target = TargetUrl::maildir(directory.path().join("mail"));
    let (options, around) = (TargetOptions::default(), Around::default());
    let opened = target.open("keep", &options, &around);
    let routes = Routes::new("localhost").shared_target("keep", opened.await.unwrap());
    let delivery = Delivery::new(routes.rest("keep").unwrap());
    let server = serve(delivery.clone());
    let mut client = Client::connect(&server);
    let sent = b"Subject: \xff\x00\r\n\r\n.\r\n..\r\nno line end";
    let reply = client.mail(sent);
    let id = reply
        .strip_prefix("250 2.0.0 OK ")
        .unwrap_or_else(|| panic!("{reply}"));

    let files = contents(&directory.path().join("mail/new"));
    let [stored] = files.values().collect::<Vec<_>>()[..] else {
        panic!("{files:?}")
    };
    let head = stored
        .strip_suffix(sent)
        .expect("the content is as it was sent");
    let head = std::str::from_utf8(head).unwrap();
    let lines: Vec<&str> = head.split_terminator("\r\n").collect();
    assert_eq!(
        lines[..3],
        [
            "Return-Path: <from@client.example>",
            "Delivered-To: one@example.com",
            "Delivered-To: two@example.com"
        ]
    );
    let received = lines[3..].concat();
    assert!(
        received.starts_with("Received: from client.example ([127.0.0.1])"),
        "{received}"
    );
    for part in ["by mx.example.com", "with ESMTP ", &format!("id {id}")] {
        assert!(received.contains(part), "{part} is not in {received}");
    }
    assert!(delivery.fault().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_that_begins_with_a_blank_is_no_part_of_the_trace_headers() {
    for (sent, separator) in [
        (
            &b" (not us); Thu, 1 Jan 1970 00:00:00 +0000\r\n"[..],
            "\r\n",
        ),
        (b"\tx\r\nSubject: y\r\n\r\nz\r\n", "\r\n"),
        (b"\t", "\r\n"),
        (b"\r\n x\r\n", ""),
        (b"x\r\n y\r\n", ""),
        (b"", ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = serve(Maildir::open(directory.path(), one_worker()).unwrap());
        assert!(Client::connect(&server).mail(sent).starts_with("250 "));
        let files = contents(&directory.path().join("new"));
        let stored = files.values().next().unwrap();
        let head = std::str::from_utf8(stored.strip_suffix(sent).unwrap()).unwrap();
        assert!(
            head.ends_with(&format!(" +0000\r\n{separator}")),
            "{head:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_is_stored_whole_and_a_connection_lost_in_it_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let maildir = Maildir::open(directory.path(), one_worker()).unwrap();
    let server = serve(maildir.clone());
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number ^ number >> 8) as u8)
        .collect();
    assert!(Client::connect(&server).mail(&content).starts_with("250 "));
    let stored = contents(&directory.path().join("new"));
    assert!(stored.values().next().unwrap().ends_with(&content));

    let mut lost = Client::connect(&server);
    lost.command("MAIL FROM:<> BODY=BINARYMIME");
    lost.command("RCPT TO:<one@example.com>");
    lost.send(b"BDAT 3000000 LAST\r\n");
    lost.send(&content[..2_000_000]);
    drop(lost);
    server.stop().await;
    // The one worker takes things in order: it is done with the lost message when it has stored
    // another.
    store(&maildir, [Bytes::from("text\r\n")]).await.unwrap();
    assert_eq!(contents(&directory.path().join("new")).len(), 2);
    assert!(contents(&directory.path().join("tmp")).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_a_4xx_reply_and_the_session_goes_on() {
    let disk = Simulated::default();
    let server = serve(open(&disk));
    let mut client = Client::connect(&server);
    for (error, code) in [
        (errno::ENOSPC, "452 4.3.1 "),
        (errno::EDQUOT, "452 4.3.1 "),
        (errno::EIO, "451 4.3.0 "),
    ] {
        disk.plan(Plan::FailFrom(0, error));
        let reply = client.mail(b"Subject: x\r\n\r\n");
        assert!(reply.starts_with(code), "{reply}");
        disk.plan(Plan::Sound);
    }
    assert!(client.mail(b"Subject: x\r\n\r\n").starts_with("250 "));
    assert_eq!(disk.durable_files_in(&Path::new(ROOT).join("new")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discard_counts() {
    let discard = Arc::new(Discard::new());
    let server = serve(Arc::clone(&discard));
    let mut client = Client::connect(&server);
    assert!(client.mail(&[b'x'; 1000]).starts_with("250 "));
    assert!(client.mail(&[b'x'; 300_000]).starts_with("250 "));
    assert_eq!((discard.messages(), discard.octets()), (2, 301_000));
}

/// A writer that can be looked at, and told to fail.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<(Vec<u8>, Option<i32>)>>);

impl Page {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(String::from).collect()
    }

    fn fail(&self, error: Option<i32>) {
        self.0.lock().unwrap().1 = error;
    }
}

impl Write for Page {
    /// Half of a line goes through before it fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (page, error) = &mut *self.0.lock().unwrap();
        let half = bytes.len() / 2;
        match *error {
            Some(_) if half > 100 => {
                page.extend_from_slice(&bytes[..half]);
                Ok(half)
            }
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => {
                page.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stdout_writes_an_object_a_line() {
    let page = Page::default();
    let server = serve(Stdout::to_writer(page.clone()).unwrap());
    let mut client = Client::connect(&server);
    let text = "Subject: caf\u{e9} \"\u{1b}\u{2028}\r\n\r\n";
    let reply = client.mail(text.as_bytes());
    let id = reply
        .strip_prefix("250 2.0.0 OK ")
        .unwrap_or_else(|| panic!("{reply}"));
    assert!(client.mail(b"\xff\r\n").starts_with("250 "));

    let lines = page.lines();
    let [first, second] = &lines[..] else {
        panic!("{lines:?}")
    };
    let first: Value = serde_json::from_str(first).unwrap();
    let keys: BTreeSet<&str> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "authentication",
            "digest",
            "from",
            "helo",
            "id",
            "message",
            "peer",
            "received",
            "size",
            "tls",
            "to",
            "user"
        ]
        .into()
    );
    assert_eq!(first["id"], id);
    assert_eq!(first["from"], "from@client.example");
    assert_eq!(
        first["to"],
        serde_json::json!(["one@example.com", "two@example.com"])
    );
    assert_eq!(first["helo"], "client.example");
    assert_eq!(first["tls"], Value::Null);
    assert_eq!(first["size"], text.len());
    assert_eq!(first["message"], text);
    assert!(first["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let received: jiff::Timestamp = first["received"].as_str().unwrap().parse().unwrap();
    assert!(received <= jiff::Timestamp::now());

    let second: Value = serde_json::from_str(second).unwrap();
    assert_eq!(second["message_base64"], "/w0K");
    assert_eq!(second.get("message"), None);
    assert_ne!(second["digest"], first["digest"]);
    assert_eq!(second["user"], Value::Null);
}

#[tokio::test]
async fn stdout_has_the_digest_and_who_has_logged_in() {
    let page = Page::default();
    let stdout = Stdout::to_writer(page.clone()).unwrap();
    let client = prixfixe_server::Client::builder().identity(prixfixe_server::Identity::new("ann"));
    let envelope = prixfixe_server::Envelope::builder();
    let envelope = envelope.from("ann@example.com").unwrap();
    let envelope = envelope.to("bob@example.org").unwrap().build();
    let content = "Message-ID: <1@example.com>\r\n\r\n";
    let mut message = prixfixe_server::Message::new(client.build(), envelope, [content]);
    let digest = message.digest().await.unwrap().to_string();
    let told = prixfixe_delivery::hand_over(&stdout, message).await;
    assert!(told.into_answer().is_ok());
    let line: Value = serde_json::from_str(&page.lines()[0]).unwrap();
    assert_eq!(line["digest"], digest);
    assert_eq!(line["user"], "ann");
    assert_eq!(line["authentication"], Value::Null);
    assert_eq!(line["message"], content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_cannot_be_written_is_a_refusal_and_spoils_no_other() {
    const EPIPE: i32 = 32;

    let page = Page::default();
    let stdout = Stdout::to_writer(page.clone()).unwrap();
    let server = serve(stdout.clone());
    let mut client = Client::connect(&server);
    for (error, code) in [(EPIPE, "451 4.3.0 "), (errno::ENOSPC, "452 4.3.1 ")] {
        page.fail(Some(error));
        let reply = client.mail(&b"refused\r\n".repeat(20));
        assert!(reply.starts_with(code), "{reply}");
        assert_eq!(
            stdout.health().fault().unwrap().subject(),
            "the standard output"
        );
    }
    page.fail(None);
    assert!(client.mail(b"accepted\r\n").starts_with("250 "));
    assert!(stdout.health().fault().is_none());
    let whole: Vec<Value> = page
        .lines()
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0]["message"], "accepted\r\n");
}

/// A reader that does not read, as a pipe that is full has it.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Until the other end is gone.
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_nobody_takes_is_a_fault_until_somebody_does() {
    let (read, stuck) = std::sync::mpsc::channel();
    let stdout = Stdout::to_writer(Stuck(stuck)).unwrap();
    let mut health = stdout.health();
    let server = serve(stdout);
    let (mut waiting, mut other) = (Client::connect(&server), Client::connect(&server));
    let waiting = tokio::task::spawn_blocking(move || waiting.mail(b"Subject: x\r\n\r\n"));
    health.changed().await;
    let fault = health.fault().unwrap().to_string();
    assert!(
        fault.starts_with("cannot write to the standard output: no answer for 1"),
        "{fault}"
    );
    assert!(other.command("MAIL FROM:<>").starts_with("451 4.3.0 "));
    drop(read);
    assert!(waiting.await.unwrap().starts_with("250 "));
    assert!(health.fault().is_none());
    assert!(other.command("MAIL FROM:<>").starts_with("250 "));
}
