//! A program behind a server, on both transports.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use prixfixe_server::{Server, Transport};

use crate::programs::{Script, delivery, message_of};

fn a_message_reaches_a_program(transport: Transport) {
    let script = Script::new("cat > $D/message");
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .transport(transport)
        .handler(delivery(&script))
        .start()
        .expect("it starts");
    let mut stream = TcpStream::connect(server.local_address()).expect("it listens");
    let lines = "HELO mx.example.com\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    let mut reply = || {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        line
    };
    stream.write_all(lines.as_bytes()).expect("it reads");
    let replies: Vec<String> = (0..5).map(|_| reply()).collect();
    assert!(replies[4].starts_with("354"), "{replies:?}");
    stream
        .write_all(b"Subject: Hello\r\n\r\n..\r\n.\r\n")
        .expect("it reads");
    let last = reply();
    assert!(last.starts_with("250 2.0.0"), "{last}");
    let message = message_of(&script);
    assert!(message.contains("Delivered-To: bob@example.org\r\n"));
    assert!(message.ends_with("Subject: Hello\r\n\r\n.\r\n"));
}

#[test]
fn a_message_reaches_a_program_on_tokio() {
    a_message_reaches_a_program(Transport::Tokio);
}

#[test]
fn a_message_reaches_a_program_on_raw() {
    a_message_reaches_a_program(Transport::Raw);
}
