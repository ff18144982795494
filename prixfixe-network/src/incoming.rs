//! What becomes of an accepted socket, and of an accept that fails.

use std::io::{self, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::completion::CompletionGuard;
use crate::connection::Served;
use crate::control::{Control, Permit};
use crate::listener::{OwnFile, Succession};
use crate::{Address, Connection, Peer, Service, canonical, sys};

/// Connections that are accepted in one go; then it is the turn of those that are there.
pub(crate) const ACCEPTS_A_TURN: usize = 64;

/// How long to wait when accepting fails for want of something, at first and at most.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The shortest time between two lines that say that accepting fails.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Octets of a refused connection that are read before it is closed.
const REFUSED_OCTETS: usize = 64 * 1024;

/// Receives the connections of one listening socket.
#[derive(Debug)]
pub(crate) struct Incoming<S> {
    service: Arc<S>,
    control: Arc<Control>,
    guard: CompletionGuard,
    listener: usize,
    address: Address,
    succession: Succession,
    /// Held until nothing is accepted any more.
    _file: OwnFile,
    backoff: Option<Duration>,
    /// When it was last told that nothing can be accepted.
    told: Option<Instant>,
    /// The log says so, and not yet that it is over.
    is_told: bool,
}

impl<S: Service> Incoming<S> {
    pub(crate) fn new(
        service: Arc<S>,
        control: Arc<Control>,
        guard: CompletionGuard,
        listener: usize,
        address: Address,
        succession: Succession,
        file: OwnFile,
    ) -> Self {
        Self {
            service,
            control,
            guard,
            listener,
            address,
            succession,
            _file: file,
            backoff: None,
            told: None,
            is_told: false,
        }
    }

    /// Begins no connection any more on a socket beside which others listen.
    pub(crate) fn leave<'s, T>(&self, socket: &'s T)
    where
        SockRef<'s>: From<&'s T>,
    {
        if self.succession != Succession::Beside {
            return;
        }
        if let Err(error) = sys::ignore_handshakes(&SockRef::from(socket)) {
            tracing::warn!(listener = %self.address, %error, "connections that begin while the listener closes may fail");
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn succession(&self) -> Succession {
        self.succession
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// A socket was accepted. `None`: it was turned away, and is to be dropped.
    pub(crate) fn admit<'s, T>(
        &mut self,
        socket: &'s T,
        peer: Peer,
        now: Instant,
    ) -> Option<Served<S::Session>>
    where
        SockRef<'s>: From<&'s T>,
    {
        if self.backoff.take().is_some() && mem::take(&mut self.is_told) {
            tracing::info!(listener = %self.address, "accepting connections again");
        }
        let socket = SockRef::from(socket);
        if !sys::NODELAY_IS_INHERITED && peer.ip().is_some() {
            // Slower without, but right.
            let _ = socket.set_tcp_nodelay(true);
        }
        let connection = Connection {
            peer: match peer {
                Peer::Ip(address) => Peer::Ip(canonical(address)),
                unix @ Peer::Unix(_) => unix,
            },
            local: self.local_address(&socket),
            listener: self.listener,
        };
        catch_unwind(AssertUnwindSafe(|| {
            receive(&self.service, &self.control, &self.guard, &connection, now)
                .map_err(|reply| turn_away(&socket, reply))
                .ok()
        }))
        .unwrap_or_else(|_| {
            tracing::error!(peer = %connection.peer, "making a session panicked; the connection is dropped");
            None
        })
    }

    /// An accept failed. `None`: it was the fault of that one connection, go on. Otherwise nothing
    /// can be accepted at the moment (descriptors or memory are short, most likely): try again
    /// after this time. Connections wait in the backlog.
    pub(crate) fn failed(&mut self, error: &io::Error, now: Instant) -> Option<Duration> {
        if is_transient(error) {
            return None;
        }
        self.tell_failure(error, now);
        let wait = match self.backoff {
            Some(last) => (last * 2).min(BACKOFF_MAX),
            None => BACKOFF,
        };
        self.backoff = Some(wait);
        Some(wait)
    }

    /// Once an outage. Peers that come and go where descriptors are short cause one outage after
    /// the other: of those one a minute is told.
    fn tell_failure(&mut self, error: &io::Error, now: Instant) {
        let is_due = |told| now.saturating_duration_since(told) >= TELL_INTERVAL;
        if !self.is_told && self.told.is_none_or(is_due) {
            self.told = Some(now);
            self.is_told = true;
            tracing::warn!(listener = %self.address, %error, "cannot accept connections for now; they wait");
        }
    }

    /// It is the listener's, at no cost, unless that one listens on all addresses.
    fn local_address(&self, socket: &SockRef<'_>) -> Option<SocketAddr> {
        let own = self.address.ip()?;
        if !own.ip().is_unspecified() {
            return Some(own);
        }
        let asked = socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket());
        Some(asked.map_or(own, canonical))
    }
}

/// Makes the session of a connection that was accepted. An error: it is one too many, and is told
/// these bytes.
pub(crate) fn receive<'s, S: Service>(
    service: &'s Arc<S>,
    control: &Arc<Control>,
    guard: &CompletionGuard,
    connection: &Connection,
    now: Instant,
) -> Result<Served<S::Session>, &'s [u8]> {
    let Some(permit) = Permit::acquire(control) else {
        return Err(service.over_limit(now, connection));
    };
    let session = service.session(now, connection);
    Ok(Served::new(
        session,
        Some(connection.peer),
        permit,
        Some(guard.clone()),
    ))
}

/// Best effort, without waiting. What has arrived already is read: closing with bytes unread is a
/// reset, which may destroy the reply.
fn turn_away(socket: &SockRef<'_>, reply: &[u8]) {
    let _ = socket.send(reply);
    let _ = socket.shutdown(Shutdown::Write);
    let mut scrap = [0; 4096];
    let mut octets = 0;
    while octets < REFUSED_OCTETS {
        match (&**socket).read(&mut scrap) {
            Ok(0) | Err(_) => break,
            Ok(count) => octets += count,
        }
    }
}

/// Errors of the connection that was to be accepted, which accept(2) passes on.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::PermissionDenied
            | Kind::TimedOut
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
    )
}
