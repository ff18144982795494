//! A client that says its lines one by one.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

/// Says each line when the reply to the one before is there; the last line of each reply, that of the greeting first.
pub fn talk(address: SocketAddr, lines: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(address).expect("it listens");
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
    let mut replies = vec![reply()];
    for line in lines {
        let line = format!("{line}\r\n");
        stream.write_all(line.as_bytes()).expect("it reads");
        replies.push(reply());
    }
    replies
}
