//! The server's side: its connections and their turns, its disk, and how it ends and comes back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_delivery::Hands;
use prixfixe_network::simulation::Transport;
use prixfixe_network::{Options, Service};
use prixfixe_server::inspect::Inspect;

use super::queue::Event;
use super::{Made, World};
use crate::disk::Disk;
use crate::network::{Notice, Way};
use crate::panics;
use crate::runtime::{Key, MILLISECOND, Nanos, Runtime, SECOND};
use crate::scenario::Stop;
use crate::violation::Invariant;

/// A server from its start to its end.
pub(super) struct Server<T> {
    pub(super) transport: Transport<T>,
    hands: Option<Arc<Hands<Disk>>>,
    pub(super) accepting: bool,
    pub(super) draining: bool,
    /// Its sessions were dropped where they stood.
    pub(super) gone: bool,
    /// Connections that were one too many.
    pub(super) refused: HashSet<usize>,
}

impl<T: Service> Server<T> {
    /// Jobs that wait for the disk.
    pub(super) fn jobs(&self) -> usize {
        self.hands.as_ref().map_or(0, |hands| hands.waiting())
    }

    pub(super) fn active(&self) -> usize {
        if self.gone {
            0
        } else {
            self.transport.active_connections()
        }
    }
}

/// Jobs that other workers do while one waits for the disk.
const OTHER_WORKERS: usize = 15;

impl<T, M> World<'_, T, M>
where
    T: Service<Session: Inspect>,
    M: FnMut(&Disk, &Runtime) -> Option<Made<T>>,
{
    pub(super) fn start_server(&mut self) {
        if self.servers.iter().any(|server| server.accepting) {
            return;
        }
        let Some((service, hands)) = (self.make)(&self.disk, &self.runtime) else {
            // The disk does not let it, for now.
            return self.queue.push(self.now + SECOND, Event::Start);
        };
        let limits = &self.scenario.server;
        let options = Options::default()
            .max_connections(limits.max_connections)
            .linger(Duration::from_nanos(limits.linger));
        let hands = Arc::new(hands);
        let others = Arc::clone(&hands);
        self.disk.set_meanwhile(Some(Box::new(move || {
            for _ in 0..OTHER_WORKERS {
                if !others.work() {
                    break;
                }
            }
        })));
        let generation = self.servers.len();
        self.trace
            .line(self.now, || format!("server {generation} starts"));
        self.servers.push(Server {
            transport: Transport::new(Arc::new(service), &options),
            hands: Some(hands),
            accepting: true,
            draining: false,
            gone: false,
            refused: HashSet::new(),
        });
    }

    pub(super) fn instant(&self, at: Nanos) -> Instant {
        panics::start() + Duration::from_nanos(at)
    }

    pub(super) fn disk_works(&mut self) {
        self.working = false;
        for server in 0..self.servers.len() {
            if let Some(hands) = self.servers[server].hands.clone()
                && hands.work()
            {
                break;
            }
        }
    }

    pub(super) fn drain(&mut self, generation: usize, downtime: Nanos) {
        let server = &mut self.servers[generation];
        server.accepting = false;
        server.draining = true;
        server.transport.shutdown();
        for number in 0..self.connections.len() {
            if self.connections[number]
                .as_ref()
                .is_some_and(|connection| connection.generation == generation)
            {
                self.make_runnable(Key::Connection(number));
            }
        }
        self.queue.push(
            self.now + self.scenario.server.drain_timeout,
            Event::DrainOver(generation),
        );
        self.queue.push(self.now + downtime, Event::Start);
    }

    /// Those that are left had time enough: only a transaction, a handshake or a client that does
    /// not read can be the reason.
    pub(super) fn drain_over(&mut self, generation: usize) {
        let left: Vec<usize> = (0..self.connections.len())
            .filter(|number| {
                self.connections[*number]
                    .as_ref()
                    .is_some_and(|connection| connection.generation == generation)
            })
            .collect();
        for &number in &left {
            let Some(connection) = &self.connections[number] else {
                continue;
            };
            if let Some(session) = connection.served.session() {
                let held = session.usage();
                let busy = held.under_way
                    || held.output > 0
                    || held.tls_input > 0
                    || held.tls_output > 0
                    || connection.queued;
                let link = self.links[number].as_ref();
                let idle = link.is_some_and(|link| self.clients[link.client].is_idle(number));
                if !busy && idle {
                    let client = self.client_of(number);
                    self.violated(
                        Invariant::Drains,
                        format!("c{client}: an idle session has outlived the drain"),
                    );
                }
            }
        }
        self.servers[generation].transport.abort();
        self.servers[generation].gone = true;
        for number in left {
            // What a drain does not end it drops: the turn that would say so comes at once.
            self.server_turn(number);
            if self.connections[number].is_some() {
                let client = self.client_of(number);
                self.violated(
                    Invariant::Drains,
                    format!("c{client}: a session has outlived the drain timeout"),
                );
            }
        }
        if self.servers[generation].transport.active_connections() > 0 {
            self.violated(
                Invariant::Drains,
                String::from("sessions are counted that are not there"),
            );
        }
    }

    /// The process or the machine is gone.
    pub(super) fn crash(&mut self, number: usize) {
        let restart = self.scenario.restarts[number];
        self.crashed = true;
        let power = matches!(restart.how, Stop::Power(_));
        self.trace.line(self.now, || {
            String::from(if power {
                "the power is gone"
            } else {
                "the server is killed"
            })
        });
        self.disk.set_meanwhile(None);
        for server in &mut self.servers {
            server.transport.abort();
            server.accepting = false;
            server.gone = true;
        }
        for number in 0..self.connections.len() {
            if self.connections[number].is_none() {
                continue;
            }
            if let Some(Some(link)) = self.links.get_mut(number)
                && power
            {
                // Nobody says so: the client finds out when it sends, or by its own patience.
                let at = self.now + 30 * SECOND + link.client as Nanos * MILLISECOND;
                link.notices.push((at, Notice::Reset(Way::ToClient)));
            }
            if power {
                self.connections[number] = None;
                if let Some(Some(link)) = self.links.get_mut(number) {
                    link.server_open = false;
                }
                self.collect_notices(number);
            } else {
                self.close_connection(number, true);
            }
        }
        self.tasks.kill();
        for server in &mut self.servers {
            server.hands = None;
        }
        if power {
            self.power_was_lost = true;
            let survivors = self.disk.lose_power();
            self.ledger.power_lost(&survivors, self.now);
        } else {
            self.disk.revive();
        }
        self.queue.push(self.now + restart.downtime, Event::Start);
    }
}
