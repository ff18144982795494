//! A connection as the server has it, and its turns.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Waker};

use prixfixe_network::simulation::{Admission, Next, Served};
use prixfixe_network::{self as network, Service};
use prixfixe_server::inspect::{Inspect, Usage};

use super::queue::Event;
use super::{Made, World};
use crate::disk::Disk;
use crate::handler::ANSWERS;
use crate::network::{Notice, ServerSocket, Way};
use crate::panics;
use crate::runtime::{Key, KeyWaker, Nanos, Runtime, SECOND};
use crate::scenario::Security;
use crate::violation::Invariant;

/// A connection as the server has it.
pub(super) struct Connection<S> {
    pub(super) served: Served<S>,
    key_waker: Arc<KeyWaker>,
    waker: Waker,
    pub(super) queued: bool,
    pub(super) generation: usize,
    deadline: Option<Nanos>,
    /// The nearest event that is there for it.
    armed: Option<Nanos>,
    pub(super) tls: bool,
    moved: usize,
    /// When octets moved last.
    progress: Nanos,
    /// Turns in a row that it asked for itself and in which nothing moved.
    idle_turns: u32,
    asked_itself: bool,
}

/// More turns than this that a session asks for itself, with nothing moved, are a loop. TLS waits
/// for time to go on in this way, a few times.
const IDLE_TURNS: u32 = 64;

impl<T, M> World<'_, T, M>
where
    T: Service<Session: Inspect>,
    M: FnMut(&Disk, &Runtime) -> Option<Made<T>>,
{
    pub(super) fn accept(&mut self, number: usize) {
        let now = self.instant(self.now);
        let Some(Some(link)) = self.links.get_mut(number) else {
            return;
        };
        let server = &mut self.servers[link.generation];
        let client = &self.clients[link.client];
        if !server.accepting || server.gone {
            link.server_open = false;
            server.gone |= !server.draining;
            server.refused.insert(number);
            let at = link.delay(self.now);
            link.notices.push((at, Notice::Reset(Way::ToClient)));
            return self.collect_notices(number);
        }
        let answer = ANSWERS
            .iter()
            .position(|answer| *answer == client.plan.connect)
            .unwrap_or(0) as u8;
        let [.., high, low] = client.plan.number.to_be_bytes();
        let peer = SocketAddr::from((
            Ipv4Addr::new(10, answer, high, low),
            1024 + (number % 60_000) as u16,
        ));
        let local = SocketAddr::from(([10, 255, 0, 1], 25));
        let listener = usize::from(client.plan.security == Security::Implicit);
        let connection = network::Connection::new(peer, Some(local), listener);
        match server.transport.admit(now, &connection) {
            Admission::Served(served) => {
                let key_waker = self.runtime.waker(Key::Connection(number));
                self.connections[number] = Some(Connection {
                    served,
                    waker: Waker::from(Arc::clone(&key_waker)),
                    key_waker,
                    queued: false,
                    generation: link.generation,
                    deadline: None,
                    armed: None,
                    tls: client.plan.security != Security::Clear,
                    moved: 0,
                    progress: self.now,
                    idle_turns: 0,
                    asked_itself: false,
                });
                let active = server.transport.active_connections();
                self.most_sessions = self.most_sessions.max(active);
                let limit = self.scenario.server.max_connections;
                if active > limit {
                    self.violated(
                        Invariant::Limits,
                        format!("{active} sessions, of {limit} that are allowed"),
                    );
                }
                self.make_runnable(Key::Connection(number));
            }
            Admission::OverLimit(reply) => {
                let reply = reply.to_vec();
                let active = server.transport.active_connections();
                server.refused.insert(number);
                // A fresh socket takes a short reply whole.
                let mut rest = reply.as_slice();
                while let Some(count) = link.send(Way::ToClient, rest, self.now) {
                    rest = &rest[count..];
                    if rest.is_empty() {
                        break;
                    }
                }
                link.finish(Way::ToClient, self.now);
                link.server_open = false;
                let limit = self.scenario.server.max_connections;
                if active < limit {
                    self.violated(
                        Invariant::Limits,
                        format!("turned away with {active} sessions, of {limit} that are allowed"),
                    );
                }
            }
        }
        self.collect_notices(number);
    }

    pub(super) fn deadline(&mut self, number: usize, at: Nanos) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        if connection.armed == Some(at) {
            connection.armed = None;
        }
        match connection.deadline {
            Some(deadline) if deadline <= self.now => self.make_runnable(Key::Connection(number)),
            Some(deadline) => self.arm(number, deadline),
            None => {}
        }
    }

    fn arm(&mut self, number: usize, deadline: Nanos) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        connection.deadline = Some(deadline);
        if connection.armed.is_none_or(|armed| armed > deadline) {
            connection.armed = Some(deadline);
            self.queue.push(deadline, Event::Deadline(number, deadline));
        }
    }

    pub(super) fn server_turn(&mut self, number: usize) {
        let now = self.instant(self.now);
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        let Some(Some(link)) = self.links.get_mut(number) else {
            return;
        };
        connection.queued = false;
        connection.key_waker.reset();
        link.moved = 0;
        let mut cx = Context::from_waker(&connection.waker);
        let mut socket = ServerSocket {
            link,
            now: self.now,
        };
        let next = connection
            .served
            .turn(&mut socket, &mut self.buffer, now, &mut cx);
        let moved = link.moved;
        self.trace.count((number as u64) << 32 ^ moved as u64);
        connection.moved += moved;
        if moved > 0 {
            connection.progress = self.now;
            connection.idle_turns = 0;
        } else if connection.asked_itself {
            connection.idle_turns += 1;
        } else {
            connection.idle_turns = 0;
        }
        self.runtime
            .take(&mut self.woken, &mut self.timers, &mut self.spawned);
        connection.asked_itself =
            next == Next::Again || self.woken.contains(&Key::Connection(number));
        let spins = connection.idle_turns > IDLE_TURNS;
        let idle_for = self.now - connection.progress;
        let (tls, held) = (
            connection.tls,
            connection.served.session().map(Inspect::usage),
        );
        if let Some(panicked) = panics::take() {
            self.violated(Invariant::Panics, panicked);
        }
        if spins {
            self.violated(
                Invariant::Spins,
                format!(
                    "c{}: the session asks for one turn after the other, and does nothing",
                    self.client_of(number)
                ),
            );
        }
        if idle_for > self.longest_idle() {
            self.violated(
                Invariant::Ends,
                format!(
                    "c{}: nothing moved for {} s",
                    self.client_of(number),
                    idle_for / SECOND
                ),
            );
        }
        if let Some(held) = held {
            self.check_held(number, tls, held);
        }
        self.collect_notices(number);
        match next {
            Next::Again => self.make_runnable(Key::Connection(number)),
            Next::Wait(Some(deadline)) => {
                let deadline = deadline
                    .saturating_duration_since(panics::start())
                    .as_nanos() as Nanos;
                self.arm(number, deadline);
            }
            Next::Wait(None) => self.violated(
                Invariant::Ends,
                format!("c{}: the session has no deadline", self.client_of(number)),
            ),
            Next::Close => self.close_connection(number, true),
        }
    }

    pub(super) fn client_of(&self, number: usize) -> usize {
        let link = self.links.get(number).and_then(Option::as_ref);
        link.map_or(usize::MAX, |link| self.clients[link.client].plan.number)
    }

    /// The longest that nothing may move: a body that came fast has bought time, and then the
    /// handler has its own.
    fn longest_idle(&self) -> Nanos {
        let limits = &self.scenario.server;
        let bought = match u64::from(limits.min_data_rate) {
            0 => 0,
            rate => (limits.max_message_size + 200_000) * SECOND / rate,
        };
        limits.command_timeout
            + bought
            + limits.handler_timeout
            + limits.handshake_timeout
            + limits.linger
            + 10 * SECOND
    }

    fn check_held(&mut self, number: usize, tls: bool, held: Usage) {
        let limits = &self.scenario.server;
        // A record that was not complete comes on top of a read.
        let read = limits.read_buffer + if tls { 18 * 1024 } else { 0 };
        let handshake = if tls {
            96 * 1024 + limits.read_buffer
        } else {
            0
        };
        let bounds = [
            ("octets of input", held.input, 4096 + read),
            ("octets of output", held.output, 16 * 1024 + 512),
            ("octets of content", held.body, 64 * 1024 + read),
            ("recipients", held.recipients, limits.max_recipients),
            ("octets of records received", held.tls_input, handshake),
            (
                "octets of records to send",
                held.tls_output,
                64 * 1024 + 68 * 1024,
            ),
        ];
        for (what, is, most) in bounds {
            if is > most {
                self.violated(
                    Invariant::Memory,
                    format!(
                        "c{}: a session holds {is} {what}, of {most} at most",
                        self.client_of(number)
                    ),
                );
            }
        }
    }

    /// The server is done with a connection. `orderly`: as a process does that lives on.
    pub(super) fn close_connection(&mut self, number: usize, orderly: bool) {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::take) else {
            return;
        };
        drop(connection);
        let Some(Some(link)) = self.links.get_mut(number) else {
            return;
        };
        link.server_open = false;
        let client = link.client;
        if orderly && link.unread(Way::ToServer) > 0 && !link.is_reset(Way::ToServer) {
            // Closing with octets unread is a reset, which takes what the client has not read.
            let at = link.delay(self.now);
            link.notices.push((at, Notice::Reset(Way::ToClient)));
        } else {
            link.finish(Way::ToClient, self.now);
        }
        // Those who do not read learn it in the end, too.
        if link.client_open {
            self.queue.push(self.now + SECOND, Event::Client(client));
        }
        self.collect_notices(number);
    }
}
