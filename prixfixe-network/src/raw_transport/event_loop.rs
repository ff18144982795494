//! Waits for what happens, and gives each connection its turn.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::acceptor::Acceptor;
use super::connections::Connections;
use super::woken::{LoopWaker, Woken};
use crate::control::{Control, LEAVING, Stage, StageWatch};
use crate::heartbeat::Responder;
use crate::listen_socket::ListenSocket;
use crate::server::Start;
use crate::{ServeError, Service};

/// Reports that are fetched at once.
const EVENTS: usize = 1024;

/// Token of the loop's waker. Listeners come next, then connections.
const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;

pub(super) struct EventLoop<S: Service> {
    poll: Poll,
    woken: Arc<Woken>,
    connections: Connections<S::Session>,
    first_connection: usize,
    phase: Phase<S>,
    control: Arc<Control>,
    responder: Responder,
    /// The latest reading of the clock.
    now: Instant,
    _watch: StageWatch,
}

/// Where the loop stands on its way to its end.
enum Phase<S: Service> {
    Accepting {
        acceptors: Vec<Acceptor<S>>,
        /// When to stop: set once others are to have what begins from then on.
        until: Option<Instant>,
    },
    Draining {
        until: Option<Instant>,
    },
}

impl<S: Service> EventLoop<S> {
    pub(super) fn new(
        start: &Start<'_, S>,
        sockets: Vec<ListenSocket>,
    ) -> Result<Self, ServeError> {
        let poll = Poll::new().map_err(ServeError::EventLoop)?;
        let woken = Arc::new(Woken::new(poll.registry(), WAKER).map_err(ServeError::EventLoop)?);
        let first_connection = FIRST_LISTENER + sockets.len();
        let acceptors = start
            .incoming(&start.guard)
            .zip(sockets)
            .zip(FIRST_LISTENER..)
            .map(|((incoming, socket), token)| {
                Acceptor::new(socket, incoming, poll.registry(), Token(token))
            })
            .collect::<Result<_, _>>()?;
        let watch = StageWatch::new(
            &start.control,
            Waker::from(Arc::new(LoopWaker(Arc::clone(&woken)))),
        );
        Ok(Self {
            poll,
            connections: Connections::new(Arc::clone(&woken)),
            woken,
            first_connection,
            phase: Phase::Accepting {
                acceptors,
                until: None,
            },
            control: Arc::clone(&start.control),
            responder: start.control.responder(),
            now: Instant::now(),
            _watch: watch,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while self.goes_on() {
            // After the woken were taken, and before the loop may sleep: no question is missed.
            self.control.beat(&mut self.responder);
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "the poller failed; an event loop ends with all its connections");
                break;
            }
            self.dispatch(&events);
            self.accept();
            self.connections.schedule_woken();
            self.connections.schedule_due(self.now);
            let first = self.first_connection;
            self.connections
                .take_turns(self.poll.registry(), |key| Token(first + key));
        }
        self.connections.abort();
    }

    fn goes_on(&mut self) -> bool {
        match (self.control.stage(), &mut self.phase) {
            (Stage::Serving, _) => return true,
            (Stage::Leaving, Phase::Accepting { acceptors, until }) => {
                if until.is_none() {
                    acceptors.iter().for_each(Acceptor::leave);
                }
                // From now, not from when the poller returned: handshakes have all of their time.
                let until = *until.get_or_insert_with(|| Instant::now() + LEAVING);
                if until <= self.now {
                    self.control.advance(Stage::Draining);
                    return self.goes_on();
                }
                return true;
            }
            (Stage::Draining, Phase::Accepting { acceptors, .. }) => {
                for acceptor in acceptors.drain(..) {
                    acceptor.close(self.now, &mut self.connections, self.poll.registry());
                }
                let until = self.now.checked_add(self.control.drain_timeout());
                self.phase = Phase::Draining { until };
                self.connections.schedule_all();
            }
            (Stage::Draining, Phase::Draining { until: Some(until) }) if *until <= self.now => {
                self.control.advance(Stage::Aborted);
                return false;
            }
            (Stage::Leaving | Stage::Draining, Phase::Draining { .. }) => {}
            (Stage::Aborted, _) => return false,
        }
        !self.connections.is_empty()
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let polled = self.poll.poll(events, self.patience());
        self.now = Instant::now();
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// How long there is nothing to do if nothing happens.
    fn patience(&self) -> Option<Duration> {
        if self.connections.has_runnable() || !self.woken.may_sleep() {
            return Some(Duration::ZERO);
        }
        let phase = match &self.phase {
            Phase::Accepting { acceptors, until } => acceptors
                .iter()
                .filter_map(|acceptor| acceptor.resumes(self.now))
                .chain(*until)
                .min(),
            Phase::Draining { until } => *until,
        };
        let next = [phase, self.connections.next_deadline()]
            .into_iter()
            .flatten()
            .min();
        next.map(|at| at.saturating_duration_since(self.now))
    }

    fn dispatch(&mut self, events: &Events) {
        for event in events {
            let Token(token) = event.token();
            if let Some(key) = token.checked_sub(self.first_connection) {
                self.connections.ready(key, event);
            } else if let Phase::Accepting { acceptors, .. } = &mut self.phase
                && let Some(index) = token.checked_sub(FIRST_LISTENER)
                && let Some(acceptor) = acceptors.get_mut(index)
            {
                acceptor.ready();
            }
        }
    }

    fn accept(&mut self) {
        if let Phase::Accepting { acceptors, .. } = &mut self.phase {
            for acceptor in acceptors {
                acceptor.accept(self.now, &mut self.connections);
            }
        }
    }
}
