//! The world: one clock, one queue of what happens, and everybody in one thread.

mod connection;
mod queue;
mod server;

use std::task::Waker;

use fastrand::Rng;
use prixfixe_network::Service;
use prixfixe_server::inspect::Inspect;

use self::connection::Connection;
use self::queue::{Event, Queue};
use self::server::Server;
use crate::client::{self, Client, View};
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::network::{Link, Notice, Way};
use crate::runtime::{Key, MICROSECOND, MILLISECOND, Nanos, Runtime, SECOND, Task, Tasks};
use crate::scenario::{Sabotage, Scenario, Stop};
use crate::tls::Certificates;
use crate::trace::Trace;
use crate::violation::{Invariant, Violation};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Attempts to send one.
    pub transmissions: usize,
    pub connections: usize,
    pub events: u64,
    pub lasted: Nanos,
    pub most_sessions: usize,
    pub violation: Option<Violation>,
    pub trace: Vec<String>,
    pub digest: u64,
}

/// Longer than anything takes: a hundred days.
const END_OF_TIME: Nanos = 100 * 24 * 3600 * SECOND;

/// Events of one run. More are an endless loop.
const MAX_EVENTS: u64 = 300_000_000;

pub(crate) struct World<'c, T: Service, M> {
    scenario: &'c Scenario,
    certificates: &'c Certificates,
    make: M,
    now: Nanos,
    queue: Queue,
    runtime: Runtime,
    tasks: Tasks,
    disk: Disk,
    ledger: Ledger,
    trace: Trace,
    rng: Rng,
    clients: Vec<Client>,
    links: Vec<Option<Box<Link>>>,
    connections: Vec<Option<Connection<T::Session>>>,
    servers: Vec<Server<T>>,
    runnable: Vec<Key>,
    busy_until: Nanos,
    dispatching: bool,
    working: bool,
    events: u64,
    most_sessions: usize,
    power_was_lost: bool,
    crashed: bool,
    stop_pending: Option<usize>,
    buffer: Vec<u8>,
    woken: Vec<Key>,
    timers: Vec<(Nanos, Waker)>,
    spawned: Vec<Task>,
}

/// A server's service, and the hands of its Maildir.
pub(crate) type Made<T> = (T, prixfixe_delivery::Hands<Disk>);

impl<'c, T, M> World<'c, T, M>
where
    T: Service<Session: Inspect>,
    M: FnMut(&Disk, &Runtime) -> Option<Made<T>>,
{
    pub(crate) fn new(
        scenario: &'c Scenario,
        certificates: &'c Certificates,
        traced: bool,
        make: M,
    ) -> Self {
        let runtime = Runtime::default();
        let plan = &scenario.disk;
        let disk = Disk::new(
            &runtime,
            plan.fsync,
            plan.short_writes,
            plan.faults.clone(),
            scenario.sabotage,
            scenario.seed ^ 0xD15C,
        );
        let clients: Vec<Client> = scenario.clients.iter().cloned().map(Client::new).collect();
        let mut world = Self {
            scenario,
            certificates,
            make,
            now: 0,
            queue: Queue::new(scenario.seed),
            tasks: Tasks::default(),
            ledger: Ledger::new(plan.fsync),
            trace: Trace::new(traced),
            rng: Rng::with_seed(scenario.seed ^ 0x0E1D),
            clients,
            links: Vec::new(),
            connections: Vec::new(),
            servers: Vec::new(),
            runnable: Vec::new(),
            busy_until: 0,
            dispatching: false,
            working: false,
            events: 0,
            most_sessions: 0,
            power_was_lost: false,
            crashed: false,
            stop_pending: None,
            buffer: vec![0; scenario.server.read_buffer],
            woken: Vec::new(),
            timers: Vec::new(),
            spawned: Vec::new(),
            runtime,
            disk,
        };
        world.start_server();
        for (number, client) in scenario.clients.iter().enumerate() {
            world.queue.push(client.arrives, Event::Connect(number));
        }
        for (number, restart) in scenario.restarts.iter().enumerate() {
            world.queue.push(restart.at, Event::Stop(number));
        }
        world
    }

    pub(crate) fn run(mut self) -> Outcome {
        while self.ledger.violations.is_empty() {
            let Some((at, event)) = self.queue.pop() else {
                break;
            };
            self.now = at.max(self.now);
            self.runtime.set_now(self.now);
            self.events += 1;
            self.trace.count(self.now);
            if self.now > END_OF_TIME || self.events > MAX_EVENTS {
                let waiting: Vec<String> = self
                    .clients
                    .iter()
                    .filter(|client| !client.done)
                    .take(3)
                    .map(Client::describe)
                    .collect();
                self.violated(
                    Invariant::Ends,
                    format!(
                        "it goes on and on after {} events: {}",
                        self.events,
                        waiting.join("; ")
                    ),
                );
                break;
            }
            self.handle(event);
            self.settle();
        }
        if self.ledger.violations.is_empty() {
            self.close();
        }
        self.disk.set_meanwhile(None);
        Outcome {
            acknowledged: self.ledger.acknowledged,
            transmissions: self.ledger.transmissions(),
            connections: self.links.len(),
            events: self.events,
            lasted: self.now,
            most_sessions: self.most_sessions,
            violation: self.ledger.violations.first().cloned(),
            digest: self.trace.digest,
            trace: self.trace.into_lines(),
        }
    }

    fn violated(&mut self, invariant: Invariant, detail: String) {
        self.ledger.violated(invariant, self.now, detail);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connect(client) => self.connect(client),
            Event::Accept(link) => self.accept(link),
            Event::Client(client) => self.client_turn(client),
            Event::Network(link, notice) => self.network(link, notice),
            Event::Deadline(connection, at) => self.deadline(connection, at),
            Event::Runnable(key) => self.make_runnable(key),
            Event::Dispatch => self.dispatch(),
            Event::Timer(waker) => waker.wake(),
            Event::Disk => self.disk_works(),
            Event::Stop(number) => self.stop(number),
            Event::DrainOver(generation) => self.drain_over(generation),
            Event::Start => self.start_server(),
        }
    }

    /// Takes up whatever the event has caused.
    fn settle(&mut self) {
        self.runtime
            .take(&mut self.woken, &mut self.timers, &mut self.spawned);
        for task in std::mem::take(&mut self.spawned) {
            let number = self.tasks.add(task, &self.runtime);
            self.make_runnable(Key::Task(number));
        }
        for (at, waker) in self.timers.drain(..) {
            self.queue.push(at, Event::Timer(waker));
        }
        let mut woken = std::mem::take(&mut self.woken);
        for key in woken.drain(..) {
            self.wake(key);
        }
        self.woken = woken;
        for event in self.disk.take_events() {
            self.ledger.disk(event, self.now);
        }
        if self.disk.is_dead()
            && let Some(number) = self.stop_pending.take()
        {
            self.crash(number);
        }
        let waiting: usize = self.servers.iter().map(Server::jobs).sum();
        if waiting > 0 && !self.working {
            self.working = true;
            self.queue
                .push(self.now + self.scenario.disk.latency.max(1), Event::Disk);
        }
    }

    fn wake(&mut self, key: Key) {
        if self.scenario.sabotage == Some(Sabotage::LosesWakes) && self.rng.u8(..) == 0 {
            return;
        }
        let delay = self.scenario.executor.delay;
        if delay > 0 && self.rng.bool() {
            let at = self.now + self.rng.u64(0..delay);
            self.queue.push(at, Event::Runnable(key));
        } else {
            self.make_runnable(key);
        }
    }

    fn make_runnable(&mut self, key: Key) {
        match key {
            Key::Connection(number) => match self.connections.get_mut(number) {
                Some(Some(connection)) if !connection.queued => connection.queued = true,
                _ => return,
            },
            Key::Task(_) => {}
        }
        self.runnable.push(key);
        self.arrange_dispatch();
    }

    fn arrange_dispatch(&mut self) {
        if !self.runnable.is_empty() && !self.dispatching {
            self.dispatching = true;
            self.queue
                .push(self.busy_until.max(self.now), Event::Dispatch);
        }
    }

    /// Gives one of the runnable its turn: the server is one thread, and a turn takes time.
    fn dispatch(&mut self) {
        self.dispatching = false;
        if self.runnable.is_empty() {
            return;
        }
        let place = if self.scenario.executor.reorder {
            self.rng.usize(0..self.runnable.len())
        } else {
            0
        };
        let key = if self.scenario.executor.reorder {
            self.runnable.swap_remove(place)
        } else {
            self.runnable.remove(0)
        };
        match key {
            Key::Connection(number) => {
                self.server_turn(number);
                let spurious = self.scenario.executor.spurious;
                if spurious > 0 && self.rng.u32(0..spurious) == 0 {
                    let at = self.now + self.rng.u64(0..10 * MILLISECOND);
                    self.queue.push(at, Event::Runnable(key));
                }
            }
            Key::Task(number) => self.tasks.poll(number),
        }
        self.busy_until = self.now + self.rng.u64(1..10) * MICROSECOND;
        self.arrange_dispatch();
    }

    /// The network has something to tell.
    fn network(&mut self, number: usize, notice: Notice) {
        let Some(Some(link)) = self.links.get_mut(number) else {
            return;
        };
        let now = self.now;
        match notice {
            Notice::Arrives(Way::ToServer) => {
                let news = link.arrive(Way::ToServer, now);
                if link.server_open {
                    if news {
                        self.make_runnable(Key::Connection(number));
                    }
                } else if link.unread(Way::ToServer) > 0 && link.client_open {
                    // Octets at a closed socket are answered by a reset.
                    let at = link.delay(now);
                    link.notices.push((at, Notice::Reset(Way::ToClient)));
                }
            }
            Notice::Arrives(Way::ToClient) => {
                let news = link.arrive(Way::ToClient, now);
                if link.client_open {
                    let client = link.client;
                    if news {
                        self.client_turn(client);
                    }
                } else if !link.vanished && link.unread(Way::ToClient) > 0 {
                    let at = link.delay(now);
                    link.notices.push((at, Notice::Reset(Way::ToServer)));
                }
            }
            Notice::Room(Way::ToServer) if link.client_open => {
                let client = link.client;
                self.client_turn(client);
            }
            Notice::Room(Way::ToClient) if link.server_open => {
                self.make_runnable(Key::Connection(number))
            }
            Notice::Room(_) => {}
            Notice::Reset(Way::ToServer) => {
                link.reset(Way::ToServer);
                if link.server_open {
                    self.make_runnable(Key::Connection(number));
                }
            }
            Notice::Reset(Way::ToClient) => {
                link.reset(Way::ToClient);
                if link.client_open {
                    let client = link.client;
                    self.client_turn(client);
                }
            }
        }
        self.collect_notices(number);
    }

    fn collect_notices(&mut self, number: usize) {
        let Some(Some(link)) = self.links.get_mut(number) else {
            return;
        };
        for (at, notice) in link.notices.drain(..) {
            self.queue.push(at, Event::Network(number, notice));
        }
        if !link.server_open && !link.client_open && link.is_quiet() {
            self.links[number] = None;
        }
    }

    fn client_turn(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(at) = client.link else { return };
        let Some(Some(link)) = self.links.get_mut(at) else {
            return;
        };
        let generation = link.generation;
        let server = &self.servers[generation];
        let mut view = View {
            now: self.now,
            draining: server.draining,
            gone: server.gone,
            over_limit: server.refused.contains(&at),
            stalled: link.stalls(),
            disk_may_fail: self.scenario.disk_may_fail(),
            link,
            ledger: &mut self.ledger,
            limits: &self.scenario.server,
            trace: &mut self.trace,
            tls: self.certificates.client(),
        };
        match client.turn(&mut view) {
            client::Next::Wait(None) => {}
            client::Next::Wait(Some(wake)) => self.queue.push(wake, Event::Client(number)),
            client::Next::Over if client.done => {}
            client::Next::Over => {
                let wake = self.now + client.patience();
                self.queue.push(wake, Event::Connect(number));
            }
        }
        self.collect_notices(at);
    }

    fn connect(&mut self, number: usize) {
        let now = self.now;
        let scenario = self.scenario;
        let client = &mut self.clients[number];
        if client.done || client.link.is_some() {
            return;
        }
        let Some(generation) = self.servers.iter().rposition(|server| server.accepting) else {
            client.not_connected();
            let wake = now + client.patience();
            self.queue.push(wake, Event::Connect(number));
            return;
        };
        let at = self.links.len();
        // Of this client's own, so that others can be taken away without changing what happens to
        // it.
        let seed = scenario.seed.wrapping_mul(1_000_003)
            ^ ((client.plan.number as u64) << 20)
            ^ u64::from(client.failures)
            ^ now;
        let mut rng = Rng::with_seed(seed);
        let stalls = scenario.network.stalls > 0 && rng.u32(0..scenario.network.stalls) == 0;
        let from = now + rng.u64(0..10 * SECOND);
        let stall = stalls.then(|| (from, from + rng.u64(0..2 * scenario.server.command_timeout)));
        let mut link = Box::new(Link::new(
            number,
            generation,
            &scenario.network,
            stall,
            seed,
        ));
        let arrives = link.delay(now);
        self.links.push(Some(link));
        self.connections.push(None);
        client.connected(at, self.certificates.client(), self.now);
        let name = client.plan.number;
        self.trace.line(now, || format!("c{name} connects"));
        self.queue.push(arrives, Event::Accept(at));
        // Whoever begins by itself does.
        self.queue.push(arrives, Event::Client(number));
    }

    fn stop(&mut self, number: usize) {
        let restart = &self.scenario.restarts[number];
        let Some(generation) = self.servers.iter().rposition(|server| server.accepting) else {
            return;
        };
        self.trace.line(self.now, || {
            format!("server {generation}: {:?}", restart.how)
        });
        match restart.how {
            Stop::Drain => self.drain(generation, restart.downtime),
            Stop::Kill(operations) | Stop::Power(operations) => {
                self.stop_pending = Some(number);
                if self.servers.iter().map(Server::jobs).sum::<usize>() == 0 {
                    self.disk.cut_power_in(0);
                    self.crash_if_idle(number);
                } else {
                    self.disk.cut_power_in(operations);
                }
            }
        }
    }

    /// Nothing is written: the crash comes at once.
    fn crash_if_idle(&mut self, number: usize) {
        self.stop_pending = None;
        self.crash(number);
    }

    /// Everything has ended: is anything left?
    fn close(&mut self) {
        if let Some(client) = self.clients.iter().find(|client| !client.done) {
            let detail = format!(
                "nothing happens any more, and a client waits: {}",
                client.describe()
            );
            return self.violated(Invariant::Ends, detail);
        }
        let left = self.connections.iter().flatten().count();
        let active: usize = self.servers.iter().map(Server::active).sum();
        if left > 0 || active > 0 {
            return self.violated(Invariant::Ends, format!("nothing happens any more, and {left} connections are there, {active} of them sessions"));
        }
        if self.tasks.alive() > 0 {
            let alive = self.tasks.alive();
            return self.violated(
                Invariant::Clean,
                format!("{alive} tasks of handlers wait for ever"),
            );
        }
        if !self.crashed && !self.scenario.disk_may_fail() && self.disk.left_over() > 0 {
            let files = self.disk.left_over();
            return self.violated(Invariant::Clean, format!("{files} files are left in tmp/"));
        }
        self.ledger.close(self.now, self.power_was_lost);
    }
}
