//! One connection: a socket, TLS where there is any, and the dialogue.

mod secured;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use rustls::client::ClientConnection;

use super::socket::Socket;
use super::way::Way;
use crate::dialogue::{Dialogue, Event};
use crate::failure::{Failure, Kind, Stage};

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
    socket: Socket,
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
        let mut socket = way.connect().map_err(fail)?;
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

    /// Does what the socket is ready for, and tells `observe` what happened and when. `observe` may
    /// send and quit.
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
        // A server that refuses and closes at once resets what we go on sending; what it said may
        // be there all the same. If not, the reset is what there is to tell: the system tells it
        // once, and calls it the end of the stream then.
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
            let input = wire.get(..count).unwrap_or_default();
            let turn = match self.tls {
                Some(_) => self.receive_secured(way, input, plain, now, observe)?,
                None => self.dispatch(way, input, now, observe)?,
            };
            if turn == Turn::Done {
                return Ok(Turn::Done);
            }
            // A short read has emptied the socket; what comes later is another event. But for the
            // end of the stream, which may have been announced already.
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
        if self.phase != Phase::Talking || self.dialogue.is_drained() || octets == 0 {
            return Ok(0);
        }
        let stage = self.stage();
        let front = self.dialogue.front(octets);
        let sent = match &mut self.tls {
            Some(tls) => tls.writer().write(front),
            None => self.socket.write(front),
        };
        let sent = match sent {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(Failure::from_io(stage, &error)),
        };
        self.dialogue.advance(sent);
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
        match self.socket.check_connected() {
            Ok(()) => {}
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

    /// Lends `input` to the dialogue, and passes on what comes of it.
    fn dispatch(
        &mut self,
        way: &Way<'_>,
        mut input: &[u8],
        now: Instant,
        observe: &mut impl FnMut(&mut Dialogue, Happening, Instant),
    ) -> Result<Turn, Failure> {
        while let Some(event) = self.dialogue.next_event(now, &mut input) {
            let happening = match event {
                Event::Broken(failure) => return Err(failure),
                Event::Done => return Ok(Turn::Done),
                Event::StartTls => {
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
        while !self.dialogue.is_drained() {
            let (slices, count) = self.dialogue.slices();
            let sent = uninterrupted(|| {
                self.socket
                    .write_vectored(slices.get(..count).unwrap_or_default())
            })?;
            self.dialogue.advance(sent);
        }
        Ok(())
    }
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
