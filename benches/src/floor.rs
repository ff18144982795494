//! The reference floor: the barest event loop that a client takes for an SMTP server.
//!
//! One thread, one epoll, one `read` and one `write` for whatever a client sent at once. It knows a
//! command by its first letter, answers from constants, and finds the true end of a body, wherever
//! the reads cut it: anything less would not be a server of the same protocol, and anything more is
//! a server's own cost. There are no limits, no timeouts and no checks, so that it is good for
//! nothing but being measured.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use memchr::{memchr, memmem};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use prixfixe_test_support::SelfSigned;
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

const BACKLOG: i32 = 4096;
const READ: usize = 64 << 10;
const LISTENER: Token = Token(usize::MAX - 1);

const GREETING: &[u8] = b"220 floor ESMTP\r\n";
const EHLO: &[u8] =
    b"250-floor\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250 CHUNKING\r\n";
const OK: &[u8] = b"250 2.0.0 OK\r\n";
const GO_ON: &[u8] = b"354 go on\r\n";
const BYE: &[u8] = b"221 2.0.0 bye\r\n";
const UNKNOWN: &[u8] = b"500 5.5.1 unknown\r\n";
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

/// What a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Clear text.
    Plain,
    /// TLS before the greeting.
    Tls,
}

/// Serves until the process is killed.
///
/// # Errors
///
/// When the address cannot be listened on, or the certificate cannot be made.
pub fn serve(address: SocketAddr, mode: Mode) -> io::Result<()> {
    let tls = match mode {
        Mode::Plain => None,
        Mode::Tls => Some(SelfSigned::new("localhost").server_config()),
    };
    run(listen(address)?, tls)
}

/// One client's dialogue, without its socket.
#[derive(Debug, Default)]
pub struct Dialogue {
    state: State,
    /// The beginning of a command whose end has not arrived.
    partial: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Command,
    /// In a body: so many octets of the end of data have been seen at the end of what was read.
    Data {
        matched: usize,
    },
    /// In a chunk, with so many octets to come.
    Chunk {
        left: usize,
    },
    Closed,
}

impl Dialogue {
    /// Takes what a client sent and appends the replies. False after QUIT.
    pub fn receive(&mut self, mut input: &[u8], output: &mut Vec<u8>) -> bool {
        loop {
            match &mut self.state {
                State::Closed => return false,
                State::Data { matched } => match end_of_data(*matched, input) {
                    Ok(end) => {
                        input = input.get(end..).unwrap_or_default();
                        output.extend_from_slice(OK);
                        self.state = State::Command;
                    }
                    Err(so_far) => {
                        *matched = so_far;
                        return true;
                    }
                },
                State::Chunk { left } => {
                    let taken = input.len().min(*left);
                    input = input.get(taken..).unwrap_or_default();
                    *left -= taken;
                    if *left > 0 {
                        return true;
                    }
                    output.extend_from_slice(OK);
                    self.state = State::Command;
                }
                State::Command => {
                    let Some(end) = memchr(b'\n', input) else {
                        self.partial.extend_from_slice(input);
                        return true;
                    };
                    let (line, rest) = input.split_at(end + 1);
                    input = rest;
                    self.state = if self.partial.is_empty() {
                        command(line, output)
                    } else {
                        self.partial.extend_from_slice(line);
                        let state = command(&self.partial, output);
                        self.partial = Vec::new();
                        state
                    };
                }
            }
        }
    }
}

fn command(line: &[u8], output: &mut Vec<u8>) -> State {
    let (reply, state) = match line.first() {
        Some(b'M' | b'R' | b'N' | b'm' | b'r' | b'n') => (OK, State::Command),
        Some(b'D' | b'd') => (GO_ON, State::Data { matched: 2 }),
        Some(b'B' | b'b') => {
            return State::Chunk {
                left: chunk_size(line),
            };
        }
        Some(b'E' | b'H' | b'e' | b'h') => (EHLO, State::Command),
        Some(b'Q' | b'q') => (BYE, State::Closed),
        _ => (UNKNOWN, State::Command),
    };
    output.extend_from_slice(reply);
    state
}

fn chunk_size(line: &[u8]) -> usize {
    let digits = line
        .get(5..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |size: usize, digit| {
        size.saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    })
}

/// Where the body ends in `input`, given how much of the end of data came before it; or how much of
/// it is there at the end of `input`. The CRLF of the DATA command counts as the first two octets:
/// an empty message is a lone dot.
fn end_of_data(matched: usize, input: &[u8]) -> Result<usize, usize> {
    // What was cut in two goes on at the beginning of the input, as long as the input agrees.
    let mut matched = matched;
    for (i, byte) in input.iter().enumerate() {
        if matched == 0 {
            return find_end_of_data(input, i);
        }
        matched = match END_OF_DATA.get(matched) {
            Some(expected) if expected == byte => matched + 1,
            _ => usize::from(*byte == b'\r'),
        };
        if matched == END_OF_DATA.len() {
            return Ok(i + 1);
        }
    }
    Err(matched)
}

fn find_end_of_data(input: &[u8], from: usize) -> Result<usize, usize> {
    let rest = input.get(from..).unwrap_or_default();
    if let Some(at) = memmem::find(rest, END_OF_DATA) {
        return Ok(from + at + END_OF_DATA.len());
    }
    let begun = (1..END_OF_DATA.len())
        .rev()
        .find(|count| rest.ends_with(END_OF_DATA.get(..*count).unwrap_or_default()));
    Err(begun.unwrap_or(0))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which saves a system call a connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

struct Client {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    dialogue: Dialogue,
    output: Vec<u8>,
}

struct Buffers {
    wire: Vec<u8>,
    plain: Vec<u8>,
}

fn run(mut listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut clients: Slab<Client> = Slab::new();
    let mut buffers = Buffers {
        wire: vec![0; READ],
        plain: vec![0; READ],
    };
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, tls.as_ref(), &poll, &mut clients);
                continue;
            }
            let key = event.token().0;
            let Some(client) = clients.get_mut(key) else {
                continue;
            };
            if !client
                .turn(event.is_read_closed(), &mut buffers)
                .unwrap_or(false)
            {
                clients.remove(key);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    poll: &Poll,
    clients: &mut Slab<Client>,
) {
    while let Ok((socket, _)) = listener.accept() {
        let entry = clients.vacant_entry();
        let session = tls
            .and_then(|config| ServerConnection::new(Arc::clone(config)).ok())
            .map(Box::new);
        let mut client = Client {
            socket,
            tls: session,
            dialogue: Dialogue::default(),
            output: GREETING.to_vec(),
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if poll
            .registry()
            .register(&mut client.socket, Token(entry.key()), interest)
            .is_ok()
            && client.flush().is_ok()
        {
            entry.insert(client);
        }
    }
}

impl Client {
    /// Reads all there is and answers it. False: the connection is over.
    fn turn(&mut self, closed: bool, buffers: &mut Buffers) -> io::Result<bool> {
        let Buffers { wire, plain } = buffers;
        loop {
            let count = match self.socket.read(wire) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let more = self.receive(wire.get(..count).unwrap_or_default(), plain)?;
            if !more {
                self.flush()?;
                return Ok(false);
            }
            // A short read has emptied the socket.
            if count < wire.len() && !closed {
                break;
            }
        }
        self.flush()?;
        Ok(true)
    }

    fn receive(&mut self, mut wire: &[u8], plain: &mut [u8]) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(self.dialogue.receive(wire, &mut self.output));
        };
        while !wire.is_empty() {
            tls.read_tls(&mut wire)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(plain) {
                    Ok(0) => return Ok(false),
                    Ok(count) => {
                        if !self
                            .dialogue
                            .receive(plain.get(..count).unwrap_or_default(), &mut self.output)
                        {
                            return Ok(false);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            if !self.output.is_empty() && !tls.is_handshaking() {
                let taken = tls.writer().write(&self.output)?;
                self.output.drain(..taken);
            }
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    result => result?,
                };
            }
            return Ok(());
        }
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(count) if count == self.output.len() => self.output.clear(),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_test_support::meaning;

    use super::*;

    #[test]
    fn the_end_of_data_is_found_in_every_small_body_at_every_split() {
        let alphabet = *b".\r\nx";
        for length in 0..8u32 {
            for number in 0..4usize.pow(length) {
                let body: Vec<u8> = (0..length)
                    .map(|i| alphabet[number / 4usize.pow(i) % 4])
                    .collect();
                let meaning = meaning(&body, false);
                for split in 0..=body.len() {
                    let (first, second) = body.split_at(split);
                    let got = match end_of_data(2, first) {
                        Ok(end) => Some(end),
                        Err(matched) => end_of_data(matched, second).ok().map(|end| split + end),
                    };
                    assert_eq!(
                        got,
                        meaning.ended.then(|| body.len() - meaning.rest.len()),
                        "{body:?} at {split}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_dialogue_gets_the_same_replies_however_it_is_cut() {
        let input = b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\n\
            BDAT 7\r\n\r\n.\r\nxxBDAT 0 LAST\r\nNOOP\r\nDATA\r\n..\r\nx\r\n.\r\nQUIT\r\n";
        let expected = [EHLO, OK, OK, GO_ON, OK, OK, OK, OK, OK, OK, GO_ON, OK, BYE].concat();
        for step in 1..=input.len() {
            let (mut dialogue, mut output) = (Dialogue::default(), Vec::new());
            let open = input
                .chunks(step)
                .map(|piece| dialogue.receive(piece, &mut output))
                .last();
            assert_eq!(
                (open, output.as_slice()),
                (Some(false), expected.as_slice()),
                "in steps of {step}"
            );
        }
    }
}
