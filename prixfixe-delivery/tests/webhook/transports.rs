//! A webhook behind a server, on both transports.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use prixfixe_delivery::Delivery;
use prixfixe_server::{Server, Transport};

use crate::endpoint::{Endpoint, OK, open, options};

/// The last line of each reply to these.
fn talk(address: SocketAddr, lines: &[&str]) -> Vec<String> {
    let stream = TcpStream::connect(address).expect("it listens");
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    let mut reply = move || {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            if line.get(3..4) != Some("-") {
                return line.trim().to_owned();
            }
        }
    };
    let mut stream = stream;
    let mut replies = vec![reply()];
    for line in lines {
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("it reads");
        replies.push(reply());
    }
    replies
}

const SESSION: [&str; 6] = [
    "EHLO mx.example.com",
    "MAIL FROM:<ann@example.com>",
    "RCPT TO:<bob@example.org>",
    "RCPT TO:<eve@example.org>",
    "DATA",
    "Subject: Hello\r\n\r\nHow are you?\r\n.",
];

fn a_message_is_posted(transport: Transport) {
    let endpoint = Endpoint::answering(OK);
    let webhook = open(&endpoint.url(), options());
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .transport(transport)
        .handler(Delivery::to("hook", webhook))
        .start()
        .expect("it starts");
    let replies = talk(server.local_address(), &SESSION);
    assert!(replies[6].starts_with("250 2.0.0"), "{replies:?}");
    let data = endpoint.requests()[0].json()["data"].clone();
    assert_eq!(
        data["envelope"]["to"],
        serde_json::json!(["bob@example.org", "eve@example.org"])
    );
    assert_eq!(data["text"], "How are you?\r\n");
}

fn a_refusal_is_the_clients(transport: Transport) {
    let body = r#"{"reply":"550 5.1.1 no such user"}"#;
    let endpoint = Endpoint::answering(format!(
        "HTTP/1.1 404 x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .transport(transport)
        .handler(Delivery::to("hook", open(&endpoint.url(), options())))
        .start()
        .expect("it starts");
    let replies = talk(server.local_address(), &SESSION);
    assert_eq!(replies[6], "550 5.1.1 no such user");
}

#[test]
fn a_message_is_posted_on_tokio() {
    a_message_is_posted(Transport::Tokio);
}

#[test]
fn a_message_is_posted_on_raw() {
    a_message_is_posted(Transport::Raw);
}

#[test]
fn a_refusal_is_the_clients_on_tokio() {
    a_refusal_is_the_clients(Transport::Tokio);
}

#[test]
fn a_refusal_is_the_clients_on_raw() {
    a_refusal_is_the_clients(Transport::Raw);
}
