//! The client against the core, in memory: every content arrives as it was, whatever the way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use prixfixe_client::{BodyType, Config, Connection, Event, Mail, Piece, Rcpt, StartTls};
use prixfixe_core as core;
use proptest::prelude::*;

/// How a message goes.
#[derive(Debug, Clone, Copy)]
struct Way {
    pipelining: bool,
    chunking: bool,
    start_tls: bool,
    /// Pieces that are given, sent and received.
    piece: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Delivered {
    from: String,
    to: Vec<String>,
    content: Vec<u8>,
}

/// The smallest server.
struct Server {
    connection: core::Connection,
    held: Vec<u8>,
    output: Vec<u8>,
    message: Delivered,
    delivered: Vec<Delivered>,
}

impl Server {
    fn new(start_tls: bool, now: Instant) -> Self {
        let mut config = core::Config::new("mx.example.com");
        config.starttls = start_tls;
        let mut server = Self {
            connection: core::Connection::new(Arc::new(config), now),
            held: Vec::new(),
            output: Vec::new(),
            message: Delivered::default(),
            delivered: Vec::new(),
        };
        server
            .connection
            .answer(now, core::Answer::Accept, &mut server.output);
        server
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut input = held.as_slice();
        while let Some(event) = self
            .connection
            .poll_event(now, &mut input, &mut self.output)
        {
            let mut answer = core::Answer::Accept;
            match event {
                core::Event::Mail { reverse_path, .. } => {
                    self.message = Delivered::default();
                    self.message.from = reverse_path.to_string();
                }
                core::Event::Rcpt { forward_path, .. } => {
                    let to = forward_path.to_string();
                    if to.starts_with("nobody@") {
                        answer = core::Answer::Refuse(core::Reply::permanent("no such user"));
                    } else {
                        self.message.to.push(to);
                    }
                }
                core::Event::Body(piece) => self.message.content.extend_from_slice(piece),
                core::Event::MessageEnd { .. } => self.delivered.push(self.message.clone()),
                _ => {}
            }
            if self.connection.question().is_some() {
                self.connection.answer(now, answer, &mut self.output);
            }
        }
        self.held = input.to_vec();
    }
}

/// Sends messages, each to `to` and to somebody who is not there; gives what became of them.
fn exchange(way: Way, contents: &[Vec<u8>], to: &[&str]) -> (Vec<Delivered>, Vec<String>) {
    let now = Instant::now();
    let mut config = Config::smtp("client.example.com").unwrap();
    config.pipelining = way.pipelining;
    if way.start_tls {
        config.start_tls = StartTls::Required;
    }
    let mut client = Connection::new(Arc::new(config), now);
    let mut server = Server::new(way.start_tls, now);
    let mut contents: VecDeque<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let mut told = Vec::new();
    for _ in 0..100_000 {
        let sent = match client.poll_transmit().next() {
            Some(Piece::Bytes(bytes)) => bytes[..bytes.len().min(way.piece)].to_vec(),
            Some(Piece::Lent { .. }) => unreachable!("nothing was lent"),
            None => Vec::new(),
        };
        client.handle_transmitted(now, sent.len());
        server.receive(now, &sent);
        let count = server.output.len().min(way.piece);
        let replies: Vec<u8> = server.output.drain(..count).collect();
        let mut input = replies.as_slice();
        while let Some(event) = client.poll_event(now, &mut input).unwrap() {
            match event {
                Event::Ready | Event::Done => match contents.front() {
                    Some(content) => begin(&mut client, now, way, content.len(), to),
                    None => client.quit(now).unwrap(),
                },
                Event::StartTls => {
                    assert!(server.held.is_empty());
                    server.connection.tls_established(now);
                    client.tls_established(now).unwrap();
                }
                Event::Content => give(&mut client, now, way, contents.pop_front().unwrap()),
                Event::Rcpt { recipient, reply } => {
                    told.push(format!("{recipient} {}", reply.code()))
                }
                Event::Message { reply, .. } => told.push(reply.code().to_string()),
                _ => {}
            }
        }
        if client.is_closed() {
            return (server.delivered, told);
        }
    }
    unreachable!("it came to no end: {told:?}")
}

fn begin(client: &mut Connection, now: Instant, way: Way, size: usize, to: &[&str]) {
    let mail = Mail::new("alice@example.com").unwrap();
    let mail = mail.size(size as u64).body(BodyType::EightBitMime);
    client.mail(now, &mail).unwrap();
    for to in to {
        client.rcpt(now, &Rcpt::new(*to).unwrap()).unwrap();
    }
    if way.chunking {
        client.bdat(now).unwrap();
    } else {
        client.data(now).unwrap();
    }
}

fn give(client: &mut Connection, now: Instant, way: Way, content: &[u8]) {
    if !way.chunking {
        for piece in content.chunks(way.piece) {
            assert_eq!(client.send_content(now, piece), Ok(piece.len()));
        }
        return client.finish_content(now).unwrap();
    }
    for piece in content.chunks(way.piece) {
        client.send_chunk(now, piece, false).unwrap();
    }
    client.send_chunk(now, b"", true).unwrap();
}

fn ways() -> impl Iterator<Item = Way> {
    [1, 3, 1000].into_iter().flat_map(|piece| {
        (0..8u8).map(move |bits| Way {
            pipelining: bits & 1 == 0,
            chunking: bits & 2 != 0,
            start_tls: bits & 4 != 0,
            piece,
        })
    })
}

#[test]
fn messages_arrive_as_they_were_by_every_way() {
    let contents = [
        b"Subject: one\r\n\r\n.\r\n..\r\n.x\r\nend\r\n".to_vec(),
        b".\r\n".to_vec(),
        b"\xff\r\n".to_vec(),
    ];
    for way in ways() {
        let to = ["bob@example.net", "nobody@example.net", "carol@example.net"];
        let (delivered, told) = exchange(way, &contents, &to);
        let arrived: Vec<_> = delivered
            .iter()
            .map(|message| message.content.clone())
            .collect();
        assert_eq!(arrived, contents, "{way:?}");
        assert_eq!(delivered[0].to, ["bob@example.net", "carol@example.net"]);
        assert_eq!(delivered[0].from, "alice@example.com");
        assert_eq!(told[..4], ["0 250", "1 550", "2 250", "250"], "{way:?}");
        assert_eq!(told.len(), 12);
    }
}

#[test]
fn nothing_arrives_for_nobody() {
    for way in ways() {
        let (delivered, told) = exchange_for_nobody(way);
        assert_eq!(delivered, [], "{way:?}");
        assert_eq!(told, ["0 550"], "{way:?}");
    }
}

/// Its one message goes to nobody, so it is never asked for a content.
fn exchange_for_nobody(way: Way) -> (Vec<Delivered>, Vec<String>) {
    let now = Instant::now();
    let mut config = Config::smtp("client.example.com").unwrap();
    config.pipelining = way.pipelining;
    let mut client = Connection::new(Arc::new(config), now);
    let mut server = Server::new(false, now);
    let mut told = Vec::new();
    while !client.is_closed() {
        let sent = match client.poll_transmit().next() {
            Some(Piece::Bytes(bytes)) => bytes[..bytes.len().min(way.piece)].to_vec(),
            _ => Vec::new(),
        };
        client.handle_transmitted(now, sent.len());
        server.receive(now, &sent);
        let replies = std::mem::take(&mut server.output);
        let mut input = replies.as_slice();
        while let Some(event) = client.poll_event(now, &mut input).unwrap() {
            match event {
                Event::Ready => begin(&mut client, now, way, 5, &["nobody@example.net"]),
                Event::Done => client.quit(now).unwrap(),
                Event::Content => unreachable!("nobody wants it"),
                Event::Rcpt { recipient, reply } => {
                    told.push(format!("{recipient} {}", reply.code()))
                }
                _ => {}
            }
        }
    }
    (server.delivered, told)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_lines_arrive_as_they_were(
        lines in prop::collection::vec("[.x\u{e9}]{0,4}", 1..8),
        bits in 0usize..24,
    ) {
        let content = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>().into_bytes();
        let way = ways().nth(bits).unwrap();
        let (delivered, _) = exchange(way, std::slice::from_ref(&content), &["bob@example.net"]);
        prop_assert_eq!(&delivered[0].content, &content);
    }
}
