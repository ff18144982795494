//! Accepts the connections of one listening socket.

use std::io;
use std::net::{self, SocketAddr};
use std::time::Instant;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::connections::Connections;
use crate::listener::Succession;
use crate::reception::{ACCEPTS_A_TURN, Reception};
use crate::{Service, StartError, listener};

#[derive(Debug)]
pub(super) struct Acceptor<S: Service> {
    socket: TcpListener,
    reception: Reception<S>,
    /// There may be connections to accept.
    ready: bool,
    /// Nothing can be accepted until then.
    paused: Option<Instant>,
}

impl<S: Service> Acceptor<S> {
    pub(super) fn new(
        socket: net::TcpListener,
        reception: Reception<S>,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, StartError> {
        let mut socket = TcpListener::from_std(socket);
        registry
            .register(&mut socket, token, Interest::READABLE)
            .map_err(|source| StartError::Listener {
                address: reception.address(),
                source,
            })?;
        Ok(Self {
            socket,
            reception,
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
                    if let Some(wait) = self.reception.failed(&error, now) {
                        self.paused = Some(now + wait);
                        return;
                    }
                }
            }
        }
    }

    /// Lets others have what has not begun yet.
    pub(super) fn leave(&self) {
        self.reception.leave(&self.socket);
    }

    /// Closes the socket, of which others may have it open; the poller would go on to report it then.
    pub(super) fn close(
        mut self,
        now: Instant,
        connections: &mut Connections<S::Session>,
        registry: &Registry,
    ) {
        // It cannot fail for a socket that is registered.
        let _ = registry.deregister(&mut self.socket);
        if self.reception.succession() != Succession::Kept {
            self.drain_backlog(now, connections);
        }
    }

    /// Takes what the kernel has accepted already: those peers take themselves for connected, and closing the
    /// listener would reset them.
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
        stream: TcpStream,
        peer: SocketAddr,
        now: Instant,
        connections: &mut Connections<S::Session>,
    ) {
        if let Some(served) = self.reception.admit(&stream, peer, now) {
            connections.add(stream, served);
        }
    }
}
