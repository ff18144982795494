//! What a connection goes through before its SMTP session: the header of a load balancer, the
//! limits of its client.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::tls::Tls;
use prixfixe_network::{Connection, OutputBuffer, Session};

use crate::client::Via;
use crate::clients::{OverLimit, Permit};
use crate::endpoint::Rules;
use crate::inspect::{Inspect, Usage};
use crate::observe::{NoHeader, Observation};
use crate::proxy::{HeaderError, HeaderReader, Source};
use crate::session::SmtpSession;
use crate::shared::Shared;
use crate::{Client, Peer, replies};

/// How long a header may take that is under way when the server goes away.
const LAST_HEADER: Duration = Duration::from_secs(1);

/// What a transport sees of a connection.
pub(crate) struct Gate {
    state: State,
    /// The client's, while the session lasts.
    permit: Option<Permit>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "all connections but those that have just come are sessions"
)]
enum State {
    /// A balancer has yet to say whose connection it is.
    Header(Box<Awaiting>),
    Session(Tls<SmtpSession>),
    /// The client is over a limit. What it is told, if anything.
    Refused(Box<OutputBuffer>),
}

/// A balancer's connection before its header. Nothing is ever sent on it.
struct Awaiting {
    shared: Arc<Shared>,
    rules: Rules,
    connection: Connection,
    reader: HeaderReader,
    deadline: Option<Instant>,
    /// The time of the last look at it.
    now: Instant,
    /// The server is going away.
    leaving: bool,
    /// Set when it is over. A connection that breaks is dropped without.
    end: Option<End>,
    output: OutputBuffer,
}

/// How the wait for a header ended.
enum End {
    /// With a header.
    Admitted,
    Bad(HeaderError),
    Left,
    TimedOut,
    Shutdown,
}

impl Gate {
    pub(crate) fn new(
        shared: Arc<Shared>,
        rules: &Rules,
        now: Instant,
        connection: &Connection,
    ) -> Self {
        let Connection { peer, local, .. } = *connection;
        if !rules.is_balancer(peer) {
            let client = rules.client(Client::new(peer.into(), local, Via::Direct));
            return Self::admit(shared, rules.implicit_tls, now, client);
        }
        // Without the time that `min_data_rate` grants: a header is short.
        let deadline = now.checked_add(shared.dialogue.command_timeout);
        let state = State::Header(Box::new(Awaiting {
            shared,
            rules: rules.clone(),
            connection: *connection,
            reader: HeaderReader::new(),
            deadline,
            now,
            leaving: false,
            end: None,
            output: OutputBuffer::new(),
        }));
        Self {
            state,
            permit: None,
        }
    }

    /// The session of a stream that the program serves itself. It begins in clear.
    pub(crate) fn of_own_stream(shared: Arc<Shared>, now: Instant) -> Self {
        let client = Client::new(Peer::Other, None, Via::Direct);
        Self::admit(shared, false, now, client)
    }

    fn admit(shared: Arc<Shared>, implicit_tls: bool, now: Instant, client: Client) -> Self {
        let mut permit = None;
        if let Some(address) = client.peer().ip()
            && !client.is_health_check()
            // As a balancer's: the clients of which it tells have limits.
            && !client.is_proxy()
        {
            match shared.clients.connect(now, address) {
                Ok(taken) => permit = taken,
                Err(limit) => return Self::refuse(&shared, implicit_tls, now, &client, limit),
            }
        }
        let state = State::Session(Self::session(shared, implicit_tls, now, client));
        Self { state, permit }
    }

    /// In clear the client is told. Where TLS comes first it is not worth a handshake, whose cost
    /// is what the limit is to spare.
    fn refuse(
        shared: &Shared,
        implicit_tls: bool,
        now: Instant,
        client: &Client,
        limit: OverLimit,
    ) -> Self {
        let observation = Observation::ClientLimit(limit);
        shared.observer().observe(now, client.into(), &observation);
        if let Some(connections) = shared.clients.tell_of_default(limit) {
            tracing::warn!(
                target: "prixfixe",
                peer = %client.peer(),
                connections,
                "one address has half of max-connections, since max-connections-per-client is not set; \
                 a load balancer without the PROXY protocol makes all its clients one address"
            );
        }
        let mut output = OutputBuffer::new();
        if !implicit_tls {
            replies::TOO_MANY_OF_CLIENT.encode(output.back());
        }
        Self {
            state: State::Refused(Box::new(output)),
            permit: None,
        }
    }

    fn session(
        shared: Arc<Shared>,
        implicit_tls: bool,
        now: Instant,
        client: Client,
    ) -> Tls<SmtpSession> {
        let mut session = SmtpSession::new(Arc::clone(&shared), now, client);
        match &shared.tls {
            None => Tls::clear(session),
            Some(config) if implicit_tls => {
                session.handshake_begins();
                Tls::implicit(session, config, now)
            }
            Some(config) => Tls::starttls(session, config),
        }
    }
}

impl Awaiting {
    /// The client's connection, as soon as the header is there. The rest of `bytes` is the
    /// client's.
    fn receive(&mut self, now: Instant, bytes: &[u8]) -> Option<Gate> {
        let Connection { peer, local, .. } = self.connection;
        let mut rest = bytes;
        let client = match self.reader.read(&mut rest) {
            Ok(None) => return None,
            Ok(Some(Source::Balancer)) => Client::new(peer.into(), local, Via::HealthCheck),
            // HAProxy's checks with version 1 give their own connection as the client's.
            Ok(Some(Source::Client { peer: own, .. })) if Peer::Ip(own) == peer.into() => {
                Client::new(peer.into(), local, Via::HealthCheck)
            }
            Ok(Some(Source::Client {
                peer: client_peer,
                local: client_local,
            })) => {
                let via = Via::Balancer(Box::new(peer.into()));
                Client::new(Peer::Ip(client_peer), Some(client_local), via)
            }
            Err(error) => {
                self.end = Some(End::Bad(error));
                return None;
            }
        };
        self.end = Some(End::Admitted);
        let shared = Arc::clone(&self.shared);
        let client = self.rules.client(client);
        let mut gate = Gate::admit(shared, self.rules.implicit_tls, now, client);
        if !rest.is_empty() {
            gate.receive(now, rest);
        }
        if self.leaving {
            gate.shutdown(now);
        }
        Some(gate)
    }

    /// A balancer sends its header as soon as it is connected, and has a client behind it who
    /// waits: with the header that one can be told to come back later.
    fn shutdown(&mut self, now: Instant) {
        self.leaving = true;
        let soon = now.checked_add(LAST_HEADER);
        self.deadline = match (self.deadline, soon) {
            (Some(deadline), Some(soon)) => Some(deadline.min(soon)),
            (deadline, soon) => deadline.or(soon),
        };
    }

    fn poll(&mut self, now: Instant) -> Poll<()> {
        self.now = now;
        if self.end.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.end = Some(if self.leaving {
                End::Shutdown
            } else {
                End::TimedOut
            });
        }
        match self.end {
            None => Poll::Pending,
            Some(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let end = match &self.end {
            Some(End::Admitted) => return,
            Some(End::Bad(error)) => NoHeader::Bad(error),
            Some(End::TimedOut) => NoHeader::TimedOut,
            Some(End::Shutdown) => NoHeader::Shutdown,
            None | Some(End::Left) if self.reader.is_empty() => NoHeader::Nothing,
            None | Some(End::Left) => NoHeader::CutOff,
        };
        let peer = Peer::from(self.connection.peer);
        self.shared
            .observer()
            .observe(self.now, peer.into(), &Observation::NoHeader(end));
    }
}

impl Inspect for Gate {
    fn usage(&self) -> Usage {
        match &self.state {
            State::Session(session) => session.usage(),
            State::Header(awaiting) => Usage {
                input: awaiting.reader.held(),
                ..Usage::default()
            },
            State::Refused(_) => Usage::default(),
        }
    }
}

impl Session for Gate {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        match &mut self.state {
            State::Session(session) => session.receive(now, bytes),
            State::Header(awaiting) => {
                if let Some(gate) = awaiting.receive(now, bytes) {
                    *self = gate;
                }
            }
            State::Refused(_) => {}
        }
    }

    fn receive_eof(&mut self, now: Instant) {
        match &mut self.state {
            State::Session(session) => session.receive_eof(now),
            State::Header(awaiting) => drop(awaiting.end.get_or_insert(End::Left)),
            State::Refused(_) => {}
        }
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &mut self.state {
            State::Session(session) => session.poll(now, cx),
            State::Header(awaiting) => awaiting.poll(now),
            State::Refused(_) => Poll::Ready(()),
        };
        // A client that has read its last reply and connects again is to find its permit free.
        if polled.is_ready() {
            self.permit = None;
        }
        polled
    }

    fn output(&mut self) -> &mut OutputBuffer {
        match &mut self.state {
            State::Session(session) => session.output(),
            State::Header(awaiting) => &mut awaiting.output,
            State::Refused(output) => output,
        }
    }

    fn wants_read(&self) -> bool {
        match &self.state {
            State::Session(session) => session.wants_read(),
            State::Header(awaiting) => awaiting.end.is_none(),
            State::Refused(_) => false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Session(session) => session.deadline(),
            State::Header(awaiting) => awaiting.deadline,
            State::Refused(_) => None,
        }
    }

    fn shutdown(&mut self, now: Instant) {
        match &mut self.state {
            State::Session(session) => session.shutdown(now),
            State::Header(awaiting) => awaiting.shutdown(now),
            State::Refused(_) => {}
        }
    }

    fn peer_is_done(&self) -> bool {
        match &self.state {
            State::Session(session) => session.peer_is_done(),
            // Nothing was sent that a reset could destroy. A balancer's client that came too late
            // for a server that goes away is to see an end, not a reset.
            State::Header(awaiting) => !matches!(awaiting.end, Some(End::Shutdown)),
            // It may be sending already: the reply is to outlive that.
            State::Refused(_) => false,
        }
    }

    fn is_costly(&self) -> bool {
        match &self.state {
            State::Session(session) => session.is_costly(),
            State::Header(_) | State::Refused(_) => false,
        }
    }
}
