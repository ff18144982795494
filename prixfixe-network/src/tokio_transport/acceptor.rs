//! Accepts connections and gives each a task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

use super::connection;
use super::listening::{Accepted, Listening, accept_now};
use crate::control::{LEAVING, Stage};
use crate::heartbeat::Responder;
use crate::incoming::{ACCEPTS_A_TURN, Incoming};
use crate::listen_socket::ListenSocket;
use crate::listener::Succession;
use crate::{Peer, ServeError, Service, listener};

pub(super) struct Acceptor<S: Service> {
    socket: Listening,
    incoming: Incoming<S>,
    responder: Responder,
    /// Nothing can be accepted until it is over.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S: Service> Acceptor<S> {
    /// To be called within the runtime that is to run it.
    pub(super) fn new(socket: ListenSocket, incoming: Incoming<S>) -> Result<Self, ServeError> {
        let socket = Listening::new(socket).map_err(|source| ServeError::Listener {
            address: incoming.address().clone(),
            source,
        })?;
        Ok(Self {
            socket,
            responder: incoming.control().responder(),
            incoming,
            pause: None,
        })
    }

    pub(super) async fn run(mut self) {
        let control = Arc::clone(self.incoming.control());
        self.accept_until(control.reached(Stage::Leaving)).await;
        if control.stage() == Stage::Leaving {
            self.leave().await;
        }
        if control.stage() == Stage::Draining && self.incoming.succession() != Succession::Kept {
            self.drain_backlog();
        }
    }

    /// Lets others have what has not begun yet.
    async fn leave(&mut self) {
        let control = Arc::clone(self.incoming.control());
        // Only a port is shared with others.
        if let Listening::Tcp(socket) = &self.socket {
            self.incoming.leave(socket);
        }
        let draining = control.reached(Stage::Draining);
        self.accept_until(tokio::time::timeout(LEAVING, draining))
            .await;
        control.advance(Stage::Draining);
    }

    async fn accept_until(&mut self, end: impl Future) {
        let mut end = pin!(end);
        poll_fn(|cx| match end.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => {
                self.incoming.control().beat(&mut self.responder);
                self.poll_accept(cx)
            }
        })
        .await;
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ACCEPTS_A_TURN {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.socket.poll_accept(cx)) {
                Ok((stream, peer)) => spawn(&mut self.incoming, stream, peer),
                Err(error) => {
                    self.pause = self
                        .incoming
                        .failed(&error, Instant::now())
                        .map(|wait| Box::pin(tokio::time::sleep(wait)));
                }
            }
        }
        super::yield_turn(cx)
    }

    /// Takes what the kernel has accepted already: those peers take themselves for connected, and
    /// closing the listener would reset them.
    fn drain_backlog(mut self) {
        // Tokio's own accept can wait for an event that hasn't been fetched yet, so that one is
        // bypassed.
        let Ok(socket) = self.socket.into_inner() else {
            return;
        };
        for _ in 0..listener::BACKLOG {
            let Ok((stream, peer)) = accept_now(&socket) else {
                break;
            };
            spawn(&mut self.incoming, stream, peer);
        }
    }
}

fn spawn<S: Service>(incoming: &mut Incoming<S>, accepted: Accepted, peer: Peer) {
    let now = Instant::now();
    match accepted {
        Accepted::Tcp(stream) => {
            if let Some(served) = incoming.admit(&stream, peer, now) {
                tokio::spawn(connection::drive(stream, served));
            }
        }
        #[cfg(unix)]
        Accepted::Unix(stream) => {
            if let Some(served) = incoming.admit(&stream, peer, now) {
                tokio::spawn(connection::drive(stream, served));
            }
        }
    }
}
