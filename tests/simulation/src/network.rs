//! Connections over a simulated network: two directions, each with a delay, a capacity and ways to
//! cut what is sent.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use fastrand::Rng;
use prixfixe_network::simulation::Socket;

use crate::runtime::{MICROSECOND, Nanos};
use crate::scenario::Network;

/// Which way octets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What the network asks the world to do later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something arrives.
    Arrives(Way),
    /// There is room again for who sends this way.
    Room(Way),
    /// The connection is reset for who receives this way.
    Reset(Way),
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<(Nanos, Vec<u8>)>,
    flying_octets: usize,
    arrived: Vec<u8>,
    taken: usize,
    last_arrival: Nanos,
    /// When the end of the stream arrives.
    fin: Option<Nanos>,
    fin_seen: bool,
    /// An arrival is announced already.
    announced: bool,
    writer_waits: bool,
    reset: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    pub client: usize,
    pub generation: usize,
    pub server_open: bool,
    pub client_open: bool,
    /// The client is gone without a word: nothing answers for it.
    pub vanished: bool,
    to_server: Pipe,
    to_client: Pipe,
    network: Network,
    /// No packet gets through from the first to the second time.
    stall: Option<(Nanos, Nanos)>,
    rng: Rng,
    pub notices: Vec<(Nanos, Notice)>,
    /// Octets that the server has moved.
    pub moved: usize,
}

impl Link {
    pub fn new(
        client: usize,
        generation: usize,
        network: &Network,
        stall: Option<(Nanos, Nanos)>,
        seed: u64,
    ) -> Self {
        Self {
            client,
            generation,
            server_open: true,
            client_open: true,
            vanished: false,
            to_server: Pipe::default(),
            to_client: Pipe::default(),
            network: network.clone(),
            stall,
            rng: Rng::with_seed(seed),
            notices: Vec::new(),
            moved: 0,
        }
    }

    fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }

    /// It stands still for a while, some time.
    pub fn stalls(&self) -> bool {
        self.stall.is_some()
    }

    /// When a packet that leaves now arrives.
    pub fn delay(&mut self, now: Nanos) -> Nanos {
        let jitter = self.network.jitter;
        let at = now
            + self.network.latency
            + if jitter > 0 {
                self.rng.u64(0..jitter)
            } else {
                0
            };
        match self.stall {
            Some((from, until)) if at >= from && at < until => until,
            _ => at,
        }
    }

    /// Sends what there is room for. `None`: there is none, and a notice follows when there is.
    pub fn send(&mut self, way: Way, bytes: &[u8], now: Nanos) -> Option<usize> {
        let capacity = self.network.capacity;
        let pipe = self.pipe(way);
        let held = pipe.flying_octets + pipe.arrived.len() - pipe.taken;
        let room = capacity.saturating_sub(held);
        if room == 0 {
            pipe.writer_waits = true;
            return None;
        }
        let mut count = bytes.len().min(room);
        if self.network.splits && count > 1 && self.rng.u8(..) < 16 {
            count = self.rng.usize(1..=count);
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let piece = if self.network.splits && rest.len() > 1 && self.rng.u8(..) < 64 {
                self.rng.usize(1..=rest.len().min(2000))
            } else {
                rest.len()
            };
            let at = self.delay(now);
            let pipe = self.pipe(way);
            let at = at.max(pipe.last_arrival);
            pipe.last_arrival = at;
            pipe.flying.push_back((at, rest[..piece].to_vec()));
            pipe.flying_octets += piece;
            rest = &rest[piece..];
        }
        self.announce(way);
        Some(count)
    }

    /// Sends the end of the stream.
    pub fn finish(&mut self, way: Way, now: Nanos) {
        let at = self.delay(now);
        let pipe = self.pipe(way);
        if pipe.fin.is_none() {
            let at = at.max(pipe.last_arrival);
            pipe.last_arrival = at;
            pipe.fin = Some(at);
            self.announce(way);
        }
    }

    fn announce(&mut self, way: Way) {
        let pipe = self.pipe(way);
        if pipe.announced {
            return;
        }
        let next = pipe
            .flying
            .front()
            .map(|(at, _)| *at)
            .or(pipe.fin.filter(|_| !pipe.fin_seen));
        if let Some(at) = next {
            pipe.announced = true;
            self.notices.push((at, Notice::Arrives(way)));
        }
    }

    /// Takes in what has arrived. True: there is something new.
    pub fn arrive(&mut self, way: Way, now: Nanos) -> bool {
        let pipe = self.pipe(way);
        pipe.announced = false;
        let mut news = false;
        while let Some((at, _)) = pipe.flying.front() {
            if *at > now {
                break;
            }
            if let Some((_, bytes)) = pipe.flying.pop_front() {
                pipe.flying_octets -= bytes.len();
                if pipe.taken == pipe.arrived.len() {
                    pipe.arrived.clear();
                    pipe.taken = 0;
                }
                pipe.arrived.extend_from_slice(&bytes);
                news = true;
            }
        }
        if pipe.flying.is_empty() && !pipe.fin_seen && pipe.fin.is_some_and(|at| at <= now) {
            pipe.fin_seen = true;
            news = true;
        }
        self.announce(way);
        news
    }

    /// Who receives this way learns that the connection is reset.
    pub fn reset(&mut self, way: Way) {
        let pipe = self.pipe(way);
        pipe.reset = true;
        pipe.arrived.clear();
        pipe.taken = 0;
        pipe.flying.clear();
        pipe.flying_octets = 0;
    }

    pub fn is_reset(&self, way: Way) -> bool {
        match way {
            Way::ToServer => self.to_server.reset,
            Way::ToClient => self.to_client.reset,
        }
    }

    /// Octets that have arrived and were not read.
    pub fn unread(&self, way: Way) -> usize {
        let pipe = match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        };
        pipe.arrived.len() - pipe.taken
    }

    /// Nothing arrived or is on its way.
    pub fn is_quiet(&self) -> bool {
        self.to_server.flying.is_empty() && self.to_client.flying.is_empty()
    }

    /// Reads some. `Ok(0)` at the end of the stream.
    pub fn receive(&mut self, way: Way, buffer: &mut [u8], now: Nanos) -> io::Result<usize> {
        let splits = self.network.splits && self.rng.u8(..) < 32;
        let cut = if splits {
            self.rng.usize(1..=64)
        } else {
            usize::MAX
        };
        let latency = self.network.latency;
        let pipe = self.pipe(way);
        if pipe.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let there = pipe.arrived.len() - pipe.taken;
        if there == 0 {
            if pipe.fin_seen {
                return Ok(0);
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = there.min(buffer.len()).min(cut);
        buffer[..count].copy_from_slice(&pipe.arrived[pipe.taken..pipe.taken + count]);
        pipe.taken += count;
        if pipe.taken == pipe.arrived.len() {
            pipe.arrived.clear();
            pipe.taken = 0;
        }
        if std::mem::take(&mut pipe.writer_waits) {
            self.notices
                .push((now + latency + MICROSECOND, Notice::Room(way)));
        }
        Ok(count)
    }
}

/// The server's end.
pub struct ServerSocket<'l> {
    pub link: &'l mut Link,
    pub now: Nanos,
}

impl Read for ServerSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.link.receive(Way::ToServer, buffer, self.now)?;
        // The end of the stream is progress, too.
        self.link.moved += count.max(1);
        Ok(count)
    }
}

impl Write for ServerSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.link.is_reset(Way::ToServer) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = self
            .link
            .send(Way::ToClient, bytes, self.now)
            .ok_or(io::ErrorKind::WouldBlock)?;
        self.link.moved += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for ServerSocket<'_> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        if self.link.is_reset(Way::ToServer) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.link.finish(Way::ToClient, self.now);
        Ok(())
    }
}
