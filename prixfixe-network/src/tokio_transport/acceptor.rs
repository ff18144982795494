//! Accepts connections and gives each a task.

use std::future::{Future, poll_fn};
use std::net::{self, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use super::connection;
use crate::control::{LEAVING, Stage};
use crate::heartbeat::Pulse;
use crate::listener::Succession;
use crate::reception::{ACCEPTS_A_TURN, Reception};
use crate::{Service, StartError, listener};

pub(super) struct Acceptor<S: Service> {
    socket: TcpListener,
    reception: Reception<S>,
    pulse: Pulse,
    /// Nothing can be accepted until it is over.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S: Service> Acceptor<S> {
    /// To be called within the runtime that is to run it.
    pub(super) fn new(
        socket: net::TcpListener,
        reception: Reception<S>,
    ) -> Result<Self, StartError> {
        let socket = TcpListener::from_std(socket).map_err(|source| StartError::Listener {
            address: reception.address(),
            source,
        })?;
        Ok(Self {
            socket,
            pulse: reception.control().pulse(),
            reception,
            pause: None,
        })
    }

    pub(super) async fn run(mut self) {
        let control = Arc::clone(self.reception.control());
        self.accept_until(control.reached(Stage::Leaving)).await;
        if control.stage() == Stage::Leaving {
            self.leave().await;
        }
        if control.stage() == Stage::Draining && self.reception.succession() != Succession::Kept {
            self.drain_backlog();
        }
    }

    /// Lets others have what has not begun yet.
    async fn leave(&mut self) {
        let control = Arc::clone(self.reception.control());
        self.reception.leave(&self.socket);
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
                self.reception.control().beat(&mut self.pulse);
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
                Ok((stream, peer)) => spawn(&mut self.reception, stream, peer),
                Err(error) => {
                    self.pause = self
                        .reception
                        .failed(&error, Instant::now())
                        .map(|wait| Box::pin(tokio::time::sleep(wait)));
                }
            }
        }
        super::yield_turn(cx)
    }

    /// Takes what the kernel has accepted already: those peers take themselves for connected, and closing the
    /// listener would reset them.
    fn drain_backlog(mut self) {
        // Tokio's own accept can wait for an event that hasn't been fetched yet, so that one is bypassed.
        let Ok(socket) = self.socket.into_std() else {
            return;
        };
        for _ in 0..listener::BACKLOG {
            let Ok((stream, peer)) = socket.accept() else {
                break;
            };
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                spawn(&mut self.reception, stream, peer);
            }
        }
    }
}

fn spawn<S: Service>(reception: &mut Reception<S>, stream: TcpStream, peer: SocketAddr) {
    if let Some(served) = reception.admit(&stream, peer, Instant::now()) {
        tokio::spawn(connection::drive(stream, served));
    }
}
