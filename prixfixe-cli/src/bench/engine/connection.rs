//! One connection: a socket, TLS where there is any, and the dialogue.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::client::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::dialogue::{Dialogue, Event};
use crate::bench::failure::{Failure, Kind, Stage};
use crate::bench::tls::{self, Security};

/// Memory that all connections of a thread share.
#[derive(Debug)]
pub(super) struct Buffers {
    /// What a socket gives.
    wire: Vec<u8>,
    /// What is inside its TLS records.
    plain: Vec<u8>,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Happening {
    /// The TCP connection is there, after so long.
    Connected(Duration),
    /// The TLS connection is there, after so long.
    Secured(Duration),
    /// The greeting is there, after so long.
    Greeted(Duration),
    /// Nothing is under way.
    Ready,
    /// Something can follow the content.
    MayFollow,
    Accepted,
    Failed(Failure),
    /// QUIT was answered.
    Goodbye,
}

/// What is left after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Open,
    /// The server has closed after QUIT.
    Done,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    dialogue: Dialogue,
    phase: Phase,
    /// When the phase, or the wait for the greeting, began.
    since: Instant,
    /// Sends only when and as much as [`Connection::trickle`] says.
    slow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Securing,
    Talking,
}

/// How a connection is to be made.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) address: SocketAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) host: &'a str,
    pub(super) security: Option<&'a Security>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            wire: vec![0; 64 << 10],
            plain: vec![0; 16 << 10],
        }
    }
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(
        way: &Way<'_>,
        registry: &Registry,
        token: Token,
        dialogue: Dialogue,
        slow: bool,
    ) -> Result<Self, Failure> {
        let since = Instant::now();
        let fail = |error: io::Error| Failure::from_io(Stage::Connect, &error);
        let mut socket = connect(way).map_err(fail)?;
        registry
            .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(fail)?;
        Ok(Self {
            socket,
            tls: None,
            dialogue,
            phase: Phase::Connecting,
            since,
            slow,
        })
    }

    pub(super) fn dialogue(&mut self) -> &mut Dialogue {
        &mut self.dialogue
    }

    pub(super) fn stage(&self) -> Stage {
        match self.phase {
            Phase::Connecting => Stage::Connect,
            Phase::Securing => Stage::Tls,
            Phase::Talking => self.dialogue.stage(),
        }
    }

    /// Does what the socket is ready for, and tells `observe` what happened and when. `observe` may send and quit.
    pub(super) fn turn(
        &mut self,
        way: &Way<'_>,
        closed: bool,
        buffers: &mut Buffers,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        if self.phase == Phase::Connecting && !self.finish_connect(way, observe)? {
            return Ok(Turn::Open);
        }
        if self.drain(way, closed, buffers, observe)? == Turn::Done {
            return Ok(Turn::Done);
        }
        let Err(failure) = self.flush() else {
            return Ok(Turn::Open);
        };
        // A server that refuses and closes at once resets what we go on sending; what it said may be there all the same. If
        // not, the reset is what there is to tell: the system tells it once, and calls it the end of the stream then.
        match self.drain(way, true, buffers, observe) {
            Ok(Turn::Done) => Ok(Turn::Done),
            Err(
                said @ Failure {
                    kind: Kind::Reply(_),
                    ..
                },
            ) => Err(said),
            _ => Err(failure),
        }
    }

    /// Reads until there is no more.
    fn drain(
        &mut self,
        way: &Way<'_>,
        closed: bool,
        buffers: &mut Buffers,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        let Buffers { wire, plain } = buffers;
        loop {
            let count = match self.socket.read(wire) {
                Ok(0) => return self.end(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::from_io(self.stage(), &error)),
            };
            let now = Instant::now();
            if self.receive(
                way,
                wire.get(..count).unwrap_or_default(),
                plain,
                now,
                observe,
            )? == Turn::Done
            {
                return Ok(Turn::Done);
            }
            // A short read has emptied the socket; what comes later is another event. But for the end of the stream,
            // which may have been announced already.
            if count < wire.len() && !closed {
                break;
            }
        }
        Ok(Turn::Open)
    }

    /// Sends what can be sent, unless the client is slow on purpose.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if self.slow && self.phase == Phase::Talking {
            return self.flush_tls();
        }
        let sent = match self.tls {
            Some(_) => self.flush_secured(),
            None => self.flush_clear(),
        };
        unless_blocked(sent, self.stage())
    }

    /// Sends up to `octets` of a slow client; gives how many.
    pub(super) fn trickle(&mut self, octets: usize) -> Result<usize, Failure> {
        if self.phase != Phase::Talking || self.dialogue.output().is_empty() || octets == 0 {
            return Ok(0);
        }
        let stage = self.stage();
        let output = self.dialogue.output();
        let sent = match &mut self.tls {
            Some(tls) => tls.writer().write(output.front(octets)),
            None => self.socket.write(output.front(octets)),
        };
        let sent = match sent {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(Failure::from_io(stage, &error)),
        };
        output.advance(sent);
        self.flush_tls()?;
        Ok(sent)
    }

    fn finish_connect(
        &mut self,
        way: &Way<'_>,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<bool, Failure> {
        let fail = |error: io::Error| Failure::from_io(Stage::Connect, &error);
        if let Some(error) = self.socket.take_error().map_err(fail)? {
            return Err(fail(error));
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            // Not yet: an event of the time before.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(fail(error)),
        }
        let now = Instant::now();
        observe(
            &mut self.dialogue,
            Happening::Connected(now - self.since),
            now,
        );
        self.since = now;
        self.phase = Phase::Talking;
        if let Some(security) = way.security.filter(|security| security.implicit) {
            self.begin_tls(security, way.host)?;
        }
        Ok(true)
    }

    fn begin_tls(&mut self, security: &Security, host: &str) -> Result<(), Failure> {
        self.tls = Some(security.connection(host)?);
        self.phase = Phase::Securing;
        self.since = Instant::now();
        self.flush()
    }

    fn receive(
        &mut self,
        way: &Way<'_>,
        mut wire: &[u8],
        plain: &mut [u8],
        now: Instant,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        if self.tls.is_none() {
            return self.dispatch(way, wire, now, observe);
        }
        while !wire.is_empty() {
            let Some(tls) = &mut self.tls else { break };
            let fail =
                |error: io::Error| Failure::with_detail(Stage::Tls, Kind::Tls, error.to_string());
            if tls.read_tls(&mut wire).map_err(fail)? == 0 {
                break;
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the server why; that it arrives is not worth waiting for.
                let _ = tls.write_tls(&mut self.socket);
                return Err(tls::failure(&error));
            }
            if self.phase == Phase::Securing && !tls.is_handshaking() {
                self.phase = Phase::Talking;
                observe(
                    &mut self.dialogue,
                    Happening::Secured(now - self.since),
                    now,
                );
                self.since = now;
                if way.security.is_some_and(|security| !security.implicit) {
                    self.dialogue.tls_established();
                }
            }
            if self.dispatch_plain(way, plain, now, observe)? == Turn::Done {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Open)
    }

    fn dispatch_plain(
        &mut self,
        way: &Way<'_>,
        plain: &mut [u8],
        now: Instant,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        while let Some(tls) = &mut self.tls {
            let count = match tls.reader().read(plain) {
                Ok(0) => return self.end(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::from_io(Stage::Tls, &error)),
            };
            if self.dispatch(way, plain.get(..count).unwrap_or_default(), now, observe)?
                == Turn::Done
            {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Open)
    }

    /// Lends `input` to the dialogue, and passes on what comes of it.
    fn dispatch(
        &mut self,
        way: &Way<'_>,
        mut input: &[u8],
        now: Instant,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        while let Some(event) = self.dialogue.next_event(&mut input) {
            let happening = match event {
                Event::Broken(failure) => return Err(failure),
                Event::Done => return Ok(Turn::Done),
                Event::StartTls => {
                    // RFC 3207 section 6: what came in clear behind the 220 may be an attacker's.
                    if !input.is_empty() {
                        return Err(Failure::with_detail(
                            Stage::StartTls,
                            Kind::Garbage,
                            "clear text after the 220",
                        ));
                    }
                    if let Some(security) = way.security {
                        self.begin_tls(security, way.host)?;
                    }
                    continue;
                }
                Event::Greeted => Happening::Greeted(now - self.since),
                Event::Ready => Happening::Ready,
                Event::MayFollow => Happening::MayFollow,
                Event::Accepted => Happening::Accepted,
                Event::Failed(failure) => Happening::Failed(failure),
                Event::Goodbye => Happening::Goodbye,
            };
            observe(&mut self.dialogue, happening, now);
        }
        Ok(Turn::Open)
    }

    /// The server will send no more.
    fn end(&mut self) -> Result<Turn, Failure> {
        if self.phase == Phase::Securing {
            return Err(Failure::new(Stage::Tls, Kind::Closed));
        }
        match self.dialogue.receive_eof() {
            Event::Broken(failure) => Err(failure),
            _ => Ok(Turn::Done),
        }
    }

    fn flush_clear(&mut self) -> io::Result<()> {
        while !self.dialogue.output().is_empty() {
            let (slices, count) = self.dialogue.output().slices();
            let sent = uninterrupted(|| {
                self.socket
                    .write_vectored(slices.get(..count).unwrap_or_default())
            })?;
            self.dialogue.output().advance(sent);
        }
        Ok(())
    }

    fn flush_secured(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        loop {
            while !tls.is_handshaking() && !self.dialogue.output().is_empty() {
                let (slices, count) = self.dialogue.output().slices();
                // One call for all pieces: each would be a record of its own otherwise.
                let taken = tls
                    .writer()
                    .write_vectored(slices.get(..count).unwrap_or_default())?;
                if taken == 0 {
                    break;
                }
                self.dialogue.output().advance(taken);
            }
            if !tls.wants_write() {
                return Ok(());
            }
            while tls.wants_write() {
                uninterrupted(|| tls.write_tls(&mut self.socket))?;
            }
        }
    }

    /// Sends the records that are there, and makes no more.
    fn flush_tls(&mut self) -> Result<(), Failure> {
        let stage = self.stage();
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while tls.wants_write() {
            match uninterrupted(|| tls.write_tls(&mut self.socket)) {
                Ok(_) => {}
                Err(error) => return unless_blocked(Err(error), stage),
            }
        }
        Ok(())
    }
}

fn connect(way: &Way<'_>) -> io::Result<TcpStream> {
    let Some(source) = way.source else {
        let socket = TcpStream::connect(way.address)?;
        socket.set_nodelay(true)?;
        return Ok(socket);
    };
    let socket = Socket::new(
        Domain::for_address(way.address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&way.address.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn is_in_progress(error: &io::Error) -> bool {
    // EINPROGRESS, on Linux and on the BSDs; std has no stable name for it.
    error.kind() == io::ErrorKind::WouldBlock || matches!(error.raw_os_error(), Some(115 | 36))
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A socket that is full is no failure: the next event says when it is not.
fn unless_blocked(result: io::Result<()>, stage: Stage) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(Failure::from_io(stage, &error)),
        Ok(()) => Ok(()),
    }
}
