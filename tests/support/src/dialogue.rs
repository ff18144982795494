//! A client that says its lines one by one.

use std::net::{SocketAddr, TcpStream};

use crate::Client;

/// Says each line when the reply to the one before is there; the last line of each reply, that of
/// the greeting first.
pub fn talk(address: SocketAddr, lines: &[&str]) -> Vec<String> {
    let mut client = Client::new(TcpStream::connect(address).expect("it listens"));
    let mut replies = vec![client.last_line().expect("a greeting")];
    for line in lines {
        client.send(format!("{line}\r\n")).expect("it reads");
        replies.push(client.last_line().expect("a reply"));
    }
    replies
}
