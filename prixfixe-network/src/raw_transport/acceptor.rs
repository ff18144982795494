//! Accepts the connections of one listening socket.

use std::io;
use std::time::Instant;

use mio::{Interest, Registry, Token};

use super::connections::Connections;
use super::stream::{Listening, Stream};
use crate::incoming::{ACCEPTS_A_TURN, Incoming};
use crate::listen_socket::ListenSocket;
use crate::listener::Succession;
use crate::{Peer, ServeError, Service, listener};

#[derive(Debug)]
pub(super) struct Acceptor<S: Service> {
    socket: Listening,
    incoming: Incoming<S>,
    /// There may be connections to accept.
    ready: bool,
    /// Nothing can be accepted until then.
    paused: Option<Instant>,
}

impl<S: Service> Acceptor<S> {
    pub(super) fn new(
        socket: ListenSocket,
        incoming: Incoming<S>,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, ServeError> {
        let mut socket = Listening::new(socket);
        registry
            .register(&mut socket, token, Interest::READABLE)
            .map_err(|source| ServeError::Listener {
                address: incoming.address().clone(),
                source,
            })?;
        Ok(Self {
            socket,
            incoming,
            ready: false,
            paused: None,
        })
    }

    pub(super) fn ready(&mut self) {
        self.ready = true;
    }

    /// When to accept again: at once, or at the end of a pause. `None`: when the poller reports it.
    pub(super) fn resumes(&self, now: Instant) -> Option<Instant> {
        self.ready.then(|| self.paused.unwrap_or(now))
    }

    /// Takes what there is, within bounds.
    pub(super) fn accept(&mut self, now: Instant, connections: &mut Connections<S::Session>) {
        if self.paused.is_some_and(|until| until > now) {
            return;
        }
        self.paused = None;
        for _ in 0..ACCEPTS_A_TURN {
            if !self.ready {
                return;
            }
            match self.socket.accept() {
                Ok((stream, peer)) => self.receive(stream, peer, now, connections),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) => {
                    if let Some(wait) = self.incoming.failed(&error, now) {
                        self.paused = Some(now + wait);
                        return;
                    }
                }
            }
        }
    }

    /// Lets others have what has not begun yet.
    pub(super) fn leave(&self) {
        // Only a port is shared with others.
        if let Listening::Tcp(socket) = &self.socket {
            self.incoming.leave(socket);
        }
    }

    /// Closes the socket, of which others may have it open; the poller would go on to report it
    /// then.
    pub(super) fn close(
        mut self,
        now: Instant,
        connections: &mut Connections<S::Session>,
        registry: &Registry,
    ) {
        // It cannot fail for a socket that is registered.
        let _ = registry.deregister(&mut self.socket);
        if self.incoming.succession() != Succession::Kept {
            self.drain_backlog(now, connections);
        }
    }

    /// Takes what the kernel has accepted already: those peers take themselves for connected, and
    /// closing the listener would reset them.
    fn drain_backlog(&mut self, now: Instant, connections: &mut Connections<S::Session>) {
        for _ in 0..listener::BACKLOG {
            let Ok((stream, peer)) = self.socket.accept() else {
                break;
            };
            self.receive(stream, peer, now, connections);
        }
    }

    fn receive(
        &mut self,
        stream: Stream,
        peer: Peer,
        now: Instant,
        connections: &mut Connections<S::Session>,
    ) {
        let served = match &stream {
            Stream::Tcp(socket) => self.incoming.admit(socket, peer, now),
            #[cfg(unix)]
            Stream::Unix(socket) => self.incoming.admit(socket, peer, now),
        };
        if let Some(served) = served {
            connections.add(stream, served);
        }
    }
}
